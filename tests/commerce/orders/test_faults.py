"""
Every step of an order, and every undo, with everything that can go wrong in it: right by the providers' own books.

The connectors are the real ones; the CRM, the gateway and the mail server are simulated, and keep books of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.app.orders import Calls, order_flows
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import OrderState, PlacedOrder
from crossdock.commerce.orders.steps import OrderStepName as Name
from crossdock.db.database import Store
from crossdock.workflows import service as engine
from tests.chaos import children
from tests.commerce.orders.placing import OrderHub
from tests.commerce.orders.providers import TOTAL_MINOR, Providers, provided

pytestmark = pytest.mark.crash

OUTSIDE = (Name.CHECK_CUSTOMER, Name.AUTHORISE_PAYMENT, Name.CAPTURE_PAYMENT, Name.SEND_CONFIRMATION)
IN_HUB = (Name.RESERVE_STOCK, Name.SCHEDULE_SHIPMENT, Name.KEEP_STOCK, Name.SELL_STOCK)
#: Those that have an undo.
OUTSIDE_UNDONE = (Name.AUTHORISE_PAYMENT, Name.CAPTURE_PAYMENT)
IN_HUB_UNDONE = (Name.RESERVE_STOCK, Name.SCHEDULE_SHIPMENT)
FAULTS: dict[str, Any] = {
    "fails": None,
    "times out before": {"timeout": "before"},
    "times out after": {"timeout": "after"},
}
KILLED = {"killed before": "begun", "killed after": "called"}
#: Each way in which a try can end badly, by its name.
TROUBLES = (*FAULTS, *KILLED)

World = tuple[OrderHub, Providers]


@pytest.fixture
def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with provided(store, monkeypatch) as opened:
        yield opened


def killed_at(world: World, placed: PlacedOrder, crash_at: str) -> None:
    """Move the order on in a child that is killed at the failpoint."""
    hub, providers = world
    execution_id = hub.execution(placed).execution_id

    def work() -> None:
        with Store(hub.store.dsn) as own:
            engine.advance(own, order_flows(lambda: Calls(own, providers.open_client)), execution_id)

    assert children.run(work, crash_at=crash_at) == children.KILLED
    hub.skip_waits()


def in_trouble(world: World, placed: PlacedOrder, step: str, direction: str, trouble: str) -> None:
    """Have the next try of the step, or of its undo, end badly."""
    if trouble in KILLED:
        killed_at(world, placed, f"workflows.{KILLED[trouble]}.{step}.{direction}")
    else:
        world[1].fault(step, FAULTS[trouble])


def assert_all_is_done(world: World, order: PlacedOrder, *, mails: tuple[int, ...] = (1,)) -> None:
    """By the books of the providers, not by ours."""
    hub, providers = world
    books = providers.books()
    assert order.state is OrderState.CONFIRMED
    assert (books.charged, books.blocked, books.authorisations, books.captures) == (TOTAL_MINOR, 0, 1, 1)
    assert books.mails in mails
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (8, 0, 2)


def assert_all_is_undone(world: World, order: PlacedOrder, *, mails: int = 0) -> None:
    """No money is taken or blocked, none was taken or given back twice, and no mail was sent too early."""
    hub, providers = world
    books = providers.books()
    assert order.state is OrderState.CANCELLED
    assert (books.charged, books.blocked, books.mails) == (0, 0, mails)
    assert max(books.authorisations, books.captures, books.refunds) <= 1
    (stock,) = hub.figures()
    assert (stock.available, stock.held, stock.sold) == (10, 0, 0)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", OUTSIDE)
def test_whatever_goes_wrong_in_a_step_the_order_is_done_once(world: World, step: str, trouble: str) -> None:
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    if trouble not in KILLED:
        hub.advance(placed, before=step)
    in_trouble(world, placed, step, "act", trouble)
    order = hub.go_on(placed)

    # Whether a mail that nobody answered for was accepted, nobody can find out: it is not sent again.
    lost = step == Name.SEND_CONFIRMATION and trouble in ("times out before", "killed before")
    assert_all_is_done(world, order, mails=(0, 1) if lost else (1,))


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", OUTSIDE_UNDONE)
def test_whatever_goes_wrong_in_an_undo_nothing_is_left(world: World, step: str, trouble: str) -> None:
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    is_confirmed = step == Name.CAPTURE_PAYMENT
    hub.advance(placed, before=None if is_confirmed else Name.CAPTURE_PAYMENT)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    in_trouble(world, placed, step, "undo", trouble)
    order = hub.go_on(placed)

    assert_all_is_undone(world, order, mails=int(is_confirmed))


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", [Name.CHECK_CUSTOMER, Name.AUTHORISE_PAYMENT, Name.CAPTURE_PAYMENT])
def test_an_order_that_is_cancelled_in_the_middle_of_trouble_leaves_nothing(
    world: World, step: str, trouble: str
) -> None:
    """Somebody cancels while nobody knows what became of the step."""
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    if trouble not in KILLED:
        hub.advance(placed, before=step)
    in_trouble(world, placed, step, "act", trouble)
    if trouble not in KILLED:
        hub.advance(placed)
    confirmed = hub.order(placed).state is OrderState.CONFIRMED
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.skip_waits()

    assert_all_is_undone(world, hub.go_on(placed), mails=int(confirmed))


@pytest.mark.parametrize("step", IN_HUB)
def test_a_worker_that_is_killed_in_a_step_of_the_hub_has_done_nothing_of_it(world: World, step: str) -> None:
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    killed_at(world, placed, f"workflows.made.{step}.act")

    assert_all_is_done(world, hub.go_on(placed))


@pytest.mark.parametrize("step", IN_HUB_UNDONE)
def test_a_worker_that_is_killed_in_an_undo_of_the_hub_has_undone_nothing_of_it(world: World, step: str) -> None:
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    hub.go_on(placed)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    killed_at(world, placed, f"workflows.made.{step}.undo")

    assert_all_is_undone(world, hub.go_on(placed), mails=1)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.product(itertools.product(OUTSIDE, TROUBLES), itertools.product(OUTSIDE_UNDONE, TROUBLES))),
    ids=", ".join,
)
def test_trouble_in_a_step_and_then_in_an_undo_leaves_nothing(
    world: World, first: tuple[str, str], second: tuple[str, str]
) -> None:
    """Every pair: the order is done once in spite of the first, and undone once in spite of the second."""
    hub, providers = world
    placed = hub.place(method="pm_card_visa")
    if first[1] not in KILLED:
        hub.advance(placed, before=first[0])
    in_trouble(world, placed, first[0], "act", first[1])
    hub.go_on(placed)
    mails = providers.books().mails
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    in_trouble(world, placed, second[0], "undo", second[1])

    assert_all_is_undone(world, hub.go_on(placed), mails=mails)


@pytest.mark.deep
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((one, trouble), (other, again))
        for one, other in itertools.combinations(OUTSIDE, 2)
        for trouble, again in itertools.product(TROUBLES, repeat=2)
    ],
    ids=", ".join,
)
def test_trouble_in_two_steps_leaves_an_order_that_is_done_once(
    world: World, first: tuple[str, str], second: tuple[str, str]
) -> None:
    hub, _ = world
    placed = hub.place(method="pm_card_visa")
    for step, trouble in (first, second):
        # A process that meets the first trouble ends there, and would not come to where it is to be killed.
        if trouble not in KILLED or (step, trouble) == second:
            for _turn in range(20):
                hub.advance(placed, before=step)
                hub.skip_waits()
        in_trouble(world, placed, step, "act", trouble)
    lost = any(step == Name.SEND_CONFIRMATION for step, _ in (first, second))

    assert_all_is_done(world, hub.go_on(placed), mails=(0, 1) if lost else (1,))
