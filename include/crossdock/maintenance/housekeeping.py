"""What the delivery looks after beside its events: partitions, retention, inboxes, and what needs a person."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from crossdock.core.errors import Transient
from crossdock.db.database import Store
from crossdock.events import partitions as event_partitions
from crossdock.events.delivery import inbox as event_inbox
from crossdock.events.delivery import source_outages as event_outages
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import alarms, retention
from crossdock.maintenance.alarms import Limits
from crossdock.maintenance.retention import Keep
from crossdock.sync.landing import Landing

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_ALWAYS_S = 0.0
_STORE_EVERY_S = 30.0
#: What is past its time, and for how long at once.
_ROUND_EVERY_S = 3600.0
_ROUND_S = 1.0
#: Rows of the inbox that go in one transaction: as short as a reader's own, since it holds back the horizon.
_TRIM_ROWS = 10_000


@dataclass(frozen=True)
class Rules:
    """How long events are kept, and when somebody is told."""

    retention: timedelta = timedelta(days=365)
    alarms: Limits = field(default_factory=Limits)
    #: The inbox keeps what it knows of so many of the newest events, though every reader is past them.
    inbox_newest: int = 100_000
    #: Where pages land; without it they are nobody's to clear.
    landing_url: str | None = None
    keep: Keep = field(default_factory=Keep)


class _Chore:
    """Something that is done every so often, and whose failure keeps nobody from the others."""

    def __init__(self, do: Callable[[], object], every_s: float, *, first_in_s: float = 0.0) -> None:
        self._do, self._every_s = do, every_s
        self._due_at = time.monotonic() + first_in_s

    def do_when_due(self) -> None:
        """Failed, in whatever way, it is tried again at its next time: one that nothing mends must not stop the others."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + self._every_s
        try:
            self._do()
        except Transient as error:
            log.warning("Housekeeping waits: %s", error)
        except Exception:  # An object store has errors of its own; begun anew, the thread would meet them first again.
            log.exception("Housekeeping cannot do its work")


class Housekeeping:
    """A thread of the first worker; a second one beside it, for a moment, does no harm."""

    def __init__(
        self,
        store: Store,
        rules: Rules,
        subscribers: Mapping[str, Subscriber],
        is_over: Callable[[], bool],
    ) -> None:
        self._store, self._rules, self._subscribers, self._is_over = store, rules, subscribers, is_over
        self._round: Iterator[None] = iter(())

    @property
    def over(self) -> bool:
        return self._is_over()

    def run(self) -> None:
        """Works until the worker's life is over."""
        chores = (
            _Chore(self.look_after_the_store, _STORE_EVERY_S),
            _Chore(self.trim_inboxes, _STORE_EVERY_S),
            _Chore(self.end_idle_outages, _STORE_EVERY_S),
            # Not at once: after a stop, the readers first have to take up what is theirs.
            _Chore(self._look_for_alarms, _STORE_EVERY_S, first_in_s=_STORE_EVERY_S),
            _Chore(self._begin_round, _ROUND_EVERY_S),
            _Chore(self._go_on_with_the_round, _ALWAYS_S),
        )
        with self._store:
            while not self._is_over():
                for chore in chores:
                    chore.do_when_due()
                time.sleep(_LOOK_EVERY_S)

    def begin_anew(self) -> None:
        """Without a connection that a defect may have left half done."""
        self._store.close()

    def _look_for_alarms(self) -> None:
        alarms.look(self._store, self._subscribers, self._rules.alarms)

    def _begin_round(self) -> None:
        self._round = self.let_go(datetime.now(UTC))

    def let_go(self, now: datetime) -> Iterator[None]:
        """A round over all that is past its time, in steps."""
        url = self._rules.landing_url
        landing = Landing(url) if url else None
        return retention.let_go(self._store, landing, self._rules.keep, subscribers=self._subscribers, now=now)

    def _go_on_with_the_round(self) -> None:
        """For a moment: the other chores do not wait until a year has been let go of."""
        until = time.monotonic() + _ROUND_S
        for _ in self._round:
            if self._is_over() or time.monotonic() >= until:
                return

    def look_after_the_store(self) -> None:
        """Partitions ahead, and those past retention gone."""
        now = datetime.now(UTC)
        with self._store.transaction() as work:
            made = event_partitions.make_ahead(work, now)
            dropped = event_partitions.drop_past(work, now - self._rules.retention)
        for name in made:
            log.info("Made the partition %s", name)
        for name in dropped:
            log.info("Dropped the partition %s: past retention, and read by all", name)

    def trim_inboxes(self) -> int:
        """How many rows went that tell of what no reader comes to again."""
        trimmed = 0
        for name in self._subscribers:
            went = _TRIM_ROWS
            while went == _TRIM_ROWS and not self._is_over():
                with self._store.transaction() as work:
                    went = event_inbox.trim(work, name, newest=self._rules.inbox_newest, limit=_TRIM_ROWS)
                trimmed += went
        return trimmed

    def end_idle_outages(self) -> None:
        """Where a person has closed all that waited, nobody would find out that a source is back."""
        with self._store.transaction() as work:
            event_outages.end_idle(work)
