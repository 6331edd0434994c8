"""Which parts of the local stack a command uses: what it does not use may be missing."""

from __future__ import annotations

from collections.abc import Collection

from crossdock.client.errors import NotRunning, PartMissing, StillStarting
from crossdock.stack import lifecycle, ports

#: What the hub's API uses: itself, the hub's database, and Airflow's, in which the connection to the hub's is kept.
API = ("postgres-metadata", "postgres-hub", "api-server")
#: What runs DAGs, and so syncs, backfills and the workers that deliver events and work off replays.
RUNS = ("scheduler",)
DATABASE = ("postgres-hub",)
SANDBOX = ("sandbox",)


def running(parts: Collection[str]) -> lifecycle.Stack:
    """
    Find the local stack, if all its *parts* (names of its processes) are running.

    Raises:
        NotRunning: nothing of it runs.
        StillStarting: a start is going on, and has not come so far.
        PartMissing: one of *parts* does not run, or gives no sign of life.

    """
    found = lifecycle.status()
    if found.state == "stopped":
        raise StillStarting(found.starting) if found.starting else NotRunning
    wrong = {
        process.name: process.problem or "does not run"
        for process in found.processes
        if process.name in parts and process.state != "running"
    }
    if wrong:
        raise StillStarting(found.starting) if found.starting else PartMissing(wrong)
    return lifecycle.Stack(ports.saved())
