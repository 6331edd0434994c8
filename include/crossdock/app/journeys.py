"""The journey of an order, a SKU, a customer or an execution of a workflow: all that happened to it, with the money and the stock of an order beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from crossdock.app import journey_repository
from crossdock.app.journey_repository import Entry
from crossdock.commerce.inventory import reservation_repository
from crossdock.commerce.inventory.reservation_repository import Hold
from crossdock.commerce.payments import repository as payment_repository
from crossdock.commerce.payments.amounts import Amounts, amounts_of
from crossdock.commerce.payments.books import Posting
from crossdock.commerce.payments.model import Payment
from crossdock.core.errors import NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.instants import utc_text
from crossdock.db.database import Store, Work
from crossdock.workflows import repository as executions

#: A SKU or a customer has no beginning: without a `since`, its journey is that of so long.
USUAL = timedelta(days=30)
#: A platform's webhook may come before the order's own instant: clocks differ.
_BEFORE_ORDER = timedelta(hours=1)


class Subject(StrEnum):
    """What a journey is of."""

    ORDER = "order"
    SKU = "sku"
    CUSTOMER = "customer"
    #: Of a declared workflow.
    EXECUTION = "execution"


@dataclass(frozen=True)
class Money:
    """A payment of the order, and what is known of its amounts."""

    payment: Payment
    amounts: Amounts
    postings: Sequence[Posting]


@dataclass(frozen=True)
class Journey:
    """A page of a journey."""

    subject: Subject
    #: From which the offsets count: when the order was placed, or the first entry of this page.
    began_at: datetime
    entries: Sequence[Entry]
    has_more: bool
    #: The order's ID at the hub; None for one that is a platform's only, and for other subjects.
    order_id: str | None = None
    money: Sequence[Money] = ()
    stock: Sequence[Hold] = ()
    #: The integrations that each have an order of this number, if there are several and none was named.
    platforms: Sequence[str] = ()


@dataclass(frozen=True)
class _Found:
    """By what the parts of a journey are found."""

    values: Mapping[str, Any]
    since: datetime
    began_at: datetime | None = None
    order_id: str | None = None
    platforms: Sequence[str] = ()


def read(
    store: Store,
    subject: Subject,
    key: str,
    *,
    platform: str | None = None,
    since: datetime | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 100,
) -> Journey:
    """
    Read at most *limit* entries of a journey, in time order.

    Args:
        store: The hub's database.
        subject: What it is of.
        key: An order's ID, reference or number; a SKU; a customer's e-mail address or ID; an execution's ID.
        platform: Only what this integration says, of those that may have the key. By default, that of an order of the hub.
        since: From this instant on; by default from the order's beginning, or of the last `USUAL`.
        after: The instant and the `sort` of the last entry that is known.
        limit: How many at most.

    Raises:
        NotFound: the hub has nothing of it.

    """
    with store.transaction() as work:
        found = _FINDERS[subject](work, key, since, platform)
        entries = journey_repository.entries(
            work, subject, found.values, since=found.since, after=after, limit=limit + 1
        )
        if not entries and not after:
            raise _nothing(subject, key, found)
        began_at = found.began_at or (entries[0].at if entries else found.since)
        page, has_more = entries[:limit], len(entries) > limit
        if found.order_id is None:
            return Journey(subject, began_at, page, has_more, platforms=found.platforms)
        money, stock = _money_of(work, found.order_id), reservation_repository.holds_of(work, found.order_id)
        return Journey(subject, began_at, page, has_more, found.order_id, money, stock, found.platforms)


def _order(work: Work, key: str, since: datetime | None, platform: str | None) -> _Found:
    order = journey_repository.find_order(work, key, platform)
    if order is None:
        raise NotFound(
            f"The hub has no order {key!r}{f' of {platform}' if platform else ''}. Its key is the ID that it got when it was placed, your own reference, or its "
            "number at a platform whose orders are synced",
            hint=Hint(HintId.LIST_ORDERS),
        )
    if platform and order.order_id == key and order.platform != platform:
        raise NotFound(
            f"Order {key} is not of {platform}. For an order of that shop, ask with its number there",
            hint=Hint(HintId.LIST_ORDERS),
        )
    # Of an order that is a platform's alone, all that have its number, unless one is named; of one of the hub alone, no shop's.
    of_platform = platform or (order.platform if order.order_id else None)
    is_of_hub_alone = order.order_id is not None and of_platform is None
    number = None if is_of_hub_alone else order.order_number
    values = {"order_id": order.order_id, "order_number": number, "platform": of_platform}
    begins = order.began_at - _BEFORE_ORDER
    # What happened to it at its platform may be much older than the order here: an earlier `since` is taken as it is.
    is_ambiguous = platform is None and key != order.order_id
    has_number = journey_repository.platforms_with(work, order.order_number) if is_ambiguous else []
    several = has_number if len(has_number) > 1 or is_of_hub_alone else []
    return _Found(values, since or begins, order.began_at, order.order_id, several)


def _sku(_work: Work, key: str, since: datetime | None, platform: str | None) -> _Found:
    return _Found({"sku": key, "platform": platform}, since or datetime.now(UTC) - USUAL)


def _customer(work: Work, key: str, since: datetime | None, platform: str | None) -> _Found:
    emails, ids = journey_repository.find_customer(work, key)
    if not emails:
        raise NotFound(
            "The hub has no customer with that ID. The key is an e-mail address, or the ID at a platform whose customers are "
            "synced",
            hint=Hint(HintId.LIST_ORDERS),
        )
    return _Found({"emails": emails, "ids": ids, "platform": platform}, since or datetime.now(UTC) - USUAL)


def _execution(work: Work, key: str, since: datetime | None, _platform: str | None) -> _Found:
    execution = executions.get(work, key)
    # What is said of an order's execution is said by what it is about.
    values = {"execution_id": key, "order_id": execution.subject, "platform": None}
    return _Found(values, since or execution.created_at, execution.created_at)


_FINDERS = {
    Subject.ORDER: _order,
    Subject.SKU: _sku,
    Subject.CUSTOMER: _customer,
    Subject.EXECUTION: _execution,
}


def _nothing(subject: Subject, key: str, found: _Found) -> NotFound:
    since = utc_text(found.since)
    if subject is Subject.CUSTOMER:
        # An error is logged, and the key is somebody's address.
        return NotFound(f"Nothing happened to that customer since {since}. Ask from an earlier time on")
    return NotFound(
        f"Nothing happened to {subject} {key!r} since {since}. Write it as its platform does, or ask from an earlier time on",
        hint=Hint(HintId.LIST_QUARANTINE),
    )


def _money_of(work: Work, order_id: str) -> list[Money]:
    return [
        Money(
            payment,
            amounts_of(payment_repository.facts_of(work, payment.payment_id), payment.currency),
            payment_repository.postings_of(work, payment.payment_id),
        )
        for payment in payment_repository.page(work, reference=order_id)
    ]
