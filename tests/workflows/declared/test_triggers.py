"""Events start workflows, once each, and are heard by the steps that wait for them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.events.model import Event
from crossdock.workflows import repository
from crossdock.workflows.declared import repository as versions
from crossdock.workflows.declared.executions import Status, status
from crossdock.workflows.declared.triggers import WorkflowTriggers, event_types
from crossdock.workflows.model import Driver
from tests.workflows.declared.systems import Flows, Systems, flows_of
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


def test_an_event_that_is_delivered_twice_starts_it_once(store: Store, flows: Flows) -> None:
    for _ in range(2):
        with store.transaction() as work:
            WorkflowTriggers(flows).apply(work, [ran_out("SKU-1")])

    assert len(started(store, flows)) == 1


def test_a_condition_leaves_events_out(store: Store, flows: Flows) -> None:
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("skip")])

    assert started(store, flows) == []


def test_an_event_whose_params_are_not_valid_is_refused_with_their_names(store: Store, flows: Flows) -> None:
    with pytest.raises(BadRequest, match="/sku"), store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("x")])

    assert started(store, flows) == []


def test_the_types_of_a_workflow_are_those_of_its_triggers_and_of_what_it_waits_for() -> None:
    assert event_types(RAN_OUT) == {"crossdock.stock.ran_out"}
    assert event_types(example("order_flow")) == set()


def test_what_was_stored_before_the_workflow_was_deployed_starts_nothing(store: Store, flows: Flows) -> None:
    """A new subscriber is delivered all events that are kept."""
    with store.transaction() as work:
        WorkflowTriggers(flows).apply(work, [ran_out("SKU-1", xid=1)])

    assert started(store, flows) == []
