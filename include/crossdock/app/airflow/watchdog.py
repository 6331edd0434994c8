"""
Kill a task that is frozen. Runs as a script beside the task, so it imports nothing of ours.

Airflow's supervisor sends the heartbeats of its task whatever the task does: a frozen one would keep its DAG run, and
with it all later ones, until a person ends it.
"""

from __future__ import annotations

import os
import select
import signal
import sys


def watch(task: int, *, looks: int, every_s: float, pulse: int = 0) -> None:
    """
    Kill the process *task*, our parent, after *looks* looks in a row, *every_s* apart, without a byte from the file *pulse*.

    Looks are counted, and not seconds: after a machine was suspended, many seconds have passed and one look was made.
    Returns when the task has ended or has closed the file.
    """
    silent = 0
    while os.getppid() == task and silent < looks:
        if not select.select([pulse], [], [], every_s)[0]:
            silent += 1
        elif os.read(pulse, 4096):
            silent = 0
        else:
            return
    if os.getppid() == task:
        os.kill(task, signal.SIGKILL)


if __name__ == "__main__":
    watch(int(sys.argv[1]), looks=int(sys.argv[2]), every_s=float(sys.argv[3]))
