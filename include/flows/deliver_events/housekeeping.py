"""What the delivery looks after beside its events: replays that somebody asked for, partitions, retention, the horizon."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from include.flows import replay_events
from include.handlers import Subscriber
from include.model.errors import HubError
from include.model.outside import KeyPuller
from include.store import alerts, event_inbox, event_log, event_partitions
from include.store.database import Store

log = logging.getLogger(__name__)

_REPLAYS_EVERY_S = 0.5
_STORE_EVERY_S = 30.0
#: Rows of the inbox that go in one transaction: as short as a reader's own, since it holds back the horizon.
_TRIM_ROWS = 10_000


@dataclass(frozen=True)
class Rules:
    """How long events are kept, and when somebody is told."""

    retention: timedelta = timedelta(days=365)
    horizon_alarm_s: float = 30.0
    #: The inbox keeps what it knows of so many of the newest events, though every reader is past them.
    inbox_newest: int = 100_000


class Housekeeping:
    """A thread of the first worker; a second one beside it, for a moment, does no harm."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        handlers: Mapping[str, Subscriber],
        is_over: Callable[[], bool],
        puller: KeyPuller | None = None,
    ) -> None:
        self._store, self._rules, self._handlers, self._is_over = store, rules, handlers, is_over
        self._puller = puller

    @property
    def over(self) -> bool:
        return self._is_over()

    def run(self) -> None:
        """Works until the worker's life is over."""
        store_at = 0.0
        with self._store:
            while not self._is_over():
                try:
                    if time.monotonic() >= store_at:
                        self.look_after_the_store(datetime.now(UTC))
                        self.trim_inboxes()
                        store_at = time.monotonic() + _STORE_EVERY_S
                    self._work_off_until(store_at)
                except HubError as error:
                    log.warning("Housekeeping waits: %s", error)
                time.sleep(_REPLAYS_EVERY_S)

    def _work_off_until(self, at: float) -> None:
        """The oldest replay, where there is one. A long one is put off when the store is to be looked after, and gone on with at once."""

        def until() -> bool:
            return self._is_over() or time.monotonic() >= at

        replay_events.work_off(self._store, handlers=self._handlers, until=until, puller=self._puller)

    def begin_anew(self) -> None:
        """Without a connection that a defect may have left half done."""
        self._store.close()

    def look_after_the_store(self, now: datetime) -> None:
        """Partitions ahead, those past retention gone, an alert when an open transaction keeps events waiting."""
        with self._store.transaction() as work:
            made = event_partitions.make_ahead(work, now)
            dropped = event_partitions.drop_past(work, now - self._rules.retention)
            age_s = event_log.horizon_age_s(work)
            if age_s > self._rules.horizon_alarm_s:
                message = (
                    f"A transaction on the hub's database server is open for {age_s:.0f} s: no event that is newer is "
                    "delivered. pg_stat_activity has it, where backend_xid is not null"
                )
                alerts.add(work, kind="event_horizon", subject=f"{now:%Y-%m-%dT%H}", message=message)
                log.warning(message)
        for name in made:
            log.info("Made the partition %s", name)
        for name in dropped:
            log.info("Dropped the partition %s: past retention, and read by all", name)

    def trim_inboxes(self) -> int:
        """How many rows went that tell of what no reader comes to again."""
        trimmed = 0
        for name in self._handlers:
            went = _TRIM_ROWS
            while went == _TRIM_ROWS and not self._is_over():
                with self._store.transaction() as work:
                    went = event_inbox.trim(work, name, newest=self._rules.inbox_newest, limit=_TRIM_ROWS)
                trimmed += went
        return trimmed
