"""Journeys: all that happened to one order, SKU or customer, in time order."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.pagination import Limit, cursor_at, cursor_like, position_of
from crossdock.api.payments import AmountsDocument, BooksDocument
from crossdock.api.problems import ProblemDocument
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN, QueryTimestamp
from crossdock.app import journeys, shown_journeys
from crossdock.app.journey_repository import Entry
from crossdock.app.journeys import Journey, Money, Subject
from crossdock.app.personal_data import MASK
from crossdock.commerce.inventory.reservation_repository import Hold, HoldState
from crossdock.commerce.inventory.warehouse_repository import name_of
from crossdock.commerce.payments.amounts import PaymentState
from crossdock.core.roles import Caller, Role
from crossdock.integrations.model import INTEGRATION_ID

router = Router(tags=["journeys"])


class EntryDocument(BaseModel):
    """One thing that happened."""

    at: datetime
    after_s: float = Field(description="Seconds since `began_at`.")
    ended_at: datetime | None
    kind: str = Field(
        description="order, event, step, undo, mapping (what a step hands on), call (of a gateway), fact (what a gateway said), "
        "posting (of the books), stock, mail, act (of a person), record (a version of it came), run, quarantine.",
        examples=["step"],
    )
    name: str = Field(examples=["authorise_payment"])
    state: str | None
    tries: int | None = Field(description="Which try of a step, or how many calls.")
    message: str | None
    ref: str | None = Field(
        description="The ID by which to look it up: of an event, run, payment, mail, quarantine item."
    )
    text: str = Field(description="The message, the amounts and the reason in a line, for people.")
    detail: dict[str, Any] = Field(description="Personal data is masked, except for operators.")


class PaymentOfOrder(BaseModel):
    payment_id: str
    state: PaymentState
    currency: str
    amounts: AmountsDocument
    books: BooksDocument


class HoldOfOrder(BaseModel):
    sku: str
    warehouse_id: str = Field(description="As in `/warehouses`.")
    quantity: int
    state: HoldState
    expires_at: datetime | None


class JourneyDocument(BaseModel):
    """A page of a journey."""

    subject: Subject
    key: str = Field(description="The key that was asked for; masked if it is a customer's, except for operators.")
    order_id: str | None = Field(description="Of an order that was placed at the hub.")
    began_at: datetime = Field(description="When the order was placed; otherwise the first entry of this page.")
    entries: list[EntryDocument] = Field(description="In time order.")
    money: list[PaymentOfOrder] = Field(description="Of an order: its payments, from all that gateways said.")
    stock: list[HoldOfOrder] = Field(description="Of an order: what is held for it, sold to it, or was released.")
    platforms: list[str] = Field(
        description="The integrations that have an order of this number, if the key may mean several and `platform` was not given. "
        "Of an order that was placed at the hub, the journey is that of its own platform or, without one, of none; otherwise of all of "
        "them."
    )
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


@router.get(
    "/journeys/{subject}/{key:path}",
    summary="Get all that happened to an order, a SKU, a customer or an execution",
    responses={404: {"model": ProblemDocument, "description": "The hub has nothing of it; `detail` says what to try."}},
)
def show_journey(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.VIEWER)],
    subject: Annotated[
        Literal[Subject.ORDER, Subject.SKU, Subject.CUSTOMER, Subject.EXECUTION],
        Path(description="What the key is of."),
    ],
    key: Annotated[
        str,
        Path(
            min_length=1,
            max_length=512,
            pattern=PLAIN,
            description="An order's ID, reference or number; a SKU; a customer's e-mail address or ID; an execution's ID.",
        ),
    ],
    platform: Annotated[
        str | None,
        Query(
            pattern=INTEGRATION_ID,
            description="Only what this integration says, where the key is that of several, such as an order number of two shops. "
            "By default, of an order that was placed at the hub, the platform that has it.",
        ),
    ] = None,
    since: Annotated[
        QueryTimestamp | None,
        Query(description="From this time on. By default from the order's beginning, or of the last 30 days."),
    ] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-[a-z][A-Za-z0-9_:.-]{0,150}$")] = None,
    limit: Limit = 100,
) -> JourneyDocument:
    """Events, steps, calls, facts, stock, mails, runs, what people did: nothing has to be switched on before."""
    after = position_of(cursor) if cursor else None
    found = journeys.read(store, subject, key, platform=platform, since=since, after=after, limit=limit)
    is_shown = shown_journeys.reveal(store, caller, found)
    last = found.entries[-1] if found.has_more else None
    return JourneyDocument(
        subject=subject,
        key=MASK if subject is Subject.CUSTOMER and not is_shown else key,
        order_id=found.order_id,
        began_at=found.began_at,
        entries=[_entry(found, entry, is_shown=is_shown) for entry in found.entries],
        money=[_payment(money) for money in found.money],
        stock=[_hold(hold) for hold in found.stock],
        platforms=list(found.platforms),
        next_cursor=cursor_at(last.at, last.sort) if last else None,
    )


def _entry(found: Journey, entry: Entry, *, is_shown: bool) -> EntryDocument:
    entry = shown_journeys.shown(found, entry, is_revealed=is_shown)
    return EntryDocument(
        at=entry.at,
        after_s=round((entry.at - found.began_at).total_seconds(), 3),
        ended_at=entry.ended_at,
        kind=entry.kind,
        name=entry.name,
        state=entry.state,
        tries=entry.tries,
        message=entry.message,
        ref=entry.ref,
        text=shown_journeys.in_a_line(entry),
        detail=entry.detail,
    )


def _payment(money: Money) -> PaymentOfOrder:
    return PaymentOfOrder(
        payment_id=money.payment.payment_id,
        state=money.payment.state,
        currency=money.payment.currency,
        amounts=AmountsDocument.model_validate(money.amounts, from_attributes=True),
        books=BooksDocument.of(money.payment, money.postings),
    )


def _hold(hold: Hold) -> HoldOfOrder:
    return HoldOfOrder(
        sku=hold.sku,
        warehouse_id=name_of(hold.warehouse_id),
        quantity=hold.quantity,
        state=hold.state,
        expires_at=hold.expires_at,
    )
