"""Events start workflows, once each, and are heard by the steps that wait for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from crossdock.app.event_types import event_types as event_types_of_hub
from crossdock.db.database import Store
from crossdock.events.dead_letters import repository as dead_letters_repository
from crossdock.events.dead_letters import service as dead_letters
from crossdock.events.model import Event
from crossdock.events.replay import service as replay_service
from crossdock.events.subscriber import Subscriber
from crossdock.workflows import repository
from crossdock.workflows.declared import executions
from crossdock.workflows.declared import repository as versions
from crossdock.workflows.declared.events import WORKFLOW_NOT_STARTED
from crossdock.workflows.declared.executions import Status, status
from crossdock.workflows.declared.subscribers import FAILED_EXECUTIONS, TYPES_OF_EXECUTIONS, FailedExecutions
from crossdock.workflows.declared.triggers import WorkflowTriggers, event_types
from crossdock.workflows.model import Driver
from tests.events.worlds import delivery, eventually
from tests.shop import query
from tests.workflows.declared.systems import Flows, Systems, answers, begun, flows_of, go_on
from tests.workflows.declared.test_executions import FAILED, ORDER
from tests.workflows.declared.test_trial import example, parsed

RAN_OUT = parsed(
    """
schema: crossdock.workflow/1
id: restock
version: 1
title: T
params: {sku: {type: string, minLength: 3}}
triggers:
  - event: crossdock.stock.ran_out
    where: event.subject != "skip"
    with: {sku: event.subject}
do:
  - {id: keep, set: {sku: params.sku}}
"""
)


def ran_out(sku: str, position: int = 7, xid: int = 2**60) -> Event:
    return Event(1, xid, position, None, "s", "crossdock.stock.ran_out", sku, datetime.now(UTC), sku, None, 1, "{}")


@pytest.fixture
def flows(store: Store) -> Flows:
    """A hub in which the workflow is deployed."""
    with store.transaction() as work:
        versions.add(work, RAN_OUT, "-", actor="dora")
        versions.deploy(work, "restock", 1, actor="otto")
    return flows_of(Systems(), RAN_OUT)


def started(store: Store, flows: Flows) -> list[Status]:
    with store.transaction() as work:
        found = repository.of_flows(work, None, before=None, limit=10)
        return [status(work, flows, each.execution_id) for each in found]


def test_an_event_starts_the_workflow_with_the_params_that_its_trigger_gives(store: Store, flows: Flows) -> None:
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("SKU-1")])

    (found,) = started(store, flows)
    assert (found.execution.input, found.execution.driver, found.run_id) == (
        {"sku": "SKU-1"},
        Driver.EVENTS,
        "event__1-7",
    )


def test_what_the_event_does_not_have_is_the_default(store: Store) -> None:
    """It became null, which the param does not take: the workflow did not start."""
    with_default = parsed(
        """
schema: crossdock.workflow/1
id: restock
version: 1
title: T
params: {sku: {type: string, minLength: 3}, supplier: {type: string, default: acme}}
triggers: [{event: crossdock.stock.ran_out, with: {sku: event.subject, supplier: event.data.supply_channel}}]
do:
  - {id: keep, set: {sku: params.sku}}
"""
    )
    with store.transaction() as work:
        versions.add(work, with_default, "-", actor="dora")
        versions.deploy(work, "restock", 1, actor="otto")
    flows = flows_of(Systems(), with_default)
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("SKU-1")])

    (found,) = started(store, flows)
    assert found.execution.input == {"sku": "SKU-1", "supplier": "acme"}


def test_an_event_that_is_delivered_twice_starts_it_once(store: Store, flows: Flows) -> None:
    for _ in range(2):
        with store.transaction() as work:
            WorkflowTriggers(flows).apply(work, [ran_out("SKU-1")])

    assert len(started(store, flows)) == 1


def test_a_condition_leaves_events_out(store: Store, flows: Flows) -> None:
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("skip")])

    assert started(store, flows) == []


TAKES_ALL = parsed(
    """
schema: crossdock.workflow/1
id: watch
version: 1
title: T
params: {sku: {type: string}}
triggers: [{event: crossdock.stock.ran_out, with: {sku: event.subject}}]
do:
  - {id: keep, set: {sku: params.sku}}
"""
)


class TestWrongParams:
    """An event that is wrong for one workflow. `restock` takes no SKU of one letter, and `watch` does."""

    @pytest.fixture
    def flows(self, store: Store) -> Flows:
        with store.transaction() as work:
            for workflow in (RAN_OUT, TAKES_ALL):
                versions.add(work, workflow, "-", actor="dora")
                versions.deploy(work, workflow.id, 1, actor="otto")
        return flows_of(Systems(), RAN_OUT, TAKES_ALL)

    def test_it_starts_the_others_and_says_what_was_expected_once(self, store: Store, flows: Flows) -> None:
        for _ in range(2):
            with store.transaction() as work:
                WorkflowTriggers(flows).apply(work, [ran_out("x"), ran_out("SKU-1", position=8)])

        assert sorted((each.workflow_id, each.run_id) for each in started(store, flows)) == [
            ("restock", "event__1-8"),
            ("watch", "event__1-7"),
            ("watch", "event__1-8"),
        ]
        ((data,),) = query(store, "SELECT data::text FROM event WHERE type = 'crossdock.workflow.not_started'")
        event = json.loads(data)
        assert {name: event[name] for name in ("workflow_id", "run_id", "event_id", "event_type", "params")} == {
            "workflow_id": "restock",
            "run_id": "event__1-7",
            "event_id": "1-7",
            "event_type": "crossdock.stock.ran_out",
            "params": {"sku": "x"},
        }
        assert event["message"].startswith("/sku")

    def test_its_dead_letter_names_all_and_fixed_and_replayed_it_starts_the_missing_one(
        self, store: Store, hub_dsn: str, flows: Flows
    ) -> None:
        with store.transaction() as work:
            WorkflowTriggers(flows).apply(work, [ran_out("x")])
        deliver = FailedExecutions(lambda: Store(hub_dsn), flows).deliver
        subscribers = {FAILED_EXECUTIONS: Subscriber(types=(WORKFLOW_NOT_STARTED.name,), deliver=deliver, attempts=1)}
        with delivery(hub_dsn, subscribers):
            eventually(lambda: query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'"), [(1,)])

        with store.transaction() as work:
            (dead,) = dead_letters_repository.find(work)
        assert str(dead.reason).startswith("restock was not started by event 1-7 (crossdock.stock.ran_out): /sku")
        assert [each.workflow_id for each in started(store, flows)] == ["watch"]

        changes = {"params.sku": "SKU-1"}
        dead_letters.edit_fields(store, dead.dead_letter_id, changes, event_types=event_types_of_hub(), actor="otto")
        for _ in range(2):
            asked = replay_service.request_dead_letters(store, [dead.dead_letter_id], rate=None, actor="otto")
            replay_service.run_replay(store, asked.replay_id, subscribers=subscribers)

        assert sorted((each.workflow_id, each.execution.input["sku"]) for each in started(store, flows)) == [
            ("restock", "SKU-1"),
            ("watch", "x"),
        ]
        assert query(store, "SELECT state FROM dead_letter") == [("replayed",)]


def test_what_is_retried_otherwise_than_by_a_replay_is_no_dead_letter_any_more(store: Store, hub_dsn: str) -> None:
    """It stayed, with the advice to fix and replay it."""
    flows = flows_of(Systems(answers(authorise=[FAILED] * 6)), example("order_flow"))
    execution_id = begun(store, flows["workflow.order_flow.v1"], **ORDER)
    go_on(store, flows, execution_id)
    deliver = FailedExecutions(lambda: Store(hub_dsn), flows).deliver
    subscribers = {FAILED_EXECUTIONS: Subscriber(types=TYPES_OF_EXECUTIONS, deliver=deliver, attempts=1)}
    with delivery(hub_dsn, subscribers):
        eventually(lambda: query(store, "SELECT state FROM dead_letter"), [("dead",)])
        executions.retry(store, flows, execution_id, newest=False, params=None, reason="-", actor="ada")
        eventually(lambda: query(store, "SELECT state FROM dead_letter"), [("superseded",)])


def test_the_types_of_a_workflow_are_those_of_its_triggers_and_of_what_it_waits_for() -> None:
    assert event_types(RAN_OUT) == {"crossdock.stock.ran_out"}
    assert event_types(example("order_flow")) == set()


def test_what_was_stored_before_the_workflow_was_deployed_starts_nothing(store: Store, flows: Flows) -> None:
    """A new subscriber is delivered all events that are kept."""
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("SKU-1", xid=1)])

    assert started(store, flows) == []
