"""
Orders of a hub that is known to be wrong must be found wrong: each test takes one safeguard out and sees it reported.

Without these, a matrix of faults that looks away would pass.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from crossdock.commerce.inventory import reservations
from crossdock.commerce.orders import service
from crossdock.commerce.orders.placement import PlacedOrder
from crossdock.commerce.orders.steps import OrderStepName as Name
from crossdock.commerce.payments import repository as payment_repository
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store, Work
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import Ended, Failed, Unknown
from crossdock.workflows import service as engine
from crossdock.workflows.model import FixedFlow, StepKind
from tests.commerce.orders.providers import TOTAL_MINOR, Providers, provided
from tests.commerce.orders.test_faults import FAULTS, World, assert_all_is_done, assert_all_is_undone, killed_at

pytestmark = pytest.mark.crash


@pytest.fixture
def world(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with provided(store, monkeypatch) as opened:
        yield opened


def lost_answer(world: World, step: str) -> PlacedOrder:
    """An order whose *step* had its effect, and nobody heard of it."""
    hub, providers = world
    placed = hub.place(method="pm_card_visa")
    hub.advance(placed, before=step)
    providers.fault(step, FAULTS["times out after"])
    return placed


def confirmed(world: World, reference: str) -> PlacedOrder:
    placed = world[0].place(reference, method="pm_card_visa")
    return world[0].go_on(placed)


def assert_only_the_second_is_charged(providers: Providers) -> None:
    assert providers.charged_by_payment() == [0, TOTAL_MINOR]


def test_a_sound_hub_pays_the_cancelled_order_back_and_no_other(world: World) -> None:
    """The other half of the proof: what is found below is not always there."""
    hub, providers = world
    first, _ = (confirmed(world, reference) for reference in ("w-1", "w-2"))
    service.cancel(hub.store, first.order_id, reason="r", actor="otto")
    hub.go_on(first)

    assert_only_the_second_is_charged(providers)


def test_a_hub_without_idempotency_keys_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker was killed after the answer: the repetition of the authorisation is a second one."""
    hub, _ = world
    real = actions.attempts.send

    def keyless(store: Store, client: Any, write: Any, *more: Any, **options: Any) -> Any:
        return real(store, client, msgspec.structs.replace(write, key=uuid.uuid4().hex), *more, **options)

    monkeypatch.setattr(actions.attempts, "send", keyless)
    placed = hub.place(method="pm_card_visa")
    killed_at(world, placed, "send.answered")

    with pytest.raises(AssertionError):
        assert_all_is_done(world, hub.go_on(placed, turns=20))


def test_stock_that_is_released_outside_the_transaction_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed between the release and its record releases it once more: more is there than the shop has."""
    hub, _ = world
    real = reservations.release

    def outside(_: Work, order_id: str) -> Any:
        with Store(hub.store.dsn) as own, own.transaction() as work:
            # Without the row that says that it is released already.
            released = real(work, order_id)
            work.execute(b"UPDATE stock_hold SET state = 'held' WHERE order_id = %s", [order_id])
        failpoint("known_bad.released")
        return released

    monkeypatch.setattr(reservations, "release", outside)
    placed = hub.place(method="pm_card_visa")
    hub.advance(placed, before=Name.AUTHORISE_PAYMENT)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    killed_at(world, placed, "known_bad.released")

    with pytest.raises(AssertionError):
        assert_all_is_undone(world, hub.go_on(placed, turns=5))


def test_a_refund_of_another_orders_charge_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the newest payment taken for the order's own, the cancellation of one order pays another one back."""
    hub, providers = world
    first, _ = (confirmed(world, reference) for reference in ("w-1", "w-2"))
    real = payment_repository.page

    def newest(work: Work, **options: Any) -> Any:
        return real(work, limit=1) if "reference" in options else real(work, **options)

    monkeypatch.setattr(payment_repository, "page", newest)
    service.cancel(hub.store, first.order_id, reason="r", actor="otto")
    hub.go_on(first)

    with pytest.raises(AssertionError):
        assert_only_the_second_is_charged(providers)


def test_a_mail_before_the_point_of_no_return_is_found(world: World) -> None:
    hub, _ = world
    hub.flows = {name: _mail_first(flow) for name, flow in hub.flows.items()}
    placed = hub.place(method="pm_card_visa")
    hub.advance(placed, before=Name.CAPTURE_PAYMENT)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")

    with pytest.raises(AssertionError):
        assert_all_is_undone(world, hub.go_on(placed))


def _mail_first(flow: FixedFlow) -> FixedFlow:
    mail = next(step for step in flow.steps if step.name == Name.SEND_CONFIRMATION)
    others = [step for step in flow.steps if step is not mail]
    pivot = next(number for number, step in enumerate(others) if step.kind is StepKind.PIVOT)
    early = replace(mail, kind=StepKind.COMPENSATABLE)
    return replace(flow, steps=(*others[:pivot], early, *others[pivot:]))


def test_an_unknown_outcome_that_is_taken_for_a_failure_is_found(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is undone without its capture, which took the money."""
    hub, _ = world
    real = engine._outcome

    def hasty(ended: Ended) -> Any:
        return real(Failed(ended.message) if isinstance(ended, Unknown) else ended)

    monkeypatch.setattr(engine, "_outcome", hasty)
    hub.flows = {name: _believing(flow) for name, flow in hub.flows.items()}
    placed = lost_answer(world, Name.CAPTURE_PAYMENT)
    hub.advance(placed)
    service.cancel(hub.store, placed.order_id, reason="r", actor="otto")
    hub.skip_waits()

    with pytest.raises(AssertionError):
        assert_all_is_undone(world, hub.go_on(placed, turns=20))


def _believing(flow: FixedFlow) -> FixedFlow:
    """The flow with undos that believe what the act recorded, instead of asking what is there."""
    return replace(flow, steps=tuple(replace(step, undo_resolves=False) for step in flow.steps))
