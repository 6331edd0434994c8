"""Orders: place one, see how far it is, cancel it, and decide about a step that nobody knows the outcome of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Path, Query, Response
from pydantic import BaseModel, Field, StrictInt

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_at, cursor_like, position_of
from crossdock.api.payments import BooksDocument, Currency, Gateway, ReturnUrl, Token
from crossdock.api.problems import incomplete
from crossdock.api.routing import Router
from crossdock.api.selection import Strict, WithReason, not_there
from crossdock.api.validation import COUNTRY, ORDER_ID, REFERENCE, WHOLE
from crossdock.app.order_runs import run_id_of
from crossdock.app.orders import not_called, order_flows
from crossdock.app.personal_data import masked, reveal
from crossdock.commerce.orders import placed_repository, service, steps
from crossdock.commerce.orders.placement import Line, NewOrder, OrderState, PlacedOrder
from crossdock.commerce.payments import repository as payment_repository
from crossdock.commerce.payments.model import ANY_GATEWAY
from crossdock.core.money import CURRENCIES
from crossdock.core.roles import Caller, Role
from crossdock.core.settings import settings
from crossdock.db.database import Store, Work
from crossdock.integrations.model import INTEGRATION_ID
from crossdock.workflows import repository as executions
from crossdock.workflows import service as engine
from crossdock.workflows.model import Direction, Driver, ExecutionState, Flow, StepProgress, StepState

router = Router(tags=["orders"])

_NONE = not_there("order")
_PERSONAL = frozenset({"email", "customer_name", "reason_given"})

OrderId = Annotated[str, Path(pattern=ORDER_ID, description="The hub's ID of the order.")]
Reference = Annotated[str, Field(pattern=REFERENCE, examples=["web-10042"])]
CustomerReference = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{3,64}$", examples=["customer-77"])]
Sku = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$")]
Operator = Annotated[Caller, guard(Role.OPERATOR)]


class LineDocument(Strict):
    """Units of one SKU, at a price."""

    sku: Sku
    quantity: Annotated[StrictInt, Field(ge=1, le=1_000_000), WHOLE]
    price_minor: Annotated[
        StrictInt, Field(ge=0, le=999_999_999_999, description="Of one unit, in minor units."), WHOLE
    ]
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None


class OrderRequest(Strict):
    """An order to place. No card data: a payment method is a token of a gateway."""

    reference: Reference = Field(description="Your own, unique.")
    currency: Currency
    lines: Annotated[list[LineDocument], Field(min_length=1, max_length=500)]
    email: Annotated[str, Field(pattern=r"^[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,189}$")]
    customer_name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")] | None = None
    country: Annotated[str, Field(pattern=COUNTRY, description="ISO 3166 alpha-2: where it goes.")] | None = None
    customer_reference: CustomerReference | None = Field(
        None,
        description="The customer's ID in the shop, never a name. Adyen requires it: it stores payment methods by customer.",
    )
    payment_method: Token | None = Field(None, description="The token of the payment method, for every gateway.")
    payment_methods: dict[Gateway, Token] = Field(
        default_factory=dict,
        max_length=20,
        json_schema_extra={"additionalProperties": False},
        description="Tokens by gateway, where each has its own.",
    )
    return_url: ReturnUrl | None = None
    driver: Driver | None = Field(
        None,
        description="What drives it: `events`, or the DAG place_order (`dag`), with its next batch or in a run of its own. "
        "HUB_ORDER_DRIVER where it is left out.",
    )
    platform: (
        Annotated[
            str,
            Field(
                pattern=INTEGRATION_ID,
                description="The integration of the commerce platform that has the order, under the reference as its number: "
                "the hub writes back there how the order ends.",
                examples=["shop_eu"],
            ),
        ]
        | None
    ) = None

    def order(self) -> NewOrder:
        """
        Translate the body.

        Raises:
            Problem: 422, its lines cost nothing or more than is possible, it has no payment method, or its currency does not exist.

        """
        methods = {**({ANY_GATEWAY: self.payment_method} if self.payment_method else {}), **self.payment_methods}
        if not methods:
            raise incomplete("/payment_method", "give it, or `payment_methods` by gateway")
        if self.currency not in CURRENCIES:
            raise incomplete("/currency", "is no currency of ISO 4217")
        new = NewOrder(
            reference=self.reference,
            currency=self.currency,
            lines=tuple(Line(**line.model_dump()) for line in self.lines),
            email=self.email,
            customer_name=self.customer_name,
            country=self.country,
            payment_methods=methods,
            return_url=self.return_url,
            platform=self.platform,
            customer_reference=self.customer_reference,
        )
        if not 0 < new.total_minor <= _MOST_MINOR:
            raise incomplete("/lines", f"cost {new.total_minor} minor units together; expected 1 to {_MOST_MINOR}")
        return new


_MOST_MINOR = 999_999_999_999


class StepDocument(BaseModel):
    """How far a step is, or its undo."""

    step: str
    direction: Direction
    state: StepState
    tries: int
    message: str | None
    began_at: datetime
    ended_at: datetime | None
    next_at: datetime | None = Field(description="When it is tried again, or its call is over.")


class OrderSummary(BaseModel):
    order_id: str
    reference: str
    state: OrderState
    currency: str
    total_minor: int
    email: str | None = Field(description="Masked, except for operators in the route of one order.")
    customer_name: str | None = Field(description="Masked, except for operators in the route of one order.")
    reason: str | None = Field(description="Why it is cancelled; of a person, who had it cancelled.")
    created_at: datetime
    created_by: str
    changed_at: datetime


class OrderDocument(OrderSummary):
    """An order with its steps."""

    lines: list[LineDocument]
    country: str | None
    platform: str | None = Field(description="The commerce platform that has the order; null if none has it.")
    progress: ExecutionState
    reason_given: str | None = Field(
        description="Why a person had it cancelled, in their own words. Masked, except for operators in the route of one order."
    )
    driver: Driver = Field(description="An order that no run of the DAG takes for five minutes goes on by events.")
    dag_run_id: str | None = Field(
        description="The ID for a run of its own: POST /api/v2/dags/place_order/dagRuns with it, and the order_id in conf. "
        "Null where the order is driven by events."
    )
    dag_runs: list[str] = Field(description="The runs of the DAG place_order that have taken it, the first one first.")
    waits_for: str | None = Field(description="The step that a person has to decide about; null if nobody has to.")
    steps: list[StepDocument]
    books: BooksDocument | None = Field(description="Of its payment; null while none was asked for.")


class OrdersPage(BaseModel):
    orders: list[OrderSummary]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class RetryRequest(WithReason):
    """Why a step is tried again."""

    process_is_dead: bool = Field(
        False, description="Also a step whose call is open, because the process that made it was killed."
    )


class ResolveRequest(WithReason):
    """What a person found out about the step that an order waits for."""

    outcome: Literal[StepState.DONE, StepState.REFUSED, StepState.FAILED] = Field(
        description="done: it had its effect. refused: it was decided against. failed: it had none."
    )


@cache
def _flows() -> Mapping[str, Flow]:
    return order_flows(not_called)


@router.post("/orders", status_code=201, summary="Place an order", response_model=OrderDocument, responses=KEYED)
def place_order(
    body: OrderRequest, caller: Annotated[Caller, guard(Role.USER)], store: OpenStore, request: OneEffect
) -> Response:
    """
    Take an order: it and its event are committed together. What becomes of it is seen at `GET /orders/{order_id}`.

    The same reference is the same order, whatever the key.
    """
    sequence = steps.Sequence(settings().order_sequence)
    flow = _flows()[steps.flow_name(sequence, of_platform=body.platform is not None)]
    driver = body.driver or Driver(settings().order_driver)

    def effect() -> OrderDocument:
        with store.transaction() as work:
            order, _ = service.place(work, flow, body.order(), driver=driver, actor=caller.actor)
            return _masked_document(work, order)

    return request.once(effect, lambda document: {"Location": f"/hub/v1/orders/{document.order_id}"})


@router.get("/orders", summary="List orders, newest first", dependencies=[guard(Role.VIEWER)])
def list_orders(
    store: OpenStore,
    state: OrderState | None = None,
    reference: Annotated[str | None, Query(pattern=REFERENCE)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-ord_[0-9a-f]{32}$")] = None,
    limit: Limit = 100,
) -> OrdersPage:
    before = position_of(cursor) if cursor else None
    with store.transaction() as work:
        found = placed_repository.page(work, state=state, reference=reference, before=before, limit=limit + 1)
    page = found[:limit]
    return OrdersPage(
        orders=[OrderSummary(**masked(_fields(order, OrderSummary), _PERSONAL)) for order in page],
        next_cursor=cursor_at(page[-1].created_at, page[-1].order_id) if len(found) > limit else None,
    )


@router.get("/orders/{order_id}", summary="Get an order with its steps", responses=_NONE)
def show_order(order_id: OrderId, store: OpenStore, caller: Annotated[Caller, guard(Role.VIEWER)]) -> OrderDocument:
    """Who may see personal data sees the customer, and the audit trail has it."""
    with store.transaction() as work:
        document = _document(work, placed_repository.get(work, order_id))
    shown = document.model_dump()
    return document if reveal(store, caller, f"order/{order_id}", shown, _PERSONAL) else _without_person(document)


@router.post(
    "/orders/{order_id}/cancel", summary="Cancel an order", response_model=OrderDocument, responses=_NONE | KEYED
)
def cancel_order(
    order_id: OrderId, body: WithReason, caller: Operator, store: OpenStore, request: OneEffect
) -> Response:
    """Have all undone that was done for it, also when it is confirmed: stock is given back, money voided or refunded."""

    def effect() -> OrderDocument:
        service.cancel(store, order_id, reason=body.reason, actor=caller.actor)
        return _read_masked(store, order_id)

    return request.once(effect)


@router.post(
    "/orders/{order_id}/retry",
    summary="Retry the step that an order waits for",
    response_model=OrderDocument,
    responses=_NONE | KEYED,
)
def retry_order(
    order_id: OrderId, body: RetryRequest, caller: Operator, store: OpenStore, request: OneEffect
) -> Response:
    """Or one that waits for its time: it is tried now."""

    def effect() -> OrderDocument:
        engine.retry(
            store,
            _execution_id(store, order_id),
            reason=body.reason,
            actor=caller.actor,
            process_is_dead=body.process_is_dead,
        )
        return _read_masked(store, order_id)

    return request.once(effect)


@router.post(
    "/orders/{order_id}/resolve",
    summary="Say what became of the step that an order waits for",
    response_model=OrderDocument,
    responses=_NONE | KEYED,
)
def resolve_order(
    order_id: OrderId, body: ResolveRequest, caller: Operator, store: OpenStore, request: OneEffect
) -> Response:
    """Only after somebody has looked it up in the other system."""

    def effect() -> OrderDocument:
        execution_id = _execution_id(store, order_id)
        engine.resolve(store, execution_id, body.outcome, reason=body.reason, actor=caller.actor)
        return _read_masked(store, order_id)

    return request.once(effect)


def _execution_id(store: Store, order_id: str) -> str:
    with store.transaction() as work:
        return service.execution_of(work, order_id).execution_id


def _read_masked(store: Store, order_id: str) -> OrderDocument:
    with store.transaction() as work:
        return _masked_document(work, placed_repository.get(work, order_id))


def _masked_document(work: Work, order: PlacedOrder) -> OrderDocument:
    return _without_person(_document(work, order))


def _without_person(document: OrderDocument) -> OrderDocument:
    return OrderDocument(**masked(document.model_dump(), _PERSONAL))


def _document(work: Work, order: PlacedOrder) -> OrderDocument:
    execution = service.execution_of(work, order.order_id)
    return OrderDocument(
        **_fields(order, OrderSummary),
        lines=[LineDocument(**msgspec.structs.asdict(line)) for line in order.lines],
        country=order.country,
        platform=order.platform,
        progress=execution.state,
        reason_given=engine.words_of_cancellation(work, execution),
        driver=execution.driver,
        dag_run_id=run_id_of(order.order_id) if execution.driver is Driver.DAG else None,
        dag_runs=executions.runs_of(work, execution.execution_id),
        waits_for=execution.waits_for,
        steps=[_step(row) for row in executions.steps_of(work, execution.execution_id)],
        books=_books(work, order.order_id),
    )


def _books(work: Work, order_id: str) -> BooksDocument | None:
    """Read the books of the one payment that has the order for its reference."""
    found = payment_repository.page(work, reference=order_id, limit=1)
    return BooksDocument.of(found[0], payment_repository.postings_of(work, found[0].payment_id)) if found else None


def _step(row: StepProgress) -> StepDocument:
    return StepDocument.model_validate(row, from_attributes=True)


def _fields(order: PlacedOrder, model: type[BaseModel]) -> dict[str, Any]:
    return {name: getattr(order, name) for name in model.model_fields}
