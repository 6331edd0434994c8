"""The sandbox's timestamps: UTC, ISO 8601, always with milliseconds, so that they sort as text."""

import re
import threading
import time
from datetime import UTC, datetime, timedelta

_CANONICAL_LENGTH = len("2026-01-01T00:00:00.000Z")
_MILLISECOND = timedelta(milliseconds=1)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?)?")


def text_of(instant: datetime) -> str:
    """Write the instant in UTC, cut to milliseconds: `2026-01-01T00:00:00.000Z`."""
    whole = instant.astimezone(UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def instant_of(text: str) -> datetime | None:
    """Read *text* as an aware instant (UTC if it names no zone); None if it is not a valid timestamp."""
    if not _DATE_TIME.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text)
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def sort_key(text: str) -> str | None:
    """
    Make the text by which instants compare; None if *text* is not a valid timestamp.

    An instant between two milliseconds gets the key of the earlier one and a tilde, which sorts after
    that millisecond and before the next.
    """
    if len(text) == _CANONICAL_LENGTH and text[-1] == "Z" and text[10] == "T":
        return text
    instant = instant_of(text)
    if instant is None:
        return None
    return text_of(instant) + ("~" if instant.microsecond % 1000 else "")


class Clock:
    """
    The real clock, except that each reading is later than the one before by at least a millisecond.

    It can be set off, as a machine's whose time service has failed: then it steps, also back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = datetime.min.replace(tzinfo=UTC)
        self._offset = timedelta(0)

    @property
    def offset_s(self) -> float:
        """How far it is ahead of the real clock, in seconds; negative if it is behind."""
        return self._offset.total_seconds()

    def step_to(self, offset_s: float) -> None:
        """Set it off by *offset_s* against the real clock; 0 sets it right."""
        with self._lock:
            self._offset = timedelta(seconds=offset_s)
            self._last = datetime.min.replace(tzinfo=UTC)

    def read(self) -> datetime:
        """Read what it shows, without counting as a reading."""
        return datetime.now(UTC) + self._offset

    def now(self) -> str:
        with self._lock:
            real = self.read()
            real = real.replace(microsecond=real.microsecond // 1000 * 1000)
            self._last = max(real, self._last + _MILLISECOND)
            return text_of(self._last)

    def catch_up(self) -> None:
        """
        Wait until the real clock is as late as the last reading: many readings within a millisecond lie ahead of it.

        A reader that asks up to now would miss such a change until it asks again.
        """
        with self._lock:
            ahead = self._last - self.read()
        time.sleep(max(ahead.total_seconds(), 0.0))

    def ago(self, seconds: float) -> str:
        """Write the instant *seconds* before now; the clock itself does not move."""
        return text_of(self.read() - timedelta(seconds=seconds))
