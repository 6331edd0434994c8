"""Orders: the list, and the journey of one in time order with its money and its stock; cancel, retry, settle."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import PLAIN, OpenStore, Router, cursor_at, cursor_like, position_of
from crossdock.app import journeys, personal_data, shown_journeys
from crossdock.app.journeys import Subject
from crossdock.commerce.inventory import warehouse_repository
from crossdock.commerce.orders import placed_repository, service
from crossdock.commerce.orders.placement import OrderState, PlacedOrder
from crossdock.commerce.payments.books import sums_of
from crossdock.core.money import currency_exponent, decimal_text
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.web.filters import Filter
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show
from crossdock.workflows import service as engine
from crossdock.workflows.model import ENDED, StepState

router = Router()

OrderId = Annotated[str, Path(pattern=r"^ord_[0-9a-f]{32}$")]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
_ON_A_PAGE = 50
_ENTRIES = 200
_PERSONAL = frozenset({"email", "customer_name"})


@router.get("/orders")
def list_orders(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    state: Annotated[str | None, Query(pattern=rf"^({'|'.join(OrderState)})?$")] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-ord_[0-9a-f]{32}$")] = None,
) -> HTMLResponse:
    before = position_of(cursor) if cursor else None
    with store.transaction() as work:
        of_state = OrderState(state) if state else None
        found = placed_repository.page(work, state=of_state, before=before, limit=_ON_A_PAGE + 1)
    page = found[:_ON_A_PAGE]
    return show(
        request,
        caller,
        "orders.html",
        orders=[_masked(order) for order in page],
        states=list(OrderState),
        state=state or None,
        money=money_text,
        cursor=cursor,
        next_cursor=cursor_at(page[-1].created_at, page[-1].order_id) if len(found) > _ON_A_PAGE else None,
    )


@router.get("/order-search")
def search(request: Request, _caller: Viewer, key: Filter = None) -> RedirectResponse:
    """Open the journey of an order by its ID, reference or number."""
    return go_to(request, "orders", key.strip()) if key and key.strip() else go_to(request, "orders")


@router.get("/orders/{key:path}")
def order(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    key: Annotated[str, Path(max_length=200, pattern=PLAIN)],
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-[a-z][A-Za-z0-9_:.-]{0,150}$")] = None,
) -> HTMLResponse:
    """Show all that happened. Personal data is shown to operators only, and recorded in the audit trail."""
    after = position_of(cursor) if cursor else None
    found = journeys.read(store, Subject.ORDER, key, after=after, limit=_ENTRIES)
    placed = execution = None
    if found.order_id:
        with store.transaction() as work:
            placed = placed_repository.get(work, found.order_id)
            execution = service.execution_of(work, found.order_id)
    is_shown = shown_journeys.reveal(store, caller, found, order=_customer_of(placed) if placed else None)
    last = found.entries[-1] if found.has_more else None
    return show(
        request,
        caller,
        "order.html",
        key=key,
        journey=found,
        entries=[shown_journeys.shown(found, entry, is_revealed=is_shown) for entry in found.entries],
        name_of=warehouse_repository.name_of,
        in_a_line=shown_journeys.in_a_line,
        balances_of=lambda each: sorted(sums_of(each.postings).items()),
        order=placed if placed is None or is_shown else _masked(placed),
        execution=execution,
        is_ended=execution is not None and execution.state in ENDED,
        money=money_text,
        outcomes=[StepState.DONE, StepState.REFUSED, StepState.FAILED],
        cursor=cursor,
        next_cursor=cursor_at(last.at, last.sort) if last else None,
    )


@router.post("/orders/{order_id}/cancel")
def cancel(request: Request, store: OpenStore, caller: Operator, order_id: OrderId, form: Posted) -> RedirectResponse:
    """Have all undone that was done for it, also when it is confirmed."""
    service.cancel(store, order_id, reason=form.reason(), actor=caller.actor)
    return go_to(request, "orders", order_id)


@router.post("/orders/{order_id}/retry")
def retry(request: Request, store: OpenStore, caller: Operator, order_id: OrderId, form: Posted) -> RedirectResponse:
    """Try the step again that it waits for, or that waits for its time."""
    engine.retry(store, _execution_id(store, order_id), reason=form.reason(), actor=caller.actor)
    return go_to(request, "orders", order_id)


@router.post("/orders/{order_id}/resolve")
def resolve(request: Request, store: OpenStore, caller: Operator, order_id: OrderId, form: Posted) -> RedirectResponse:
    """Say what became of the step that it waits for, after a look into the other system."""
    outcome = next((state for state in StepState if state == form.text("outcome")), StepState.OPEN)
    engine.resolve(store, _execution_id(store, order_id), outcome, reason=form.reason(), actor=caller.actor)
    return go_to(request, "orders", order_id)


def money_text(amount_minor: int, currency: str) -> str:
    """Write an amount for people: `12.50 EUR`."""
    return f"{decimal_text(amount_minor, currency_exponent(currency))} {currency}"


def _masked(placed: PlacedOrder) -> PlacedOrder:
    shown: dict[str, Any] = personal_data.masked(_customer_of(placed), _PERSONAL)
    return msgspec.structs.replace(placed, **shown)


def _customer_of(placed: PlacedOrder) -> dict[str, Any]:
    return {name: getattr(placed, name) for name in _PERSONAL}


def _execution_id(store: Store, order_id: str) -> str:
    with store.transaction() as work:
        return service.execution_of(work, order_id).execution_id
