"""Executions on a real database: whatever fails on the way, all is done or all is undone."""

from __future__ import annotations

import itertools
from collections import deque
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.workflows import repository, service
from crossdock.workflows.model import (
    Direction,
    Driver,
    Execution,
    ExecutionState,
    Flow,
    FlowInvalid,
    Outside,
    Step,
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


def begun(store: Store, flow: Flow, subject: str = "ord_1") -> str:
    with store.transaction() as work:
        execution, _ = service.start(work, flow, subject, {}, driver=Driver.EVENTS, actor="t")
    return execution.execution_id


def go_on(store: Store, flow: Flow, execution_id: str, *, lives: int = 40) -> Execution:
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


def test_an_unknown_outcome_is_asked_about_before_anything_else(store: Store, world: World) -> None:
    """Neither is the step before it undone, nor does the next one begin."""
    world.fates["authorise", Direction.ACT] = deque([Fate.TIMES_OUT_AFTER] * 2)
    flow = flow_of(world)
    ended = go_on(store, flow, begun(store, flow))

    assert ended.state is ExecutionState.COMPLETED
    assert [step for step, _ in world.calls] == ["check", *["authorise"] * 3, "capture", "tell"]
    assert world.there["authorise"] == 1


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
    with pytest.raises(Conflict):
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

    assert (ended.state, ended.reason) == (ExecutionState.UNDONE, "the customer changed her mind")
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
        late = repository.end(work, execution, slept, StepState.REFUSED, output=None, message="too late", wait_s=None)

    assert late is None
    assert steps(store, execution_id)["check", Direction.ACT] is StepState.DONE


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
            Flow(
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
