"""Payments: authorise, finish, capture, void and refund; list them; and say what became of calls whose outcome nobody knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, Literal, Self

from fastapi import Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from crossdock.api.access import guard
from crossdock.api.actions import Clients
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, Keep, OneEffect
from crossdock.api.pagination import Limit, cursor_at, cursor_like, position_of
from crossdock.api.problems import Problem, ProblemDocument, incomplete
from crossdock.api.routing import Router
from crossdock.api.selection import Id, WithReason, not_there
from crossdock.api.validation import CURRENCY, PAYMENT_ID, REFERENCE, WHOLE
from crossdock.commerce.payments import repository, service
from crossdock.commerce.payments.amounts import PaymentState, amounts_of
from crossdock.commerce.payments.books import Account, Posting, sums_of
from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.commerce.payments.health import GatewayHealth
from crossdock.commerce.payments.model import ANY_GATEWAY, Leg, Operation, Payment, PaymentRequest
from crossdock.commerce.payments.service import Payments, Request
from crossdock.core.money import CURRENCIES
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store, Work
from crossdock.integrations.actions import service as actions
from crossdock.integrations.actions.model import RefusedBy
from crossdock.integrations.actions.service import OnDone
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.attempts.service import OnBegin
from crossdock.integrations.model import INTEGRATION_ID

router = Router(tags=["payments"])

_NONE = not_there("payment")
_RETRY_IN_S = 5
_ENDED_OTHERWISE: dict[int | str, dict[str, Any]] = {
    502: {
        "model": ProblemDocument,
        "description": "It is unknown whether the gateway did it. Send the request again with the same key.",
    },
    503: {"model": ProblemDocument, "description": "No gateway took it. Send it again later, with the same key."},
}

PaymentId = Annotated[str, Path(pattern=PAYMENT_ID, description="The hub's ID of the payment.")]
#: As the contract of payment gateways has them: commerce/payments/gateway.json.
Reference = Annotated[str, Field(pattern=REFERENCE, examples=["order-4711"])]
AmountMinor = Annotated[
    StrictInt,
    Field(ge=1, le=999_999_999_999, description="In minor units of the currency by ISO 4217: cents, or whole yen."),
    WHOLE,
]
Token = Annotated[str, Field(pattern=r"^[!-~]{1,255}$")]
Currency = Annotated[str, Field(pattern=CURRENCY, description="ISO 4217.", examples=["EUR"])]
#: Without a user and a password: everybody on the customer's way would see them.
ReturnUrl = Annotated[
    str,
    Field(
        pattern=r"""^https?://[!-"$-.0->A-\[\]-~]{1,255}([/?#][!-~]{0,749})?$""",
        description="Where the customer comes back to after an action; without a user and a password.",
        examples=["https://shop.example.com/checkout"],
    ),
]
Gateway = Annotated[str, Field(pattern=INTEGRATION_ID)]

DetailName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,63}$")]
DetailText = Annotated[str, Field(max_length=20_000)]

Operator = Annotated[Caller, guard(Role.OPERATOR)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class AuthoriseRequest(_Body):
    """A payment to authorise. No card data: a payment method is a token of a gateway."""

    reference: Reference = Field(description="Your own, unique: the gateway shows it beside the payment.")
    amount_minor: AmountMinor
    currency: Currency
    payment_method: Token | None = Field(None, description="The token of the payment method, for every gateway.")
    payment_methods: dict[Gateway, Token] = Field(
        default_factory=dict,
        max_length=20,
        json_schema_extra={"additionalProperties": False},
        description="Tokens by gateway, where each has its own: a token is of one vault.",
    )
    customer_reference: Reference | None = Field(None, description="The customer's ID in the shop; never a name.")
    return_url: ReturnUrl | None = None

    def request(self) -> PaymentRequest:
        """
        Translate the body.

        Raises:
            Problem: 422, it names no payment method, or a currency that does not exist: no gateway would ever take it.

        """
        if self.currency not in CURRENCIES:
            raise incomplete("/currency", "is no currency of ISO 4217")
        methods = {**({ANY_GATEWAY: self.payment_method} if self.payment_method else {}), **self.payment_methods}
        if not methods:
            raise incomplete("/payment_method", "give it, or `payment_methods` by gateway")
        return PaymentRequest(
            reference=self.reference,
            amount_minor=self.amount_minor,
            currency=self.currency,
            payment_methods=methods,
            customer_reference=self.customer_reference,
            return_url=self.return_url,
        )


class DetailsRequest(_Body):
    """What the customer brought back from an action. It is passed on, and not stored."""

    details: Annotated[dict[DetailName, DetailText], Field(max_length=10)] = Field(
        default_factory=dict,
        json_schema_extra={"additionalProperties": False},
        description="By the gateway's names, such as `redirectResult` of Adyen; empty where the gateway knows by itself.",
    )


class _OfOne(_Body):
    gateway: Gateway | None = Field(
        None, description="At which gateway, if a payment was authorised at several; absent for the first one."
    )


class PartRequest(_OfOne):
    """How much of a payment."""

    amount_minor: AmountMinor | None = Field(None, description="Absent for all that is left.")


class VoidRequest(_OfOne):
    """What is authorised and not captured is released as a whole."""


class FoundOutRequest(WithReason):
    """What a person saw at the gateway, and how."""

    outcome: Literal[Outcome.DONE, Outcome.REFUSED, Outcome.FAILED] = Field(
        description="done: the effect is there. refused: the gateway decided against it. failed: it had no effect."
    )
    ref: Token | None = Field(None, description="The gateway's reference of what was done; needed for `done`.")


class LegDocument(BaseModel):
    """One operation at one gateway."""

    leg_id: int
    operation: Operation
    gateway: str
    key: str = Field(description="Names the effect, also in the attempt log: every repetition is the same one.")
    reference: str = Field(description="What the gateway shows beside it.")
    amount_minor: int | None
    outcome: Outcome
    refused_by: RefusedBy | None = Field(description="declined: the gateway decided. ours: our request or account.")
    code: str | None = Field(description="The gateway's own word for its decision; input_refused: it was not called.")
    message: str | None
    payment_ref: str | None = Field(description="The gateway's reference of the payment.")
    operation_ref: str | None = Field(description="The gateway's reference of this operation.")
    next_action_url: str | None = Field(description="Where the customer has to act.")
    calls: int
    began_at: datetime
    called_at: datetime = Field(description="When it was called last.")
    first_failed_at: datetime | None
    answered_at: datetime | None


class FactDocument(BaseModel):
    """What a gateway said happened."""

    gateway: str
    payment_ref: str
    operation_ref: str
    kind: FactKind
    occurred_at: datetime
    amount_minor: int | None
    currency: str | None
    reference: str | None
    code: str | None
    due_at: datetime | None = Field(description="Until when a dispute can be answered, if the gateway says it.")


class AmountsDocument(BaseModel):
    """Amounts in minor units, from all facts."""

    authorised_minor: int
    captured_minor: int
    refunded_minor: int
    charged_back_minor: int
    capturable_minor: int = Field(description="What can still be captured.")
    refundable_minor: int = Field(description="What can still be refunded.")


class BalanceDocument(BaseModel):
    """What an account holds. A debit is positive, a credit negative."""

    account: Account
    gateway: str
    amount_minor: int


class PostingDocument(BalanceDocument):
    """One line of an entry. The lines of an entry add up to zero."""

    entry_id: int
    posted_at: datetime


class BooksDocument(BaseModel):
    """The books of one payment: double-entry, from all that its gateways said, whatever order it came in."""

    payment_id: str
    currency: str
    balances: list[BalanceDocument] = Field(description="They add up to zero.")
    postings: list[PostingDocument] = Field(description="In the order in which they were made.")

    @classmethod
    def of(cls, payment: Payment, postings: Sequence[Posting]) -> Self:
        held = sums_of(postings)
        return cls(
            payment_id=payment.payment_id,
            currency=payment.currency,
            balances=[
                BalanceDocument(account=account, gateway=gateway, amount_minor=held[account, gateway])
                for account, gateway in sorted(held)
            ],
            postings=[PostingDocument.model_validate(line, from_attributes=True) for line in postings],
        )


class PaymentSummary(BaseModel):
    """A payment as a list shows it. The token of the payment method is not shown."""

    payment_id: str
    reference: str
    amount_minor: int
    currency: str
    customer_reference: str | None
    state: PaymentState
    is_unresolved: bool = Field(description="A gateway was asked for something, and nobody knows what became of it.")
    live_authorisations: int = Field(
        description="Authorisations that hold money or have taken it. Of more than one, all but one are to be voided."
    )
    dispute_until: datetime | None = Field(
        description="Until when an open dispute can be answered; null if none is open."
    )
    created_at: datetime
    created_by: str
    changed_at: datetime


class PaymentDocument(PaymentSummary):
    """A payment with all that is known of it."""

    next_action_url: str | None = Field(description="Where the customer has to act now.")
    amounts: AmountsDocument
    legs: list[LegDocument]
    facts: list[FactDocument] = Field(description="Every transaction is kept.")
    books: BooksDocument


class PaymentsPage(BaseModel):
    payments: list[PaymentSummary]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class UnmatchedFactDocument(FactDocument):
    fact_id: int


class UnmatchedFactsPage(BaseModel):
    facts: list[UnmatchedFactDocument]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class GatewayDocument(BaseModel):
    """How a gateway answered its last calls. A decline is an answer."""

    gateway: str
    calls: int = Field(description="The last ones, at most 50.")
    success_rate: float = Field(description="The share of them that was answered.")
    latency_ms: float | None = Field(description="The median of the answered ones.")
    in_trouble: bool = Field(description="Its last call failed, or its outcome is unknown.")
    idle_s: float | None = Field(description="Since its last call began.")


class GatewaysDocument(BaseModel):
    gateways: list[GatewayDocument] = Field(description="In the order in which they are asked now.")


async def open_payments(store: OpenStore, clients: Clients) -> Callable[[Caller], Payments]:
    """Perform the gateways' actions as the caller."""

    def as_caller(caller: Caller) -> Payments:
        def perform(
            integration: str,
            action: str,
            given: Mapping[str, Any],
            key: str,
            on_begin: OnBegin,
            *,
            on_done: OnDone | None = None,
        ) -> Any:
            return actions.perform(
                store,
                clients,
                integration,
                action,
                given,
                key=key,
                actor=caller.actor,
                on_begin=on_begin,
                on_done=on_done,
                asks_person=False,  # its payment asks
            )

        return Payments(store, perform)

    return as_caller


PaymentsOf = Annotated[Callable[[Caller], Payments], Depends(open_payments)]


@router.post(
    "/payments",
    status_code=201,
    summary="Authorise a payment",
    response_model=PaymentDocument,
    responses=KEYED | _ENDED_OTHERWISE,
)
def authorise_payment(
    body: AuthoriseRequest,
    caller: Annotated[Caller, guard(Role.USER)],
    store: OpenStore,
    payments: PaymentsOf,
    request: OneEffect,
) -> Response:
    """
    Have a gateway authorise it; if it cannot be asked, the next one. A declined payment is an answer, too.

    The same reference is the same payment, whatever the key: a payment that no gateway took is tried again.
    """

    def effect(keep: Keep) -> None:
        payment = service.authorise(payments(caller), body.request(), actor=caller.actor)
        with store.transaction() as work:
            _refuse_unfinished(payment, repository.legs_of(work, payment.payment_id))
        with store.transaction() as work:
            keep(work, _document(work, payment))

    return request.once_outside(effect)


@router.get("/payments", summary="List payments, newest first", dependencies=[guard(Role.VIEWER)])
def list_payments(
    store: OpenStore,
    state: PaymentState | None = None,
    unresolved: Annotated[bool, Query(description="Only those with a call whose outcome nobody knows.")] = False,
    reference: Annotated[str | None, Query(pattern=REFERENCE)] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-pay_[0-9a-f]{32}$")] = None,
    limit: Limit = 100,
) -> PaymentsPage:
    before = position_of(cursor) if cursor else None
    page, has_more = service.page(
        store, state=state, unresolved=unresolved, reference=reference, before=before, limit=limit
    )
    return PaymentsPage(
        payments=[PaymentSummary.model_validate(payment, from_attributes=True) for payment in page],
        next_cursor=cursor_at(page[-1].created_at, page[-1].payment_id) if has_more else None,
    )


@router.get("/payments/{payment_id}", summary="Get a payment", dependencies=[guard(Role.VIEWER)], responses=_NONE)
def show_payment(payment_id: PaymentId, store: OpenStore) -> PaymentDocument:
    with store.transaction() as work:
        return _document(work, repository.get(work, payment_id))


@router.post(
    "/payments/{payment_id}/details",
    summary="Finish an authorisation after the customer has acted",
    response_model=PaymentDocument,
    responses=_NONE | KEYED | _ENDED_OTHERWISE,
)
def finish_payment(
    payment_id: PaymentId,
    body: DetailsRequest,
    caller: Annotated[Caller, guard(Role.USER)],
    payments: PaymentsOf,
    request: OneEffect,
) -> Response:
    """
    Pass on what the customer brought back, and answer with what came of it. A customer who failed is refused (422).

    A payment that waits for no customer is a conflict (409), and no gateway is asked.
    """
    asked = Request(payment_id, request.effect_key, caller.actor, details=body.details)
    return _once(request, payments(caller), partial(service.finish, request=asked))


@router.post(
    "/payments/{payment_id}/captures",
    summary="Capture a payment, or a part of it",
    response_model=PaymentDocument,
    responses=_NONE | KEYED | _ENDED_OTHERWISE,
)
def capture_payment(
    payment_id: PaymentId, body: PartRequest, caller: Operator, payments: PaymentsOf, request: OneEffect
) -> Response:
    """Take what is authorised. More than is left is refused (409) before any gateway is asked."""
    asked = Request(payment_id, request.effect_key, caller.actor, body.amount_minor, body.gateway)
    return _once(request, payments(caller), partial(service.capture, request=asked))


@router.post(
    "/payments/{payment_id}/voids",
    summary="Void a payment",
    response_model=PaymentDocument,
    responses=_NONE | KEYED | _ENDED_OTHERWISE,
)
def void_payment(
    payment_id: PaymentId,
    body: VoidRequest,
    caller: Operator,
    payments: PaymentsOf,
    request: OneEffect,
) -> Response:
    """Release what is authorised and not captured."""
    asked = Request(payment_id, request.effect_key, caller.actor, gateway=body.gateway)
    return _once(request, payments(caller), partial(service.void, request=asked))


@router.post(
    "/payments/{payment_id}/refunds",
    summary="Refund a payment, or a part of it",
    response_model=PaymentDocument,
    responses=_NONE | KEYED | _ENDED_OTHERWISE,
)
def refund_payment(
    payment_id: PaymentId, body: PartRequest, caller: Operator, payments: PaymentsOf, request: OneEffect
) -> Response:
    """Refund what is captured. More than is left is refused (409) before any gateway is asked."""
    asked = Request(payment_id, request.effect_key, caller.actor, body.amount_minor, body.gateway)
    return _once(request, payments(caller), partial(service.refund, request=asked))


@router.post(
    "/payments/{payment_id}/resolve",
    summary="Find out what became of a payment",
    response_model=PaymentDocument,
    responses=_NONE | KEYED | _ENDED_OTHERWISE,
)
def resolve_payment(
    payment_id: PaymentId, caller: Operator, store: OpenStore, payments: PaymentsOf, request: OneEffect
) -> Response:
    """Repeat each call whose outcome is unknown with its key, and read the payment from the gateway. No other is asked."""

    def effect(keep: Keep) -> None:
        payment = service.resolve(payments(caller), payment_id)
        if payment.is_unresolved:
            raise _unknown(payment, _why_unresolved(store, payment))
        with store.transaction() as work:
            keep(work, _document(work, payment))

    return request.once_outside(effect)


@router.post(
    "/payments/{payment_id}/legs/{leg_id}/resolve",
    summary="Say what became of a call of a payment",
    response_model=PaymentDocument,
    responses=_NONE | KEYED,
)
def resolve_leg(
    payment_id: PaymentId,
    leg_id: Id,
    body: FoundOutRequest,
    caller: Operator,
    store: OpenStore,
    request: OneEffect,
) -> Response:
    """Record what somebody saw at the gateway itself. After `failed`, another gateway may be asked."""
    if body.outcome is Outcome.DONE and body.ref is None:
        raise incomplete("/ref", "give the gateway's reference of what was done")

    def effect(keep: Keep) -> None:
        payment = service.resolve_by_person(
            store, payment_id, leg_id, body.outcome, ref=body.ref, reason=body.reason, actor=caller.actor
        )
        with store.transaction() as work:
            keep(work, _document(work, payment))

    return request.once_outside(effect)


@router.get("/payment-gateways", summary="List payment gateways with their health", dependencies=[guard(Role.VIEWER)])
def list_gateways(store: OpenStore) -> GatewaysDocument:
    return GatewaysDocument(gateways=[_gateway(health) for health in service.gateways_by_health(store)])


@router.get(
    "/payment-facts",
    summary="List facts of payments that the hub does not know, oldest first",
    dependencies=[guard(Role.VIEWER)],
)
def list_unmatched_facts(
    store: OpenStore, cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,18}$")] = None, limit: Limit = 100
) -> UnmatchedFactsPage:
    """List what gateways said of payments that were not authorised through the hub: by another shop, or in their dashboard."""
    page, has_more = service.unmatched_facts(store, after=int(cursor or 0), limit=limit)
    return UnmatchedFactsPage(
        facts=[UnmatchedFactDocument(fact_id=each.fact_id, **_fields(each.fact)) for each in page],
        next_cursor=str(page[-1].fact_id) if has_more else None,
    )


def _once(request: OneEffect, payments: Payments, operate: Callable[[Payments], Leg]) -> Response:
    """Carry out an operation on a payment once, and answer with the payment."""

    def effect(keep: Keep) -> None:
        leg = operate(payments)
        _refuse_not_done(leg)
        with payments.store.transaction() as work:
            keep(work, _document(work, repository.get(work, leg.payment_id)))

    return request.once_outside(effect)


def _refuse_unfinished(payment: Payment, legs: Sequence[Leg]) -> None:
    match payment.state:
        case PaymentState.OPEN | PaymentState.UNKNOWN:
            raise _unknown(payment, "The gateway did not say whether it authorised it")
        case PaymentState.FAILED if all(leg.is_invalid for leg in legs):
            said = "; ".join(f"{leg.gateway}: {leg.message}" for leg in legs)
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "refused-by-system",
                f"No gateway takes a payment like {payment.payment_id}. {said}",
                payment_id=payment.payment_id,
            )
        case PaymentState.FAILED:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                f"No gateway took payment {payment.payment_id}. Send the request again later",
                headers={"Retry-After": str(_RETRY_IN_S)},
                payment_id=payment.payment_id,
            )


def _why_unresolved(store: Store, payment: Payment) -> str:
    """Say of each call without an outcome why it has none: its gateway did not answer, or could not be asked."""
    with store.question() as work:
        waiting = [leg for leg in repository.legs_of(work, payment.payment_id) if leg.is_unresolved]
    causes = dict.fromkeys(leg.message.rstrip(".") for leg in waiting if leg.message)
    return "; ".join(causes) or "The gateway did not say what became of it"


def _unknown(payment: Payment, what: str) -> Problem:
    return Problem(
        HTTPStatus.BAD_GATEWAY,
        "outcome-unknown",
        f"Payment {payment.payment_id}: {what}. Send the request again with the same key to find out; no other gateway is asked",
        payment_id=payment.payment_id,
    )


def _refuse_not_done(leg: Leg) -> None:
    members: dict[str, Any] = {"payment_id": leg.payment_id, "leg_id": leg.leg_id}
    text = leg.message or f"The {leg.operation} is {leg.outcome}"
    match leg.outcome:
        case Outcome.REFUSED:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "refused-by-system",
                text,
                refused_by=leg.refused_by,
                code=leg.code,
                **members,
            )
        case Outcome.FAILED:
            headers = {"Retry-After": str(_RETRY_IN_S)}
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", text, headers=headers, **members)
        case Outcome.OPEN | Outcome.UNKNOWN:
            raise Problem(HTTPStatus.BAD_GATEWAY, "outcome-unknown", text, **members)


def _document(work: Work, payment: Payment) -> PaymentDocument:
    legs, facts = repository.legs_of(work, payment.payment_id), repository.facts_of(work, payment.payment_id)
    urls = [leg.next_action_url for leg in legs if leg.next_action_url]
    return PaymentDocument(
        **PaymentSummary.model_validate(payment, from_attributes=True).model_dump(),
        next_action_url=urls[-1] if urls and payment.state is PaymentState.REQUIRES_ACTION else None,
        amounts=AmountsDocument.model_validate(amounts_of(facts, payment.currency), from_attributes=True),
        legs=[LegDocument.model_validate(leg, from_attributes=True) for leg in legs],
        facts=[FactDocument(**_fields(fact)) for fact in facts],
        books=BooksDocument.of(payment, repository.postings_of(work, payment.payment_id)),
    )


def _fields(fact: PaymentFact) -> dict[str, Any]:
    return {name: getattr(fact, name) for name in FactDocument.model_fields}


def _gateway(health: GatewayHealth) -> GatewayDocument:
    return GatewayDocument.model_validate(health, from_attributes=True)
