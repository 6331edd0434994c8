"""Housekeeping beside the delivery: partitions, retention, inboxes, alarms, and the scan for card data."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from crossdock.core.errors import Transient
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.events import counts_repository
from crossdock.events import partitions as event_partitions
from crossdock.events.delivery import inbox, source_outages
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import alarms, card_scan, retention
from crossdock.maintenance.alarms import AlarmThresholds, Condition
from crossdock.maintenance.retention import RetentionPeriods
from crossdock.observability.alerts import Kind
from crossdock.sync.landing import Landing

log = logger(__name__)

_LOOK_EVERY_S = 0.5
_ALWAYS_S = 0.0
_STORE_EVERY_S = 30.0
_COUNT_EVERY_S = 10.0
#: Events counted in one transaction: some tens of milliseconds.
_COUNT_ROWS = 20_000
#: Retention and the scan for card data: how often each runs, and how long at once.
_RETENTION_EVERY_S = 3600.0
_CARD_SCAN_EVERY_S = 3600.0
_STEPS_S = 1.0
#: Rows of the inbox deleted in one transaction: as short as a consumer's own, since it holds back the horizon.
_TRIM_ROWS = 10_000


@dataclass(frozen=True)
class HousekeepingConfig:
    """The retention periods and the thresholds of the alerts."""

    #: How long events are kept.
    retention: timedelta = timedelta(days=365)
    alarms: AlarmThresholds = field(default_factory=AlarmThresholds)
    #: What alarms watch outside the hub's database.
    watched: Mapping[Kind, Condition] = field(default_factory=dict)
    #: The inbox keeps the rows of this many latest events, even behind all cursors.
    inbox_newest: int = 100_000
    #: Where pages land; without it, landed pages are not deleted.
    landing_url: str | None = None
    keep: RetentionPeriods = field(default_factory=RetentionPeriods)


class _PeriodicTask:
    """A task that runs at an interval, and whose failure does not stop the others."""

    def __init__(self, do: Callable[[], object], every_s: float, *, first_in_s: float = 0.0) -> None:
        self._do, self._every_s = do, every_s
        self._due_at = time.monotonic() + first_in_s

    def run_when_due(self) -> None:
        """Run the task when it is due. After any failure it runs again at its next time."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + self._every_s
        try:
            self._do()
        except Transient as error:
            log.warning("Housekeeping is waiting: %s", error)
        except Exception:  # Also errors of an object store: a restarted thread would only meet them first again.
            log.exception("A housekeeping task failed")


class Housekeeping:
    """A background thread of the first delivery worker. Two at a time, for a moment, do no harm."""

    def __init__(
        self,
        store: Store,
        config: HousekeepingConfig,
        subscribers: Mapping[str, Subscriber],
        is_over: Callable[[], bool],
    ) -> None:
        self._store, self._config, self._subscribers, self._is_over = store, config, subscribers, is_over
        self._round: Iterator[None] = iter(())
        self._card_scan: Iterator[None] = iter(())

    @property
    def over(self) -> bool:
        """True when it has to end."""
        return self._is_over()

    def run(self) -> None:
        """Run the tasks until shutdown."""
        tasks = (
            _PeriodicTask(self.maintain_partitions, _STORE_EVERY_S),
            _PeriodicTask(self.count_events, _COUNT_EVERY_S),
            _PeriodicTask(self.trim_inboxes, _STORE_EVERY_S),
            _PeriodicTask(self.end_idle_outages, _STORE_EVERY_S),
            # Not at once: after a stop, the consumers first have to claim their partitions.
            _PeriodicTask(self._check_alarms, _STORE_EVERY_S, first_in_s=_STORE_EVERY_S),
            _PeriodicTask(self._begin_retention, _RETENTION_EVERY_S),
            _PeriodicTask(self._continue_retention, _ALWAYS_S),
            _PeriodicTask(self._begin_card_scan, _CARD_SCAN_EVERY_S),
            _PeriodicTask(self._continue_card_scan, _ALWAYS_S),
        )
        with self._store:
            while not self._is_over():
                for task in tasks:
                    task.run_when_due()
                time.sleep(_LOOK_EVERY_S)

    def reset(self) -> None:
        """Close the connection, which a defect may have left half done."""
        self._store.close()

    def _check_alarms(self) -> None:
        alarms.check(self._store, self._subscribers, self._config.alarms, self._config.watched)

    def _begin_retention(self) -> None:
        self._round = self.purge_expired(datetime.now(UTC))

    def purge_expired(self, now: datetime) -> Iterator[None]:
        """Start a round of retention, which runs in steps."""
        url = self._config.landing_url
        landing = Landing(url) if url else None
        return retention.purge_expired(self._store, landing, self._config.keep, subscribers=self._subscribers, now=now)

    def _continue_retention(self) -> None:
        self._run_for_a_moment(self._round)

    def _begin_card_scan(self) -> None:
        self._card_scan = card_scan.scan(self._store, datetime.now(UTC))

    def _continue_card_scan(self) -> None:
        self._run_for_a_moment(self._card_scan)

    def _run_for_a_moment(self, steps: Iterator[None]) -> None:
        """Run some *steps*: the other tasks do not wait until a year of data is deleted."""
        until = time.monotonic() + _STEPS_S
        for _ in steps:
            if self._is_over() or time.monotonic() >= until:
                return

    def maintain_partitions(self) -> None:
        """Create the next partitions of the event store, and drop the partitions past their retention."""
        now = datetime.now(UTC)
        with self._store.transaction() as work:
            made = event_partitions.create_ahead(work, now)
            dropped = event_partitions.drop_past(work, now - self._config.retention)
            if dropped:
                counts_repository.forget(work, event_partitions.begin(work))
        for name in made:
            log.info("Created the partition %s", name)
        for name in dropped:
            log.info("Dropped the partition %s: past its retention, and read by all consumers", name)

    def count_events(self) -> int:
        """Count the events that have come in since the last time, by the hour; return how many."""
        counted, number = 0, _COUNT_ROWS
        while number == _COUNT_ROWS and not self._is_over():
            with self._store.transaction() as work:
                number = counts_repository.count_next(work, limit=_COUNT_ROWS)
            counted += number
        return counted

    def trim_inboxes(self) -> int:
        """Delete inbox rows behind all cursors of their subscriber; return how many."""
        trimmed = 0
        for name in self._subscribers:
            deleted = _TRIM_ROWS
            while deleted == _TRIM_ROWS and not self._is_over():
                with self._store.transaction() as work:
                    deleted = inbox.trim(work, name, newest=self._config.inbox_newest, limit=_TRIM_ROWS)
                trimmed += deleted
        return trimmed

    def end_idle_outages(self) -> None:
        """End outages without waiting events: where a person has closed them all, nothing would probe the source."""
        with self._store.transaction() as work:
            source_outages.end_idle(work)
