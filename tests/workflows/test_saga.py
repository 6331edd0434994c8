"""
The saga as a pure function: any flow, any outcomes, whatever somebody does in between.

No database: `next_move` alone says what is done next, and a small world outside says what that leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossdock.integrations.actions.model import Done
from crossdock.workflows.machine import AskPerson, Finish, Rest, Skip, Try, TurnBack, next_move
from crossdock.workflows.model import (
    ENDED,
    UNDONE,
    UNRESOLVED,
    Direction,
    Driver,
    Execution,
    ExecutionState,
    FixedFlow,
    Outside,
    Retry,
    Step,
    StepKind,
    StepProgress,
    StepState,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = Outside(lambda _: Done({}))
MAIL, CAPTURE = "mail", "capture"
ENDS = (StepState.DONE, StepState.REFUSED, StepState.FAILED, StepState.UNKNOWN, StepState.WAITING)


@st.composite
def flows(draw: st.DrawFn) -> FixedFlow:
    """Some steps that can be undone, the capture, and the mail with perhaps one step before it."""
    retry = Retry(attempts=draw(st.integers(1, 3)), first_wait_s=0.0)

    def step(name: str, kind: StepKind = StepKind.COMPENSATABLE) -> Step:
        undo = NOTHING if name == CAPTURE or (kind is StepKind.COMPENSATABLE and draw(st.booleans())) else None
        return Step(
            name=name, kind=kind, act=NOTHING, undo=undo, retry=retry, undo_resolves=draw(st.booleans()) and bool(undo)
        )

    before = [step(f"step_{number}") for number in range(draw(st.integers(0, 3)))]
    after = [step("sell", StepKind.RETRIABLE)] if draw(st.booleans()) else []
    steps = (*before, step(CAPTURE, StepKind.PIVOT), *after, step(MAIL, StepKind.RETRIABLE))
    return FixedFlow(name="order", steps=steps, on_change=lambda *_: None)


@dataclass
class Outcome:
    """What a call leaves outside, and what the hub hears of it."""

    has_effect: bool
    heard: StepState


#: A time-out may come before the effect or after it; only an answer tells.
OUTCOMES = st.sampled_from(
    [
        Outcome(True, StepState.DONE),
        Outcome(False, StepState.REFUSED),
        Outcome(False, StepState.FAILED),
        Outcome(False, StepState.UNKNOWN),
        Outcome(True, StepState.UNKNOWN),
        Outcome(False, StepState.WAITING),
        Outcome(False, StepState.OPEN),
        Outcome(True, StepState.OPEN),
    ]
)


class Saga(RuleBasedStateMachine):
    """One execution, moved on by whatever its flow says, with outcomes and interventions at random."""

    @initialize(flow=flows())
    def begins(self, flow: FixedFlow) -> None:
        self.flow = flow
        self.progress: dict[tuple[str, Direction], StepProgress] = {}
        #: What is there outside now, by step.
        self.there: dict[str, int] = {}
        self.captures = 0
        self.mails_too_early = 0
        self.passed_over: list[str] = []
        self.execution = Execution(
            execution_id="exe_1",
            flow="order",
            subject="ord_1",
            driver=Driver.EVENTS,
            state=ExecutionState.RUNNING,
            input={},
            cancelled_by=None,
            reason=None,
            waits_for=None,
            deadline_at=NOW + timedelta(minutes=30),
            next_at=NOW,
            created_at=NOW,
            created_by="t",
            ended_at=None,
            read_at=NOW,
        )

    @rule(outcome=OUTCOMES)
    def goes_on(self, outcome: Outcome) -> None:
        self._move(outcome)

    def _move(self, outcome: Outcome) -> None:
        move = next_move(self.flow, self.execution, self.progress)
        match move:
            case Try(step=step, direction=direction):
                self._note_passed_over(step.name, direction)
                self._try(step, direction, outcome)
            case Skip(step=step):
                self._note_passed_over(step.name, Direction.UNDO)
                self._set(step.name, Direction.UNDO, StepState.NOTHING)
            case TurnBack(reason=reason):
                self._change(state=ExecutionState.UNDOING, reason=reason)
            case Finish(state=state):
                self._note_passed_over("", Direction.ACT)
                self._change(state=state)
            case AskPerson(step=step, direction=direction):
                self._change(waits_for=f"{step.name}:{direction}")
            case Rest():
                pass

    @precondition(lambda self: self.execution.cancelled_by is None)
    @rule()
    def somebody_cancels(self) -> None:
        self._change(cancelled_by="otto", waits_for=None)

    @rule()
    def time_passes(self) -> None:
        self._change(read_at=self.execution.read_at + timedelta(hours=1))

    @precondition(lambda self: self.execution.waits_for is not None)
    @rule(retries=st.booleans())
    def a_person_looks_it_up(self, *, retries: bool) -> None:
        """Or says that the cause is removed. What they see is what is there."""
        name, _, direction = str(self.execution.waits_for).partition(":")
        known = self.progress[name, Direction(direction)]
        if retries or known.state not in (StepState.UNKNOWN, StepState.WAITING):
            state = StepState.FAILED if known.state is StepState.REFUSED else known.state
            self.progress[name, Direction(direction)] = msgspec.structs.replace(
                known, tries_left_from=known.tries, state=state
            )
        else:
            is_done = bool(self.there.get(name)) is (direction == Direction.ACT)
            self._set(name, Direction(direction), StepState.DONE if is_done else StepState.FAILED)
        self._change(waits_for=None)

    @invariant()
    def all_is_done_or_all_is_undone(self) -> None:
        if self.execution.state is ExecutionState.COMPLETED:
            assert all(self.there.get(step.name) for step in self.flow.steps)
        if self.execution.state is ExecutionState.UNDONE:
            left = [step.name for step in self.flow.steps if step.undo and self.there.get(step.name)]
            assert left == []

    @invariant()
    def no_mail_is_sent_before_the_point_of_no_return(self) -> None:
        assert self.mails_too_early == 0

    @invariant()
    def the_money_is_captured_once_at_most(self) -> None:
        assert self.captures <= 1

    @invariant()
    def what_nobody_knows_is_never_passed_over(self) -> None:
        assert self.passed_over == []

    def teardown(self) -> None:
        """Whatever happened: once everybody answers, it comes to its end, and the invariants hold there."""
        if not hasattr(self, "execution"):
            return
        for _ in range(200):
            if self.execution.waits_for is not None:
                self.a_person_looks_it_up(retries=True)
            self._move(Outcome(True, StepState.DONE))
            if self.execution.state in ENDED and isinstance(next_move(self.flow, self.execution, self.progress), Rest):
                break
        else:
            raise AssertionError("it does not come to an end")
        for holds in (
            self.all_is_done_or_all_is_undone,
            self.no_mail_is_sent_before_the_point_of_no_return,
            self.the_money_is_captured_once_at_most,
            self.what_nobody_knows_is_never_passed_over,
        ):
            holds()

    def _try(self, step: Step, direction: Direction, outcome: Outcome) -> None:
        """Make the call: with its key, an effect that is there is not made again, and is not refused."""
        acts = direction is Direction.ACT
        is_there = bool(self.there.get(step.name))
        heard = outcome.heard
        if is_there is acts and heard in (StepState.REFUSED, StepState.FAILED):
            # The key's answer is replayed, whatever the system would say now.
            heard = StepState.DONE
        if outcome.has_effect:
            if step.name == MAIL and acts and not self.there.get(CAPTURE):
                self.mails_too_early += 1
            if step.name == CAPTURE and acts and not is_there:
                self.captures += 1
            self.there[step.name] = int(acts)
        self._set(step.name, direction, heard)

    def _note_passed_over(self, name: str, direction: Direction) -> None:
        """Whatever else is done while an outcome is unknown leaves that behind, unless it is an undo that finds it out."""
        for (other, known_direction), known in self.progress.items():
            if known.state not in UNRESOLVED:
                continue
            step = next(found for found in self.flow.steps if found.name == other)
            undone = self.progress.get((other, Direction.UNDO))
            is_found_out = step.undo_resolves and undone is not None and undone.state in UNDONE
            is_asked_about = other == name and (known_direction is direction or step.undo_resolves)
            if not (is_found_out or is_asked_about):
                self.passed_over.append(f"{other} before {name}")

    def _set(self, name: str, direction: Direction, state: StepState) -> None:
        known = self.progress.get((name, direction))
        self.progress[name, direction] = StepProgress(
            step=name,
            direction=direction,
            state=state,
            key=f"{name}:{direction}",
            tries=(known.tries if known else 0) + 1,
            tries_left_from=known.tries_left_from if known else 0,
            began_at=NOW,
        )

    def _change(self, **changes: object) -> None:
        self.execution = msgspec.structs.replace(self.execution, **changes)


TestSaga = Saga.TestCase
# Shrinking a failure of a machine takes minutes, and the steps are printed all the same.
TestSaga.settings = settings(
    max_examples=150, stateful_step_count=25, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)
