"""
The types of a sync: what was requested, which window was read, what became of each record.

Pure: no clock, no database, no network. The rules that keep rows from being lost are here
(`Counts.balanced`, `watermark_after`), so that a property test can try them a thousand ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.core.instants import from_utc_text
from crossdock.core.limits import MAX_SHARDS


class Mode(StrEnum):
    """How a run selects what to read."""

    #: Everything the source has, by id.
    FULL = "full"
    #: What changed since the watermark, by time.
    DELTA = "delta"
    #: What changed in a window that somebody named.
    WINDOW = "window"
    #: Named keys only.
    KEYS = "keys"
    #: Records out of quarantine, edited or as they came; reads nothing from the source.
    REPLAY = "replay"


class RunState(StrEnum):
    """Where a run stands. All but RUNNING are ends."""

    RUNNING = "running"
    DONE = "done"
    #: Loaded, and something went to quarantine.
    PARTIAL = "partial"
    #: A person is needed before anything is loaded.
    HELD = "held"
    FAILED = "failed"


#: The shard of a run that is not shared among workers.
WHOLE = "all"
#: How many values two hexadecimal digits have.
_ID_STEPS = 256


def id_cut(number: int, of: int) -> str | None:
    """Compute the id at which shard *number* of *of* equal shards ends; None at either end of all ids."""
    return f"{number * _ID_STEPS // of:02x}" if 0 < number < of else None


#: A field's old name → its name now. The old name is refused, so that nobody believes it still has an effect.
RENAMED = {"part": "shard", "accept_shrunken": "allow_shrink", "tell": "emit_events"}


class SyncRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a sync is requested to do: the DAG's form, `conf` over REST and the command line use these fields."""

    #: Read everything, whatever the watermark says.
    full: bool = False
    #: Aware instants that bound a window: since ≤ last modified < until.
    since: datetime | None = None
    until: datetime | None = None
    #: Business keys (for inventory: skus) to read, nothing else.
    keys: tuple[str, ...] = ()
    #: Stop after about this many records; 0 for no limit.
    limit: int = 0
    #: Load an empty or much smaller full read too: disables the shrink check.
    allow_shrink: bool = False
    #: The day (2026-11-21) that a backfill run answers for; its window is `since` to `until`.
    backfill_day: str | None = None
    #: Deliver the events of a backfill to subscribers; otherwise they are only stored.
    emit_events: bool = False
    #: `1/2` is the first of two equal shards of the ids: several workers share one sync, each with its own shard,
    #: lease and watermark. None for the whole stream.
    shard: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> SyncRequest:
        """
        Parse *document*, as a form or a REST call gives it.

        Raises:
            BadRequest: a field that does not exist, was renamed, has the wrong type, or contradicts another.

        """
        refuse_renamed(document)
        named = {
            name: _instant(name, document[name]) for name in ("since", "until") if isinstance(document.get(name), str)
        }
        try:
            return msgspec.convert({**document, **named}, cls)
        except msgspec.ValidationError as error:
            known = ", ".join(cls.__struct_fields__)
            raise BadRequest(f"{error}. A sync accepts: {known}") from error

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                raise BadRequest(f"`{name}` {instant} has no time zone. Use for example 2026-11-21T00:00:00Z")
        if self.full and (self.since or self.until or self.keys):
            raise BadRequest("`full` reads everything: it cannot be combined with `since`, `until` or `keys`")
        if not all(self.keys):
            raise BadRequest("`keys` contains an empty key")
        if self.keys and (self.since or self.until):
            raise BadRequest("`keys` names records: it cannot be combined with `since` or `until`")
        if self.since and self.until and self.since >= self.until:
            raise BadRequest(f"`since` {self.since} must be before `until` {self.until}")
        if self.shard is not None:
            self._check_shard()
        if self.limit < 0:
            raise BadRequest(f"`limit` {self.limit} must be 0 (no limit) or more")

    def _check_shard(self) -> None:
        number, slash, of = str(self.shard).partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MAX_SHARDS):
            raise BadRequest(f"Invalid `shard` {self.shard!r}. Use for example 1/2, with at most {MAX_SHARDS} shards")
        if self.keys or self.limit or self.backfill_day:
            raise BadRequest("`shard` divides a whole sync: it cannot be combined with `keys`, `limit` or a backfill")

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """
        The ids that the request is for: low < id ≤ high, None for no bound.

        Shards are cut by the first two hexadecimal digits. An id of another shape is still in exactly one.
        """
        number, of = self.shard_of
        return id_cut(number - 1, of), id_cut(number, of)

    @property
    def shard_of(self) -> tuple[int, int]:
        """The shard's number, and how many there are; (1, 1) for the whole."""
        number, _, of = (self.shard or "1/1").partition("/")
        return int(number), int(of)

    @property
    def mode(self) -> Mode:
        if self.full:
            return Mode.FULL
        if self.keys:
            return Mode.KEYS
        return Mode.WINDOW if self.since or self.until else Mode.DELTA

    @property
    def suppress_events(self) -> bool:
        """Whether the run's events are stored without being delivered to subscribers."""
        return self.backfill_day is not None and not self.emit_events

    @property
    def lease_shard(self) -> str:
        """The shard of the stream that the run leases: a backfilled day and the live sync do not wait for each other."""
        if self.backfill_day:
            return f"backfill:{self.backfill_day}"
        return f"shard:{self.shard}" if self.shard else WHOLE

    @property
    def moves_watermark(self) -> bool:
        """Whether the run reads everything up to the source's now. A named end, keys or a limit do not."""
        return not (self.until or self.keys or self.limit)


prepare(SyncRequest)


def refuse_renamed(document: Mapping[str, Any]) -> None:
    """
    Refuse a field of a form or `conf` under its name of before.

    Raises:
        BadRequest: all of them, each with its new name.

    """
    found = [f"`{old}` is now `{new}`: rename it" for old, new in RENAMED.items() if old in document]
    if found:
        raise BadRequest("; ".join(found))


def _instant(name: str, text: str) -> datetime:
    try:
        return from_utc_text(text)
    except ValueError as error:
        raise BadRequest(f"`{name}`: {error}") from error


class Window(msgspec.Struct, frozen=True):
    """The span of last-modified instants that a run covers: low ≤ last modified < high."""

    #: None: from the beginning of time.
    low: datetime | None
    high: datetime


def reads_everything(mode: Mode, window: Window) -> bool:
    """Check whether a run reads everything that the source has, by id, so that it sees each record once."""
    return mode is Mode.FULL or (mode is Mode.DELTA and window.low is None)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every record of a run (or of one batch)."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    #: The hub has this version already; where content is compared, with the same content. Or the run read it twice.
    unchanged: int = 0
    #: The hub has a newer version, or the run read a later content of the same version.
    stale: int = 0
    #: In quarantine with a reason.
    rejected: int = 0
    #: On hold until a person accepts the whole read, or deferred to the next run for a temporary reason.
    held: int = 0

    @property
    def accounted(self) -> int:
        return self.inserted + self.updated + self.unchanged + self.stale + self.rejected + self.held

    @property
    def balanced(self) -> bool:
        """Whether every record that was read has exactly one outcome."""
        return self.read == self.accounted

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class RowCounts(msgspec.Struct, frozen=True, kw_only=True):
    """The outcomes of records, and of the lines they consist of (all 0 where they have none)."""

    records: Counts = Counts()
    lines: Counts = Counts()

    @classmethod
    def of(cls, outcome: str, records: int, lines: int) -> RowCounts:
        """Count *records*, with *lines* lines in all, under one outcome."""
        return cls(records=Counts(**{outcome: records}), lines=Counts(**{outcome: lines}))

    def __add__(self, other: RowCounts) -> RowCounts:
        return RowCounts(records=self.records + other.records, lines=self.lines + other.lines)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A finished run, as recorded in the ledger."""

    run_id: str
    #: `<integration>.<dataset>`.
    stream: str
    state: RunState
    counts: Counts
    lines: Counts
    seconds: float

    def as_document(self) -> dict[str, Any]:
        """Flatten the report for XCom, JSON and tables."""
        return {
            "run_id": self.run_id,
            "stream": self.stream,
            "state": self.state.value,
            **msgspec.to_builtins(self.counts),
            "lines": msgspec.to_builtins(self.lines),
            "seconds": round(self.seconds, 3),
        }


class RangeProgress(msgspec.Struct, frozen=True):
    """How far one time range of a window is loaded."""

    low: datetime | None
    #: Every record before this instant is loaded or in quarantine; equals the range's end when it is done.
    loaded_to: datetime | None
    done: bool


def opening_low(request: SyncRequest, *, watermark: datetime | None, overlap: timedelta) -> datetime | None:
    """
    Compute where the window of *request* begins; None for the beginning of time.

    A delta starts *overlap* before the watermark, because a source may show a change later than its
    date says; what the overlap reads again counts as unchanged.
    """
    if request.mode is Mode.DELTA:
        return watermark - overlap if watermark else None
    return request.since


#: A source gives its time in whole seconds (HTTP's Date), so what it changed within the current second
#: is dated after its "now". It is read at once, and the watermark stays before it: that second is not over.
CLOCK_GRAIN = timedelta(seconds=1)


def opening_window(request: SyncRequest, *, low: datetime | None, source_now: datetime) -> Window:
    """Build the window from *low* to the source's own now, never to ours: the clocks differ."""
    return Window(low, min(request.until, source_now) if request.until else source_now)


def has_later(window: Window, newest: datetime | None) -> bool:
    """
    Check whether the source has a record dated after its current second: its clock was ahead when it dated that record.

    No window reaches the record until the clock gets there, so a delta then reads without an end.
    """
    return newest is not None and newest >= window.high + CLOCK_GRAIN


#: Answers are given in whole seconds, come late and may come from a cache: less than this is no step of a clock. The overlap
#: covers it.
CLOCK_TOLERANCE = timedelta(seconds=30)


class ClockStep(msgspec.Struct, frozen=True):
    """A source's clock that did not go on evenly since it was asked the last time."""

    #: How much less it shows than expected.
    by: timedelta
    #: No change that may be unread is dated before this instant.
    unread_from: datetime


def clock_step(
    *,
    shown: datetime,
    before: datetime | None,
    elapsed: timedelta,
    watermark: datetime | None,
    tolerance: timedelta = CLOCK_TOLERANCE,
) -> ClockStep | None:
    """
    Find out whether a source's clock, which showed *before* and shows *shown* after *elapsed*, stepped back; None if not.

    Changes that were made meanwhile are dated at least with the lower of what it showed at both ends: it may have stepped
    right after the first. A watermark above that is one of a clock that was ahead. *elapsed* is by our own clock, of which
    only differences count; None of *before* where the source was never asked.
    """
    unread_from = min(before, shown - max(elapsed, timedelta(0))) if before else shown
    by = before + elapsed - shown if before else timedelta(0)
    ahead = watermark - unread_from if watermark else timedelta(0)
    if max(by, ahead) <= tolerance:
        return None
    return ClockStep(max(by, ahead), min(unread_from, watermark) if watermark else unread_from)


def watermark_after(window: Window, ranges: Iterable[RangeProgress]) -> datetime | None:
    """
    Find the instant before which every record of *window* is loaded or in quarantine: the lowest point still open.

    None while nothing below the window's first record is certain. If the watermark moved to any later
    instant, what is still open would be lost when the worker dies.
    """
    still_open = [progress for progress in ranges if not progress.done]
    if not still_open:
        return window.high
    # Records beyond the certain end were read for freshness; the next run reads them again.
    lowest = min(still_open, key=lambda progress: (progress.low is not None, progress.low or window.high))
    reached = lowest.loaded_to or lowest.low
    return min(reached, window.high) if reached else None


def may_move(window: Window, current: datetime | None, reached: datetime | None) -> bool:
    """
    Check whether a run over *window* that reached *reached* may move the watermark from *current*.

    It never moves back, and never over a gap: a window that starts after the watermark says nothing about
    the records between.
    """
    if reached is None or (current is not None and reached <= current):
        return False
    return window.low is None or (current is not None and window.low <= current)
