"""How an order ended is written to the platform that has it: once, by the platform's own record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.app import journeys
from crossdock.app.journeys import Subject
from crossdock.app.orders import order_flows
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import OrderState
from crossdock.commerce.orders.steps import OrderStepName, Sequence
from crossdock.db.database import Store
from crossdock.integrations import repository as registry
from crossdock.workflows import service as engine
from crossdock.workflows.model import ExecutionState
from tests.chaos import children
from tests.commerce.orders.placing import steps_of
from tests.commerce.orders.platform import SHOP, PlatformHub, calls_of, open_platform
from tests.shop import query


@pytest.fixture
def hub(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlatformHub]:
    with open_platform(store, monkeypatch) as opened:
        opened.orders.stock("mug", 10)
        yield opened


def test_the_journey_has_each_call_that_wrote_to_the_platform(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.fault({"timeout": "after"})
    hub.orders.go_on(placed)
    service.cancel(hub.orders.store, placed.order_id, reason="r", actor="otto")
    hub.orders.go_on(placed)
    entries = journeys.read(hub.orders.store, Subject.ORDER, placed.order_id, limit=500).entries
    calls = [entry for entry in entries if entry.kind == "call" and entry.name == f"{SHOP} write_order_state"]

    assert [(call.detail["step"], call.state) for call in calls] == [("write_back", "done"), ("take_order", "done")]
    assert all(call.ended_at is not None for call in calls)


@pytest.mark.parametrize("sequence", Sequence)
def test_a_confirmed_order_is_confirmed_and_paid_on_its_platform_in_one_change(
    hub: PlatformHub, sequence: Sequence
) -> None:
    hub.orders.sequence = sequence
    before = hub.row["version"]
    order = hub.orders.go_on(hub.place())

    assert order.state is OrderState.CONFIRMED
    assert (hub.row["orderState"], hub.row["paymentState"]) == ("Confirmed", "Paid")
    assert (hub.row["version"], hub.marks) == (before + 1, [f"{order.order_id}.confirmed"])


def test_an_order_that_is_refused_is_cancelled_on_its_platform_and_stays_unpaid_there(hub: PlatformHub) -> None:
    order = hub.orders.go_on(hub.place(method="pm_declined"))

    assert order.state is OrderState.CANCELLED
    assert (hub.row["orderState"], hub.row["paymentState"]) == ("Cancelled", "Pending")
    assert hub.marks == [f"{order.order_id}.cancelled"]


def test_a_confirmed_order_that_is_cancelled_is_cancelled_on_its_platform_when_its_money_is_back(
    hub: PlatformHub,
) -> None:
    placed = hub.place()
    hub.orders.go_on(placed)
    service.cancel(hub.orders.store, placed.order_id, reason="r", actor="otto")
    hub.fault({"status": 503}, {"status": 503})
    hub.orders.advance(placed)

    assert (hub.orders.charged_minor(), hub.row["orderState"]) == (0, "Confirmed")
    assert hub.orders.order(placed).state is OrderState.CANCELLING
    assert hub.orders.go_on(placed).state is OrderState.CANCELLED
    assert (hub.row["orderState"], hub.marks) == ("Cancelled", [f"{placed.order_id}.cancelled"])


FAULTS: dict[str, list[Any]] = {
    "fails": [{"status": 503}, {"status": 503}],
    "times out before": ["ok", {"timeout": "before"}, {"status": 503}, {"status": 503}],
    "times out after": ["ok", {"timeout": "after"}, {"status": 503}, {"status": 503}],
    "is cut off after": ["ok", {"reset": "after"}],
}


@pytest.mark.parametrize("cancelled", [False, True], ids=["confirmed", "cancelled"])
@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_the_platform_does_the_state_is_written_once(hub: PlatformHub, fault: str, *, cancelled: bool) -> None:
    """The first request of a step reads the order, the second one writes it. A change of the platform is one version."""
    before = hub.row["version"]
    placed = hub.place(method="pm_declined" if cancelled else "pm_visa")
    hub.fault(*FAULTS[fault])
    order = hub.orders.go_on(placed)

    state = "cancelled" if cancelled else "confirmed"
    assert order.state == state
    assert (hub.row["version"], hub.marks) == (before + 1, [f"{order.order_id}.{state}"])
    assert query(hub.orders.store, "SELECT count(*) FROM attempt WHERE outcome IN ('open', 'unknown')") == [(0,)]


def test_what_the_platform_did_after_a_lost_answer_stays(hub: PlatformHub) -> None:
    """The order was confirmed, then sent off there: a repetition would take it back to confirmed."""
    placed = hub.place()
    hub.fault("ok", {"reset": "after"}, {"status": 503}, {"status": 503})
    hub.orders.advance(placed)
    hub.edit(orderState="Complete")
    written = hub.row["version"]
    order = hub.orders.go_on(placed)

    assert (order.state, hub.row["orderState"], hub.row["version"]) == ("confirmed", "Complete", written)
    assert hub.orders.execution(placed).state is ExecutionState.COMPLETED


def test_a_write_that_was_lost_before_its_effect_goes_to_the_order_as_it_is_now(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.fault("ok", {"reset": "before"}, {"status": 503}, {"status": 503})
    hub.orders.advance(placed)
    hub.edit(shipmentState="Ready")
    order = hub.orders.go_on(placed)

    assert hub.row["shipmentState"] == "Ready"
    assert (hub.row["orderState"], hub.marks) == ("Confirmed", [f"{order.order_id}.confirmed"])


def test_a_change_between_read_and_write_is_not_overwritten_but_read_again(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    hub.fault("ok", {"status": 409})
    order = hub.orders.go_on(placed)

    assert (hub.row["orderState"], hub.marks) == ("Confirmed", [f"{order.order_id}.confirmed"])


@pytest.mark.parametrize("lost", [False, True], ids=["answered", "lost"])
def test_an_order_that_the_shop_has_completed_is_paid_and_not_taken_back_to_confirmed(
    hub: PlatformHub, *, lost: bool
) -> None:
    placed = hub.place()
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    hub.edit(orderState="Complete")
    if lost:
        hub.fault("ok", {"reset": "before"}, {"status": 503}, {"status": 503})
    hub.orders.go_on(placed)

    assert (hub.row["orderState"], hub.row["paymentState"]) == ("Complete", "Paid")
    assert hub.orders.execution(placed).state is ExecutionState.COMPLETED
    assert query(hub.orders.store, "SELECT count(*) FROM attempt WHERE outcome IN ('open', 'unknown')") == [(0,)]


def test_an_order_that_its_platform_has_cancelled_meanwhile_waits_for_a_person(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    hub.edit(orderState="Cancelled")
    hub.orders.go_on(placed)

    assert hub.orders.execution(placed).waits_for == "write_back:act"
    service.cancel(hub.orders.store, placed.order_id, reason="cancelled in the shop", actor="otto")
    assert hub.orders.go_on(placed).state is OrderState.CANCELLED
    assert (hub.orders.charged_minor(), hub.row["orderState"]) == (0, "Cancelled")


def test_an_order_of_a_platform_that_does_not_exist_is_refused_before_anything_is_done(hub: PlatformHub) -> None:
    order = hub.orders.go_on(hub.orders.place("w-1", platform="nowhere"))

    assert (order.state, order.reason) == ("cancelled", "take_order: there is no commerce platform 'nowhere'")
    assert hub.orders.gateways.calls == []


def test_an_order_that_its_platform_does_not_have_waits_for_a_person_and_can_be_cancelled(hub: PlatformHub) -> None:
    placed = hub.orders.place("w-1", platform=SHOP)
    hub.orders.go_on(placed)
    assert hub.orders.execution(placed).waits_for == "write_back:act"

    service.cancel(hub.orders.store, placed.order_id, reason="not of the shop", actor="otto")
    assert hub.orders.go_on(placed).state is OrderState.CANCELLED
    assert (hub.orders.charged_minor(), hub.writes()) == (0, 0)


def test_an_order_whose_platform_was_removed_ends_and_says_that_nothing_was_written(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    with hub.orders.store.transaction() as work:
        registry.remove(work, SHOP)
    hub.orders.go_on(placed)

    found = query(hub.orders.store, "SELECT output FROM execution_step WHERE step = 'write_back'")
    assert found == [({"skipped": f"{SHOP} is not there any more"},)]


def test_an_order_that_no_platform_has_is_written_nowhere(hub: PlatformHub) -> None:
    placed = hub.orders.place("w-1")
    assert hub.orders.go_on(placed).state is OrderState.CONFIRMED

    assert hub.writes() == 0
    assert not {"take_order", "write_back"} & {step for step, _, _ in steps_of(hub.orders, placed)}


@pytest.mark.crash
@pytest.mark.parametrize("place", ["begun", "called"])
@pytest.mark.parametrize("cancelled", [False, True], ids=["confirmed", "cancelled"])
def test_a_worker_that_is_killed_while_it_writes_leaves_the_state_written_once(
    hub: PlatformHub, place: str, *, cancelled: bool
) -> None:
    before = hub.row["version"]
    placed = hub.place(method="pm_declined" if cancelled else "pm_visa")
    execution_id = hub.orders.execution(placed).execution_id
    step = "take_order.undo" if cancelled else "write_back.act"

    def work() -> None:
        with Store(hub.orders.store.dsn) as own:
            flows = order_flows(lambda: calls_of(own, hub.orders.gateways.in_thread(own), hub.shop))
            engine.advance(own, flows, execution_id)

    assert children.run(work, crash_at=f"workflows.{place}.{step}") == children.KILLED
    hub.orders.skip_waits()
    order = hub.orders.go_on(placed)

    assert order.state == ("cancelled" if cancelled else "confirmed")
    assert (hub.row["version"], len(hub.marks)) == (before + 1, 1)


def test_an_order_that_is_cancelled_while_its_end_is_written_is_not_confirmed_to_find_that_out(
    hub: PlatformHub,
) -> None:
    """The shop would send it off; and its money would wait for a shop that is away."""
    placed = hub.place()
    hub.fault("ok", {"timeout": "before"}, {"status": 503}, {"status": 503})
    hub.orders.advance(placed)
    service.cancel(hub.orders.store, placed.order_id, reason="fraud", actor="otto")
    hub.orders.skip_waits()
    hub.fault({"status": 503}, {"status": 503})
    hub.orders.advance(placed)

    assert hub.orders.charged_minor() == 0
    assert hub.orders.go_on(placed).state is OrderState.CANCELLED
    assert (hub.row["orderState"], hub.marks) == ("Cancelled", [f"{placed.order_id}.cancelled"])


def test_an_order_that_is_cancelled_before_its_first_step_is_cancelled_on_its_platform(hub: PlatformHub) -> None:
    placed = hub.place()
    service.cancel(hub.orders.store, placed.order_id, reason="r", actor="otto")

    assert hub.orders.go_on(placed).state is OrderState.CANCELLED
    assert (hub.row["orderState"], hub.marks) == ("Cancelled", [f"{placed.order_id}.cancelled"])


def test_an_order_waits_while_its_platform_is_paused(hub: PlatformHub) -> None:
    placed = hub.place()
    hub.orders.advance(placed, before=OrderStepName.WRITE_BACK)
    _set_state(hub.orders.store, "paused")
    waits = hub.orders.advance(placed)
    _set_state(hub.orders.store, "active")
    hub.orders.skip_waits()

    assert (waits.waits_for, waits.state) == (None, ExecutionState.RUNNING)
    assert hub.orders.go_on(placed).state is OrderState.CONFIRMED
    assert hub.row["orderState"] == "Confirmed"


def _set_state(store: Store, state: str) -> None:
    with store.transaction() as work:
        work.execute("UPDATE integration SET state = %s WHERE integration_id = %s", (state, SHOP))
