"""Renew a run's lease while it is working (its heartbeat)."""

from __future__ import annotations

import time

from crossdock.db import leases
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.sync.model import RunState
from crossdock.sync.stream import Systems


class LeaseRenewal:
    """
    Renews a run's lease when a quarter of its life has passed, each time that the run calls it.

    Not a thread: a run that hangs should lose its lease, and a thread would keep it alive.
    """

    def __init__(self, systems: Systems, run: Run) -> None:
        self._systems, self._run = systems, run
        self.every_s = systems.lease_life.total_seconds() / 4
        self._due_at = time.monotonic() + self.every_s

    def renew(self) -> None:
        """
        Renew the lease if it is due.

        Raises:
            LeaseLost: another run has it. Stop: nothing that is written now would be committed.

        """
        if time.monotonic() < self._due_at:
            return
        with self._systems.store.transaction() as work:
            leases.renew(work, self._run.lease, self._run.run_id, self._run.fencing_token, self._systems.lease_life)
        self._due_at = time.monotonic() + self.every_s


def reacquire_lease(systems: Systems, run_id: str) -> Run:
    """
    Take the run's lease again, at the start of each task. A run that ended successfully needs none.

    A failed run is reopened: a task that is cleared after its retries were used up has work to do.

    Raises:
        LeaseHeld: another run took it while this one waited for its next task.
        PagesGone: the run failed so long ago that its pages have been deleted.

    """
    with systems.store.transaction() as work:
        run = ledger.get(work, run_id)
        if run.state not in (RunState.RUNNING, RunState.FAILED):
            return run
        ledger.reopen(work, run_id)
        leases.take(work, run.lease, run_id, systems.lease_life)
        return ledger.get(work, run_id)
