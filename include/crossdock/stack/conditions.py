"""
What is wrong with each process of the stack: one judgement, which the supervisor, `up`, `status` and `doctor` share.

A process that lives may do nothing: its loop has ended, it is frozen, its database connection hangs. So it is judged by
its signs of life, and these are counted in looks, not in seconds: after a machine was suspended every clock has jumped,
and no process has had a chance to give one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from crossdock.observability.restarts import WINDOW

#: The pause between two looks.
LOOK_EVERY_S = 5.0
#: So many looks in a row without a sign of life: 30 s.
SILENT_LOOKS = 6
#: The same for a process that has just been started and has not given one yet.
START_S = 300.0
STARTING_LOOKS = int(START_S / LOOK_EVERY_S)
#: On a machine with more than so many times the work that it can do, so many missed looks count as one: what waits for a
#: processor is not silent, and to start it anew would be more work.
OVERLOAD = 4
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 60.0

State = Literal["running", "silent", "ended", "stopped"]


@dataclass(frozen=True)
class Condition:
    """How a process is. `what_is_wrong` says it in words."""

    name: str
    #: "silent": it lives and gives no sign of life. "ended": it was started and ended without `down`.
    #: "stopped": it was not started.
    state: State
    #: How many looks it has been silent for.
    looks: int = 0
    #: What it waits for, by name: the database without which a restart would be useless.
    waits_for: str | None = None


@dataclass(frozen=True)
class Sign:
    """A sign of life."""

    #: Differs from the one before it, e.g. the time of a heartbeat.
    text: str
    #: Whether it is new by itself: an answer, or a heartbeat of the last 30 s. Another is new only when it has changed.
    is_fresh: bool = True


@dataclass(frozen=True)
class Look:
    """What one look at a process found."""

    alive: bool
    #: None: it did not answer.
    sign: Sign | None = None
    #: A database that this process needs and that does not answer now. Nobody can give a sign of life without it.
    waits_for: str | None = None
    #: Whether the machine has more than `OVERLOAD` times the work that it can do.
    is_overloaded: bool = False


@dataclass(frozen=True)
class Watched:
    """What is known of a process after some looks."""

    #: The last sign of life, perhaps of the process of that name before this one; None where there was none.
    sign: str | None = None
    #: Looks since then.
    missed: int = 0
    #: How many of them count; see `OVERLOAD`.
    counted: float = 0.0
    #: Whether this process has given one, or is old enough to have: a start takes longer than the pause between signs.
    has_started: bool = False
    alive: bool = True
    waits_for: str | None = None

    @property
    def is_silent(self) -> bool:
        return self.alive and self.counted >= (SILENT_LOOKS if self.has_started else STARTING_LOOKS)

    @property
    def is_well(self) -> bool:
        """Whether its last look brought a sign of life."""
        return self.alive and self.has_started and self.missed == 0

    @property
    def may_recover(self) -> bool:
        """Whether it gave no sign of life at the last look, and may still do so at one of the next."""
        return self.alive and not self.is_well and not self.is_silent and self.waits_for is None


def started_anew(before: Watched) -> Watched:
    """Begin with a process that has replaced another: the last sign of that one is none of its own."""
    return Watched(sign=before.sign)


def after_look(before: Watched, look: Look, *, slept: bool = False) -> Watched:
    """
    Count one look.

    Args:
        before: What was known.
        look: What it found.
        slept: The one who looks was away itself (a suspended machine, a frozen process): the count begins anew.

    """
    known = replace(before, alive=look.alive, waits_for=look.waits_for)
    if look.sign is not None and look.sign.text != before.sign:
        known = replace(known, sign=look.sign.text)
        # The first sign may be an old one of a process that is frozen, or of one before it.
        if before.sign is not None or look.sign.is_fresh:
            return replace(known, missed=0, counted=0.0, has_started=True)
    # What needs a database that is away cannot give a sign: it gets all its time once that is back.
    if slept or look.waits_for is not None:
        return replace(known, missed=0, counted=0.0)
    weight = 1 / OVERLOAD if look.is_overloaded else 1.0
    return replace(known, missed=before.missed + 1, counted=before.counted + weight)


def condition_of(name: str, watched: Watched) -> Condition:
    """Judge a process that was started."""
    state: State = "ended" if not watched.alive else "silent" if watched.is_silent else "running"
    return Condition(name, state, watched.missed, watched.waits_for)


def what_is_wrong(condition: Condition) -> str | None:
    """Say in words what is wrong with a process; None when nothing is."""
    match condition.state:
        case "running" if condition.waits_for:
            return f"waits for {condition.waits_for}"
        case "running":
            return None
        case "silent":
            return f"has given no sign of life for {condition.looks * LOOK_EVERY_S:.0f} s"
        case "ended":
            return "ended" + (f", and waits for {condition.waits_for}" if condition.waits_for else "")
        case "stopped":
            return "was not started"


def wait_s(restarts: Sequence[float], now: float) -> float:
    """
    Say how long the next restart has to wait: nothing for the first within the window, then 5, 10, 20 … 60 s.

    Args:
        restarts: When it was restarted, on the clock of *now*.
        now: Seconds on a clock that only goes forward.

    """
    recent = [at for at in restarts if now - at < WINDOW.total_seconds()]
    if not recent:
        return 0.0
    wait = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (len(recent) - 1))
    return max(0.0, recent[-1] + wait - now)
