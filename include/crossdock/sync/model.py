"""
The words of a sync: what was asked, which window was read, what became of each record.

Pure: no clock, no database, no network. The rules that keep rows from being lost live here
(`Counts.balanced`, `watermark_after`), so that a property test can try them a thousand ways.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.core.instants import from_utc_text
from crossdock.core.limits import MAX_SHARDS


class Mode(StrEnum):
    """How a run chooses what to read."""

    #: Everything the source has, by id.
    FULL = "full"
    #: What changed since the watermark, by time.
    DELTA = "delta"
    #: What changed in a window that somebody named.
    WINDOW = "window"
    #: Named keys only.
    KEYS = "keys"
    #: Mended records out of quarantine; reads nothing from the source.
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


#: What a run without parts holds its lease on.
WHOLE = "all"
#: What two hexadecimal digits can be.
_ID_STEPS = 256


def id_cut(number: int, of: int) -> str | None:
    """The *number*th of the ids that cut all ids into *of* equal parts; None at either end."""
    return f"{number * _ID_STEPS // of:02x}" if 0 < number < of else None


class SyncRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody asked a sync to do: the DAG's form, `conf` over REST, and the command line say it alike."""

    #: Read everything, whatever the watermark says.
    full: bool = False
    #: Aware instants that bound a window: since ≤ last modified < until.
    since: datetime | None = None
    until: datetime | None = None
    #: Business keys (for inventory: skus) to read, nothing else.
    keys: tuple[str, ...] = ()
    #: Stop after about this many records; 0 for no limit.
    limit: int = 0
    #: A person says that an empty or much shrunken full read is right.
    accept_shrunken: bool = False
    #: The day (2026-11-21) that a backfill run answers for; its window is `since` to `until`.
    backfill_day: str | None = None
    #: Tell subscribers of what a backfill changes; else its events are kept and told to nobody.
    tell: bool = False
    #: `1/2` is the first of two equal parts of the ids: several workers share one sync, each with a part of its own,
    #: its own lease and watermark. None for the whole entity.
    part: str | None = None

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> SyncRequest:
        """
        The request that *document* spells out, as a form or a REST call gives it.

        Raises:
            BadRequest: a field that does not exist, has the wrong type, or contradicts another.

        """
        named = {
            name: _instant(name, document[name]) for name in ("since", "until") if isinstance(document.get(name), str)
        }
        try:
            return msgspec.convert({**document, **named}, cls)
        except msgspec.ValidationError as error:
            known = ", ".join(cls.__struct_fields__)
            raise BadRequest(f"{error}. A sync takes: {known}") from error

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            instant = getattr(self, name)
            if instant is not None and instant.tzinfo is None:
                raise BadRequest(f"`{name}` {instant} has no time zone: write it as 2026-11-21T00:00:00Z")
        if self.full and (self.since or self.until or self.keys):
            raise BadRequest("`full` reads everything: it does not go with `since`, `until` or `keys`")
        if not all(self.keys):
            raise BadRequest("`keys` has an empty one: it names records by their keys")
        if self.keys and (self.since or self.until):
            raise BadRequest("`keys` names records: it does not go with `since` or `until`")
        if self.since and self.until and self.since >= self.until:
            raise BadRequest(f"`since` {self.since} must lie before `until` {self.until}")
        if self.part is not None:
            self._check_part()
        if self.limit < 0:
            raise BadRequest(f"`limit` {self.limit} must be 0 (no limit) or more")

    def _check_part(self) -> None:
        number, slash, of = str(self.part).partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MAX_SHARDS):
            raise BadRequest(f"`part` {self.part!r} is none; write it as 1/2, with at most {MAX_SHARDS} parts")
        if self.keys or self.limit or self.backfill_day:
            raise BadRequest("`part` is of a whole sync: it does not go with `keys`, `limit` or a backfill")

    @property
    def ids(self) -> tuple[str | None, str | None]:
        """
        The ids that the request is for: low < id ≤ high, None for no bound.

        Parts are cut by the first two hexadecimal digits. Ids of another shape still lie in exactly one.
        """
        number, of = self.share
        return id_cut(number - 1, of), id_cut(number, of)

    @property
    def share(self) -> tuple[int, int]:
        """Which part, and of how many; (1, 1) for the whole."""
        number, _, of = (self.part or "1/1").partition("/")
        return int(number), int(of)

    @property
    def mode(self) -> Mode:
        if self.full:
            return Mode.FULL
        if self.keys:
            return Mode.KEYS
        return Mode.WINDOW if self.since or self.until else Mode.DELTA

    @property
    def silent(self) -> bool:
        return self.backfill_day is not None and not self.tell

    @property
    def partition(self) -> str:
        """What of the entity the run holds a lease on: a backfilled day and the live sync do not wait for each other."""
        if self.backfill_day:
            return f"backfill:{self.backfill_day}"
        return f"part:{self.part}" if self.part else WHOLE

    @property
    def moves_watermark(self) -> bool:
        """Whether the run reads all there is up to the source's now. A named end, keys or a limit do not."""
        return not (self.until or self.keys or self.limit)


def _instant(name: str, text: str) -> datetime:
    try:
        return from_utc_text(text)
    except ValueError as error:
        raise BadRequest(f"`{name}`: {error}") from error


class Window(msgspec.Struct, frozen=True):
    """The span of last-modified instants that a run answers for: low ≤ last modified < high."""

    #: None: from the beginning of time.
    low: datetime | None
    high: datetime


def reads_everything(mode: Mode, window: Window) -> bool:
    """Whether such a run reads all that the source has, by id, so that it sees each record once."""
    return mode is Mode.FULL or (mode is Mode.DELTA and window.low is None)


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """What became of every record of a run (or of one batch)."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    #: The hub has this version already.
    unchanged: int = 0
    #: The hub has a newer version.
    stale: int = 0
    #: Kept in quarantine with a reason.
    rejected: int = 0
    #: Kept for a person's word, or open for a passing reason until the next run.
    held: int = 0

    @property
    def accounted(self) -> int:
        return self.inserted + self.updated + self.unchanged + self.stale + self.rejected + self.held

    @property
    def balanced(self) -> bool:
        """Every record read has exactly one fate."""
        return self.read == self.accounted

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class Fates(msgspec.Struct, frozen=True, kw_only=True):
    """What became of records, and of the lines they are made of (all 0 where they have none)."""

    records: Counts = Counts()
    lines: Counts = Counts()

    @classmethod
    def of(cls, fate: str, records: int, lines: int) -> Fates:
        """So many records, with so many lines in all, of one fate."""
        return cls(records=Counts(**{fate: records}), lines=Counts(**{fate: lines}))

    def __add__(self, other: Fates) -> Fates:
        return Fates(records=self.records + other.records, lines=self.lines + other.lines)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run at its end, as the ledger has it."""

    run_id: str
    entity: str
    state: RunState
    counts: Counts
    lines: Counts
    seconds: float

    def as_document(self) -> dict[str, Any]:
        """Flat, for XCom, JSON and tables."""
        return {
            "run_id": self.run_id,
            "entity": self.entity,
            "state": self.state.value,
            **msgspec.to_builtins(self.counts),
            "lines": msgspec.to_builtins(self.lines),
            "seconds": round(self.seconds, 3),
        }


class RangeProgress(msgspec.Struct, frozen=True):
    """How far one time range of a window has been loaded."""

    low: datetime | None
    #: Every record before this instant is loaded or kept; equals the range's end when it is done.
    loaded_to: datetime | None
    done: bool


def opening_low(request: SyncRequest, *, watermark: datetime | None, overlap: timedelta) -> datetime | None:
    """
    Where the window that *request* asks for begins; None for the beginning of time.

    A delta starts *overlap* before the watermark, because a source may show a change later than it
    dates it; what the overlap reads again comes out unchanged.
    """
    if request.mode is Mode.DELTA:
        return watermark - overlap if watermark else None
    return request.since


#: A source tells its time in whole seconds (HTTP's Date), so what it changed within the current one
#: is dated after its "now". It is read at once, and the watermark stays before it: that second is not over.
CLOCK_GRAIN = timedelta(seconds=1)


def opening_window(request: SyncRequest, *, low: datetime | None, source_now: datetime) -> Window:
    """The window from *low* to the source's own now, never to ours: the clocks differ."""
    return Window(low, min(request.until, source_now) if request.until else source_now)


def watermark_after(window: Window, ranges: Iterable[RangeProgress]) -> datetime | None:
    """
    The instant before which every record of *window* is loaded or kept: the lowest point still open.

    None while nothing below the window's first record is certain. Moving the watermark to any later
    instant would lose what is still open when the worker dies.
    """
    still_open = [progress for progress in ranges if not progress.done]
    if not still_open:
        return window.high
    # What was read beyond the certain end was read for freshness; the next run reads it again.
    lowest = min(still_open, key=lambda progress: (progress.low is not None, progress.low or window.high))
    reached = lowest.loaded_to or lowest.low
    return min(reached, window.high) if reached else None


def may_move(window: Window, current: datetime | None, reached: datetime | None) -> bool:
    """
    Whether a run over *window* that reached *reached* may move the watermark that stands at *current*.

    Never back, and never over a gap: a window that starts after the watermark says nothing of what
    lies between.
    """
    if reached is None or (current is not None and reached <= current):
        return False
    return window.low is None or (current is not None and window.low <= current)
