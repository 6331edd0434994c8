"""Executions on a real database: whatever fails on the way, all is done or all is undone."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock.app import decisions as decision_cases
from crossdock.core.errors import BadRequest, Conflict
from crossdock.core.roles import Role
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.observability import decisions
from crossdock.observability.decisions import AlreadyDecided, Decision, DecisionKind
from crossdock.workflows import repository, service
from crossdock.workflows.model import (
    Change,
    Direction,
    Driver,
    Execution,
    ExecutionState,
    FixedFlow,
    FlowInvalid,
    Outside,
    Step,
    StepEnd,
    StepEnded,
    StepKind,
    StepState,
    progress_of,
)
from tests.workflows.worlds import Fate, Killed, World, flow_of

EFFECTS = ("authorise", "capture")
#: Every example has the same database.
_subjects = itertools.count(100)
OUTSIDE_STEPS = ("check", "authorise", "capture", "tell")


@pytest.fixture
def world() -> World:
    return World()


def begun(store: Store, flow: FixedFlow, subject: str = "ord_1") -> str:
    with store.transaction() as work:
        execution, _ = service.start(work, flow, subject, {}, driver=Driver.EVENTS, actor="t")
    return execution.execution_id


def go_on(store: Store, flow: FixedFlow, execution_id: str, *, lives: int = 40) -> Execution:
    """Move it on as a process would that is started again whenever it was killed, until nothing more happens."""
    for _ in range(lives):
        try:
            found = service.advance(store, {flow.name: flow}, execution_id)
        except Killed:
            continue
        if found.next_at is None:
            return found
    raise AssertionError("it does not come to an end")


def steps(store: Store, execution_id: str) -> dict[tuple[str, Direction], StepState]:
    with store.transaction() as work:
        return {place: row.state for place, row in progress_of(repository.steps_of(work, execution_id)).items()}


def test_all_steps_are_done_in_their_order(store: Store, world: World) -> None:
    flow = flow_of(world)
    ended = go_on(store, flow, begun(store, flow))

    assert ended.state is ExecutionState.COMPLETED
    assert [step for step, _ in world.calls] == ["check", "authorise", "capture", "tell"]
    assert world.there == {"check": 1, "authorise": 1, "capture": 1, "tell": 1}


def test_a_refusal_undoes_what_was_done_the_last_first(store: Store, world: World) -> None:
    world.fates["capture", Direction.ACT] = deque([Fate.REFUSED])
    flow = flow_of(world)
    execution_id = begun(store, flow)
    ended = go_on(store, flow, execution_id)

    assert ended.state is ExecutionState.UNDONE
    assert ended.reason == "capture: it does not want to"
    assert world.there["authorise"] == 0
    found = steps(store, execution_id)
    assert found["authorise", Direction.UNDO] is StepState.DONE
    assert found["reserve", Direction.UNDO] is StepState.DONE
    assert found["capture", Direction.UNDO] is StepState.NOTHING
    assert world.calls[-1] == ("authorise", Direction.UNDO)


def test_a_call_whose_process_is_known_to_be_dead_is_repeated_now_and_not_when_it_must_be_over(
    store: Store, world: World
) -> None:
    world.fates["authorise", Direction.ACT] = deque([Fate.KILLED_AFTER])
    flow = flow_of(world)
    execution_id = begun(store, flow)
    with pytest.raises(Killed):
        service.advance(store, {flow.name: flow}, execution_id)
    with store.transaction() as work:
        work.execute("UPDATE execution_step SET next_at = now() + interval '1 hour' WHERE state = 'open'")
    waits = service.advance(store, {flow.name: flow}, execution_id)
    with pytest.raises(Conflict, match="waits for no decision: it is running"):
        service.retry(store, execution_id, reason="it takes long", actor="olga")
    service.retry(store, execution_id, reason="its process was killed", actor="otto", process_is_dead=True)
    ended = go_on(store, flow, execution_id)

    assert waits.state is ExecutionState.RUNNING
    assert ended.state is ExecutionState.COMPLETED
    assert world.there["authorise"] == 1


def test_an_unknown_outcome_is_asked_about_before_anything_else(store: Store, world: World) -> None:
    """Neither is the step before it undone, nor does the next one begin."""
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_AFTER] * 2)
    flow = flow_of(world)
    ended = go_on(store, flow, begun(store, flow))

    assert ended.state is ExecutionState.COMPLETED
    assert [step for step, _ in world.calls] == ["check", *["authorise"] * 3, "capture", "tell"]
    assert world.there["authorise"] == 1


def test_who_waits_for_anothers_word_is_tried_again_and_undone_only_when_it_is_there(
    store: Store, world: World
) -> None:
    """It is neither a failure nor a loss of the answer, and has a state of its own: nobody compares messages."""
    world.fates["authorise", Direction.ACT] = deque([Fate.WAITS] * 2)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    for _ in range(3):
        service.advance(store, {flow.name: flow}, execution_id, once=True)
    waits = steps(store, execution_id)
    with store.transaction() as work:
        work.execute("UPDATE execution_step SET next_at = now() + interval '1 hour' WHERE state = 'waiting'")
    service.retry(store, execution_id, reason="she says that she has paid", actor="otto")
    service.cancel(store, execution_id, reason="too late", actor="otto")
    ended = go_on(store, flow, execution_id)

    assert waits["authorise", Direction.ACT] is StepState.WAITING
    assert ended.state is ExecutionState.UNDONE
    assert [call for call in world.calls if call[0] == "authorise"] == [
        *[("authorise", Direction.ACT)] * 3,
        ("authorise", Direction.UNDO),
    ]
    assert world.there["authorise"] == 0


def test_what_nobody_knows_waits_for_a_person_and_is_never_taken_for_failed(store: Store, world: World) -> None:
    """Not by time either: to undo the steps before it would leave its effect behind."""
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_AFTER] * 10)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    go_on(store, flow, execution_id)
    with store.transaction() as work:
        work.execute("UPDATE execution SET deadline_at = now() - interval '1 day'")
    waiting = go_on(store, flow, execution_id)

    assert (waiting.state, waiting.waits_for) == (ExecutionState.RUNNING, "authorise:act")
    assert steps(store, execution_id)["reserve", Direction.ACT] is StepState.DONE


def test_a_person_settles_what_nobody_knows(store: Store, world: World) -> None:
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_BEFORE] * 4)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    waiting = go_on(store, flow, execution_id)
    assert (waiting.state, waiting.waits_for) == (ExecutionState.RUNNING, "authorise:act")

    service.resolve(store, execution_id, StepState.FAILED, reason="not in the dashboard", actor="otto")
    ended = go_on(store, flow, execution_id)

    assert ended.state is ExecutionState.UNDONE
    assert world.there["authorise"] == 0
    with pytest.raises(Conflict, match="waits for no decision: it is undone"):
        service.resolve(store, execution_id, StepState.DONE, reason="again", actor="otto")


def test_after_the_pivot_a_step_is_repeated_and_nothing_is_undone(store: Store, world: World) -> None:
    world.fates["tell", Direction.ACT] = deque([Fate.FAILED] * 4)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    waiting = go_on(store, flow, execution_id)
    assert (waiting.state, waiting.waits_for) == (ExecutionState.RUNNING, "tell:act")
    assert world.there["capture"] == 1

    service.retry(store, execution_id, reason="the mail server is back", actor="otto")
    assert go_on(store, flow, execution_id).state is ExecutionState.COMPLETED


def test_a_completed_one_can_be_cancelled_and_is_undone_as_a_whole(store: Store, world: World) -> None:
    flow = flow_of(world)
    execution_id = begun(store, flow)
    go_on(store, flow, execution_id)
    service.cancel(store, execution_id, reason="the customer changed her mind", actor="otto")
    service.cancel(store, execution_id, reason="twice", actor="otto")
    ended = go_on(store, flow, execution_id)

    assert (ended.state, ended.reason) == (ExecutionState.UNDONE, "cancelled by otto")
    assert (world.there["authorise"], world.there["capture"]) == (0, 0)


def test_the_time_is_up_before_the_pivot_and_what_was_done_is_undone(store: Store, world: World) -> None:
    world.fates["capture", Direction.ACT] = deque([Fate.FAILED])
    flow = flow_of(world, timeout=timedelta(0))
    ended = go_on(store, flow, begun(store, flow))

    assert ended.state is ExecutionState.UNDONE
    assert world.calls == []


def test_one_subject_has_one_execution(store: Store, world: World) -> None:
    flow = flow_of(world)
    assert begun(store, flow) == begun(store, flow)
    assert begun(store, flow) != begun(store, flow, "ord_2")


def test_the_end_of_a_try_that_was_replaced_is_of_no_account(store: Store, world: World) -> None:
    """Its process slept until its time was over, and another one has tried the step since."""
    flow = flow_of(world)
    execution_id = begun(store, flow)
    with store.transaction() as work:
        execution = repository.lock(work, execution_id)
        slept = repository.begin(work, execution, "check", Direction.ACT, "k", timeout=timedelta(0))
    go_on(store, flow, execution_id)
    with store.transaction() as work:
        late = repository.end(work, execution, slept, StepEnd(StepState.REFUSED, message="too late"))

    assert late is None
    assert steps(store, execution_id)["check", Direction.ACT] is StepState.DONE


@pytest.mark.parametrize("error", [StoreUnavailable("a deadlock"), SystemExit(), ValueError("a defect")], ids=repr)
def test_an_error_of_what_follows_a_call_does_not_take_its_end_back(
    store: Store, world: World, error: BaseException
) -> None:
    """Both are one transaction. The call was made: whoever goes on must not make it again to find out."""
    flow = flow_of(world)
    execution_id = begun(store, flow)
    noted, raised = flow.on_change, [error]

    def fails_once(work: Work, execution: Execution, change: Change) -> None:
        noted(work, execution, change)
        if isinstance(change, StepEnded) and change.step == "reserve" and raised:
            raise raised.pop()

    with pytest.raises(type(error)):
        service.advance(store, {flow.name: replace(flow, on_change=fails_once)}, execution_id)

    assert steps(store, execution_id) == {("check", Direction.ACT): StepState.DONE}
    assert go_on(store, flow, execution_id).state is ExecutionState.COMPLETED
    assert [step for step, _ in world.calls] == ["check", "authorise", "capture", "tell"]


def test_a_commit_that_landed_and_was_reported_as_failed_is_recorded_once(store: Store, world: World) -> None:
    """The connection broke after the commit: the end is there, and so is the beginning of the next call."""
    flow = flow_of(world)
    execution_id = begun(store, flow)
    real, opened = store.transaction, itertools.count(1)

    @contextmanager
    def breaks_after_the_second() -> Iterator[Work]:
        number = next(opened)
        with real() as work:
            yield work
        if number == 2:
            raise StoreUnavailable("the connection is gone")

    store.transaction = breaks_after_the_second  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        service.advance(store, {flow.name: flow}, execution_id)
    store.transaction = real  # type: ignore[method-assign]

    ended = [change.step for change in world.changes if isinstance(change, StepEnded)]
    assert ended == ["check", "reserve"]
    assert steps(store, execution_id)["authorise", Direction.ACT] is StepState.OPEN
    assert go_on(store, flow, execution_id).state is ExecutionState.COMPLETED
    assert [step for step, _ in world.calls] == ["check", "authorise", "capture", "tell"]


def test_a_step_in_the_hub_that_does_not_succeed_leaves_nothing(store: Store, world: World) -> None:
    world.fates["reserve", Direction.ACT] = deque([Fate.FAILED, Fate.REFUSED])
    flow = flow_of(world)
    ended = go_on(store, flow, begun(store, flow))

    assert ended.reason == "reserve: not enough"
    with store.transaction() as work:
        assert work.execute("SELECT count(*) FROM audit_entry WHERE act = 'reserve'").fetchone() == (0,)


def test_a_flow_whose_steps_contradict_each_other_is_refused(world: World) -> None:
    effect = Outside(world.outside)
    for kinds in (
        (StepKind.PIVOT, StepKind.COMPENSATABLE),
        (StepKind.RETRIABLE, StepKind.PIVOT),
        (StepKind.PIVOT, StepKind.PIVOT),
    ):
        with pytest.raises(FlowInvalid):
            FixedFlow(
                name="odd",
                steps=tuple(Step(name=f"s{no}", kind=kind, act=effect) for no, kind in enumerate(kinds)),
                on_change=world.note,
            )


fates = st.lists(st.sampled_from(list(Fate)), max_size=6).map(deque)
places = st.tuples(st.sampled_from((*OUTSIDE_STEPS, "reserve")), st.sampled_from(list(Direction)))


@given(
    script=st.dictionaries(places, fates, max_size=8),
    cancel_after=st.none() | st.integers(0, 6),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_all_is_done_or_all_is_undone(
    store: Store, script: dict[tuple[str, Direction], deque[Fate]], cancel_after: int | None
) -> None:
    """By the other systems' own books. A person, who looks them up, answers what nobody knows."""
    world = World()
    world.fates.update({place: deque(fates) for place, fates in script.items()})
    flow = flow_of(world)
    execution_id = begun(store, flow, subject=f"ord_{next(_subjects)}")
    for turn in range(60):
        if turn == cancel_after:
            service.cancel(store, execution_id, reason="cancelled", actor="t")
        try:
            found = service.advance(store, {flow.name: flow}, execution_id, once=True)
        except Killed:
            continue
        if found.waits_for:
            service.retry(store, execution_id, reason="it is back", actor="t")
        elif found.next_at is None and (cancel_after is None or turn >= cancel_after):
            break
    else:
        raise AssertionError("it does not come to an end")

    assert max(world.there.values(), default=0) <= 1
    expected = 1 if found.state is ExecutionState.COMPLETED else 0
    assert [world.there[name] for name in EFFECTS] == [expected] * 2


def test_what_waits_for_a_person_is_a_decision_that_is_made_once(store: Store, world: World) -> None:
    """By the decision or by the order's own route: whoever comes second is refused, and it says who was first."""
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_BEFORE] * 8)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    go_on(store, flow, execution_id)
    (first,) = opened(store)
    made(store, first, "retry", actor="otto")
    go_on(store, flow, execution_id)
    (second,) = opened(store)
    with pytest.raises(AlreadyDecided, match="by otto"):
        service.retry(store, execution_id, reason="too", actor="olga", decision_id=first.decision_id)
    service.resolve(store, execution_id, StepState.FAILED, reason="not in the dashboard", actor="olga")
    ended = go_on(store, flow, execution_id)

    assert (first.about, first.choices) == ("ord_1", ("retry", "done", "refused", "failed", "cancel"))
    assert "Nobody knows what became of authorise" in first.question
    with store.transaction() as work:
        found = decisions.find(work, is_open=None, about="ord_1")
    assert [(one.choice, one.decided_by) for one in found] == [("retry", "otto"), ("failed", "olga")]
    assert second.decision_id == found[1].decision_id
    assert opened(store) == []
    assert ended.state is ExecutionState.UNDONE
    with pytest.raises(AlreadyDecided):
        made(store, second, "done", actor="otto")


def test_a_choice_that_is_not_there_decides_nothing_and_a_cancellation_does(store: Store, world: World) -> None:
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_BEFORE] * 4)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    go_on(store, flow, execution_id)
    (decision,) = opened(store)
    with pytest.raises(BadRequest, match="retry, done"):
        made(store, decision, "perhaps", actor="otto")
    made(store, decision, "cancel", actor="otto")

    assert opened(store) == []
    assert go_on(store, flow, execution_id).reason == "cancelled by otto"


def test_a_decision_is_asked_again_as_it_is_now_and_not_twice(store: Store) -> None:
    with store.transaction() as work:
        for question in ("it failed", "it failed again"):
            decisions.ask(
                work,
                DecisionKind.STEP,
                "exe_1",
                about="ord_1",
                question=question,
                choices=("retry",),
                role=Role.OPERATOR,
            )
        mine, others = (decisions.find(work, roles=[role]) for role in (Role.OPERATOR, Role.USER))

    assert [decision.question for decision in mine] == ["it failed again"]
    assert others == []


@pytest.mark.parametrize("step", ["tell", "authorise"])
def test_nothing_is_offered_after_which_the_same_would_be_asked_again(store: Store, world: World, step: str) -> None:
    """An undo, and a step after the pivot, are made in the end: that they had no effect decides nothing."""
    direction = Direction.ACT if step == "tell" else Direction.UNDO
    world.fates[step, direction] = deque([Fate.FAILED] * 20)
    flow = flow_of(world)
    execution_id = begun(store, flow)
    go_on(store, flow, execution_id)
    if direction is Direction.UNDO:
        service.cancel(store, execution_id, reason="r", actor="otto")
        go_on(store, flow, execution_id)
    (decision,) = opened(store)

    assert decision.choices == (("retry", "done", "cancel") if step == "tell" else ("retry", "done"))
    with pytest.raises(Conflict, match="retry, done"):
        service.resolve(store, execution_id, StepState.FAILED, reason="r", actor="otto")
    assert opened(store) == [decision]


def opened(store: Store) -> list[Decision]:
    with store.transaction() as work:
        return decisions.find(work)


def made(store: Store, decision: Decision, choice: str, *, actor: str) -> None:
    with store.transaction() as work:
        now = decisions.get(work, decision.decision_id)
    decision_cases.make(store, now, choice, reason="r", actor=actor)
