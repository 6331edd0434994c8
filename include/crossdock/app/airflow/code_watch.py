"""Begin a task with the code as it is now, and end a delivery worker when that has changed, so that its next run has the new one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from airflow.sdk import get_parsing_context

from crossdock.core import loaded_code
from crossdock.core.counted import counted
from crossdock.core.log import logger

log = logger(__name__)

_LOOK_EVERY_S = 2.0
#: The workers do not end together: while one starts anew, its neighbour has its partitions.
_APART_S = 10.0
#: What a worker loads: its DAG, then what its task does.
_ENTRIES = ("crossdock.app.airflow.delivery_dag", "crossdock.app.airflow.delivery_worker")
_LOADS_WITHIN_S = 120.0


def load() -> None:
    """
    Load all that a worker's task uses, anew where it has changed; call it before anything of it is imported.

    Airflow forks a task from a process that may have loaded the hub as it was weeks ago. Of one load are the errors of
    a worker and the classes by which its retry policy and its callbacks know them.
    """
    loaded_code.refresh(*_ENTRIES)


def load_for_task(*modules: str) -> None:
    """Load *modules*, and all that they use, anew where it has changed, if this process is that of a task: as `load`."""
    if get_parsing_context().dag_id:
        loaded_code.refresh(*modules)


def loads() -> str | None:
    """Load the code in a process of its own; return the last line of the error, None where it can be loaded."""
    code = f"import {_ENTRIES[0]} as dag, {_ENTRIES[1]} as worker; dag.delivery_options(); worker.subscribers(worker.services())"
    words = [sys.executable, "-P", "-c", code]
    try:
        ended = subprocess.run(words, capture_output=True, text=True, timeout=_LOADS_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    return None if ended.returncode == 0 else "".join(ended.stderr.strip().splitlines()[-1:]) or "no reason given"


@contextmanager
def ended_by_new_code(
    worker_no: int,
    stop: Callable[[], object],
    *,
    loads: Callable[[], str | None] = loads,
    every_s: float = _LOOK_EVERY_S,
    apart_s: float = _APART_S,
) -> Iterator[None]:
    """Call *stop* when files of the loaded code have changed while the block runs, and *loads* says that they can be loaded."""
    over = threading.Event()
    watch = threading.Thread(
        target=_watch, args=(worker_no * apart_s, stop, loads, every_s, over), name="Code watch", daemon=True
    )
    watch.start()
    try:
        yield
    finally:
        over.set()


def _watch(
    wait_s: float,
    stop: Callable[[], object],
    loads: Callable[[], str | None],
    every_s: float,
    over: threading.Event,
) -> None:
    began = last = loaded_code.stamps_at_loading()
    #: All files, when they could not be loaded: the correction may be in one that is not loaded yet.
    refused_with: dict[Path, loaded_code.Stamp] | None = None
    while not over.wait(every_s):
        now = loaded_code.stamps()
        # What was loaded meanwhile has not changed.
        began = now | began
        # Somebody may be in the middle of writing several files: the same at two looks, they are done.
        is_settled, last = not loaded_code.changed(last, now), now
        files = loaded_code.changed(began, now)
        if not is_settled or not files or (on_disk := loaded_code.stamps_on_disk()) == refused_with:
            continue
        if (refused := loads()) is not None:
            refused_with = on_disk
            log.error("%s: cannot be loaded: %s. The worker goes on with the code that it has", _named(files), refused)
            continue
        log.warning("%s changed: this worker ends, and its next run has the new code", _named(files))
        over.wait(wait_s)
        stop()
        return


def _named(files: Sequence[Path]) -> str:
    shown = ", ".join(file.name for file in files[:3])
    return f"{shown} and {counted(len(files) - 3, 'more file')}" if len(files) > 3 else shown  # noqa: PLR2004  as many as are shown
