"""Keeps a run's lease alive while it works."""

from __future__ import annotations

import time

from crossdock.db import leases
from crossdock.sync import ledger as runs
from crossdock.sync.declaration import Systems
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState


class LeaseKeeper:
    """
    Renews a run's lease, at most four times in its life, whenever the work comes by.

    Not a thread: a run that hangs should lose its lease, and a thread would keep it alive.
    """

    def __init__(self, systems: Systems, run: Run) -> None:
        self._systems, self._run = systems, run
        self._every_s = systems.lease_life.total_seconds() / 4
        self._due_at = time.monotonic() + self._every_s

    def renew(self) -> None:
        """
        Raises:
            LeaseLost: another run has it. Stop: nothing that is written now would be committed.

        """
        if time.monotonic() < self._due_at:
            return
        with self._systems.store.transaction() as work:
            leases.renew(work, self._run.lease, self._run.run_id, self._run.fencing_token, self._systems.lease_life)
        self._due_at = time.monotonic() + self._every_s


def retake(systems: Systems, run_id: str) -> Run:
    """
    The run, with its lease taken again: what each task starts with. A run that has ended well needs none.

    A failed run is open again: a task that is cleared after its retries were used up has work to do.

    Raises:
        LeaseHeld: another run took it while this one waited for its next task.
        PagesGone: the run failed so long ago that its pages are not kept any more.

    """
    with systems.store.transaction() as work:
        run = runs.get(work, run_id)
        if run.state not in (RunState.RUNNING, RunState.FAILED):
            return run
        runs.reopen(work, run_id)
        leases.take(work, run.lease, run_id, systems.lease_life)
        return runs.get(work, run_id)
