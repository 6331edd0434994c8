"""A world outside the hub for the step engine: effects with keys, and what goes wrong with each try."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from crossdock.db.database import Work
from crossdock.integrations.actions.model import Done, Ended, Failed, Refused, Unknown
from crossdock.workflows.model import (
    Change,
    Direction,
    Execution,
    FixedFlow,
    InHub,
    Outside,
    Retry,
    Step,
    StepCall,
    StepKind,
    TryEnd,
    Waiting,
)


class Killed(BaseException):
    """The process was killed at this place: nothing after it is done."""


class Fate(StrEnum):
    """What becomes of one try."""

    DONE = "done"
    REFUSED = "refused"
    WAITS = "waits"
    FAILED = "failed"
    TIMES_OUT_BEFORE = "times_out_before"
    TIMES_OUT_AFTER = "times_out_after"
    KILLED_BEFORE = "killed_before"
    KILLED_AFTER = "killed_after"


@dataclass
class World:
    """Other systems, which keep keys. Each try has a fate; when there are no more, it succeeds."""

    fates: defaultdict[tuple[str, Direction], deque[Fate]] = field(default_factory=lambda: defaultdict(deque))
    #: The effects that are there now, by step.
    there: Counter[str] = field(default_factory=Counter)
    calls: list[tuple[str, Direction]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    _keys: set[str] = field(default_factory=set)
    _is_dead: bool = False

    def outside(self, call: StepCall) -> TryEnd:
        queue = self.fates[call.step, call.direction]
        fate = queue.popleft() if queue else Fate.DONE
        self.calls.append((call.step, call.direction))
        match fate:
            case Fate.KILLED_BEFORE:
                raise Killed
            case Fate.WAITS:
                return Waiting("the customer has to act")
            case Fate.TIMES_OUT_BEFORE:
                return Unknown("no answer")
            case Fate.FAILED:
                # A key whose effect is there has it, whatever the system says now.
                return Done({}) if call.key in self._keys else Failed("it is away")
            case Fate.REFUSED:
                return Done({}) if call.key in self._keys else Refused("it does not want to")
        if call.key not in self._keys:
            self._keys.add(call.key)
            self.there[call.step] += 1 if call.direction is Direction.ACT else -1
        if fate is Fate.KILLED_AFTER:
            raise Killed
        return Unknown("no answer") if fate is Fate.TIMES_OUT_AFTER else Done({"of": call.step})

    def in_hub(self, work: Work, call: StepCall) -> Ended:
        queue = self.fates[call.step, call.direction]
        fate = queue.popleft() if queue else Fate.DONE
        work.execute("INSERT INTO audit_entry (actor, act, subject, detail) VALUES ('t', %s, 's', '{}')", [call.step])
        match fate:
            case Fate.REFUSED:
                return Refused("not enough")
            case Fate.KILLED_BEFORE | Fate.KILLED_AFTER:
                self._is_dead = True
                raise Killed
            case Fate.FAILED | Fate.TIMES_OUT_BEFORE | Fate.TIMES_OUT_AFTER:
                return Failed("busy")
        return Done({"of": call.step})

    def note(self, _work: Work, _execution: Execution, change: Change) -> None:
        if self._is_dead:
            # A process that was killed does not record either how its call had ended.
            self._is_dead = False
            raise Killed
        self.changes.append(change)


AT_ONCE = Retry(attempts=4, first_wait_s=0.0, longest_wait_s=0.0)


def flow_of(world: World, *, timeout: timedelta = timedelta(hours=1)) -> FixedFlow:
    """Check, reserve (in the hub), authorise | capture | tell, ship: with a pivot, as an order has it."""
    outside = Outside(world.outside, timeout_s=0.0)
    return FixedFlow(
        name="parcel",
        timeout=timeout,
        on_change=world.note,
        steps=(
            Step(name="check", act=outside, retry=AT_ONCE),
            Step(name="reserve", act=InHub(world.in_hub), undo=InHub(world.in_hub), retry=AT_ONCE),
            Step(name="authorise", act=outside, undo=outside, retry=AT_ONCE),
            Step(name="capture", kind=StepKind.PIVOT, act=outside, undo=outside, retry=AT_ONCE),
            Step(name="tell", kind=StepKind.RETRIABLE, act=outside, retry=AT_ONCE),
        ),
    )
