"""How pages write figures, times and states. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from crossdock.core.instants import utc_text

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
#: What messages put in backticks: the name of a field, a command.
_CODE = re.compile(r"`([^`\n]+)`")


class Look(NamedTuple):
    """How a state is shown: never by its colour alone."""

    tone: str
    icon: str
    words: str


#: State → how it is shown. Tones: ok, warn, bad, busy, quiet.
_LOOKS = {
    "succeeded": Look("ok", "check", "Succeeded"),
    "avoided": Look("quiet", "pause", "Avoided"),
    "would_load": Look("ok", "check", "Would load"),
    "done": Look("ok", "check", "Done"),
    "partial": Look("warn", "alert", "Partial"),
    "held": Look("warn", "pause", "On hold"),
    "failed": Look("bad", "cross", "Failed"),
    "running": Look("busy", "activity", "Running"),
    "open": Look("warn", "alert", "Open"),
    "closed": Look("quiet", "check", "Closed"),
    "active": Look("ok", "check", "Active"),
    "paused": Look("quiet", "pause", "Paused"),
    "answers": Look("ok", "check", "Answers"),
    "breaker_open": Look("bad", "cross", "Circuit open"),
    "half_open": Look("warn", "alert", "Probing"),
    "test_failed": Look("warn", "alert", "Test failed"),
    "replayed": Look("ok", "check", "Replayed"),
    "discarded": Look("quiet", "trash", "Discarded"),
    "superseded": Look("quiet", "check", "Superseded"),
    "stopped": Look("quiet", "stop", "Stopped"),
    "dead": Look("bad", "cross", "Dead"),
    "retrying": Look("busy", "activity", "Retrying"),
    "waiting": Look("busy", "clock", "Waiting"),
    "recovered": Look("ok", "check", "Recovered"),
    "never": Look("quiet", "clock", "Never ran"),
    "critical": Look("bad", "cross", "Critical"),
    "error": Look("bad", "cross", "Error"),
    "warning": Look("warn", "alert", "Warning"),
    "info": Look("quiet", "alert", "Info"),
    "confirmed": Look("ok", "check", "Confirmed"),
    "cancelled": Look("quiet", "cross", "Cancelled"),
    "cancelling": Look("warn", "activity", "Cancelling"),
    "completed": Look("ok", "check", "Completed"),
    "refused": Look("bad", "cross", "Refused"),
    "unknown": Look("warn", "alert", "Outcome unknown"),
    "undoing": Look("warn", "activity", "Undoing"),
    "undone": Look("quiet", "check", "Undone"),
    "not_tested": Look("quiet", "clock", "Not tested"),
    "inserted": Look("ok", "check", "Inserted"),
    "updated": Look("busy", "edit", "Updated"),
    "unchanged": Look("quiet", "check", "Unchanged"),
    "stale": Look("quiet", "clock", "Stale"),
    "delivered": Look("ok", "check", "Delivered"),
    "silent": Look("quiet", "pause", "Not delivered"),
    "sent": Look("ok", "check", "Sent"),
    "passed": Look("ok", "check", "Passed"),
    "skipped": Look("quiet", "dot", "Skipped"),
    "rejected": Look("bad", "cross", "Rejected"),
    # Of executions of workflows, and of their steps.
    "RUNNING": Look("busy", "activity", "Running"),
    "COMPLETED": Look("ok", "check", "Completed"),
    "FAILED": Look("bad", "cross", "Failed"),
    "CANCELLED": Look("quiet", "cross", "Cancelled"),
    "PENDING": Look("quiet", "clock", "Pending"),
    "SUCCESS": Look("ok", "check", "Success"),
    "PERMANENTLY_FAILED": Look("bad", "cross", "Failed for good"),
    "SKIPPED": Look("quiet", "dot", "Skipped"),
    "COMPENSATED": Look("warn", "check", "Undone"),
}


def look(state: object) -> Look:
    """Find how *state* is shown; an unknown one by its own words."""
    return _LOOKS.get(str(state)) or Look("quiet", "dot", str(state).replace("_", " ").capitalize())


def number(value: float | None) -> str:
    """Write a figure whole, with its thousands set apart."""
    return "—" if value is None else f"{value:,}"


def duration(seconds: float) -> str:
    """Write a span of time in its two largest units."""
    if seconds < 10:  # noqa: PLR2004  tenths say something below ten
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    for unit, size, name, smaller in ((_DAY, _HOUR, "d", "h"), (_HOUR, _MINUTE, "h", "min"), (_MINUTE, 1, "min", "s")):
        if whole >= unit:
            rest = whole % unit // size
            return f"{whole // unit} {name} {rest} {smaller}" if rest else f"{whole // unit} {name}"
    return f"{whole} s"


def ago(instant: datetime, now: datetime) -> str:
    """Write how long ago *instant* was, in its largest unit; or how long until then."""
    seconds = (now - instant).total_seconds()
    if abs(seconds) < _MINUTE:
        return "just now"
    size = abs(seconds)
    unit, name = next((u, n) for u, n in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")) if size >= u)
    text = f"{int(size // unit)} {name}"
    return f"{text} ago" if seconds > 0 else f"in {text}"


def absolute(instant: datetime) -> str:
    """Write *instant* to the second, in UTC."""
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"


def shares(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int, float, float]]:
    """Place parts side by side on a bar: name, count, where it begins, how wide it is, in percent. What is there can be seen."""
    least = 1.0
    total = sum(count for _, count in counts)
    wide = [max(100 * count / total, least) if count else 0.0 for _, count in counts] if total else [0.0] * len(counts)
    factor = 100 / sum(wide) if total else 0.0
    placed, start = [], 0.0
    for (name, count), width in zip(counts, wide, strict=True):
        placed.append((name, count, round(start, 3), round(width * factor, 3)))
        start += width * factor
    return placed


def bar_height(rows: int) -> float:
    """Choose the height of a run's bar of 26: each tenfold of rows is a step, so that small runs can be seen beside large ones."""
    return min(26.0, round(3 + 3.6 * math.log10(rows + 1), 1))


def in_json(value: Any) -> str:
    """Write a JSON value for people, on one line: `ü` and `&` stay as they are, and the page escapes what HTML needs."""
    return json.dumps(value, ensure_ascii=False)


def pretty(value: Any) -> str:
    """Write a JSON value for people, over several lines."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def compact(value: Any) -> str:
    """Write a JSON value for people, a text without its quotes."""
    return value if isinstance(value, str) else in_json(value)


def plural(count: int, one: str, many: str | None = None) -> str:
    """Write *count* with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def in_words(text: object) -> Markup:
    """Write a message for a page: what it has in backticks is code; all of it is text, and no markup."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  it is escaped first


def step_words(waits_for: str) -> str:
    """Name the step that an execution waits for: `capture_payment:undo` is "the undo of capture payment"."""
    name, _, direction = waits_for.partition(":")
    words = name.replace("_", " ")
    return f"the undo of {words}" if direction == "undo" else words


FILTERS: Mapping[str, Callable[..., Any]] = {
    "look": look,
    "in_words": in_words,
    "number": number,
    "duration": duration,
    "ago": ago,
    "step_words": step_words,
    "absolute": absolute,
    "iso": utc_text,
    "shares": shares,
    "compact": compact,
    "in_json": in_json,
    "pretty": pretty,
    "plural": plural,
    "bar_height": bar_height,
}
