"""
The books of a payment: double-entry balances that follow from what its gateways said, in any order.

A change of the facts is posted as the difference to what was posted before. So a fact that comes late or again posts
nothing twice, and what was taken back stays in the books, as a posting of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from crossdock.commerce.payments.amounts import amounts_of
from crossdock.commerce.payments.events import PaymentFact
from crossdock.commerce.payments.kinds import MEANINGS, Stage, Topic


class Account(StrEnum):
    """An account of the books. A debit is positive, a credit negative."""

    #: What the gateway owes us: captured, and neither refunded nor charged back.
    GATEWAY = "gateway"
    #: Captures that the gateway has accepted, and of which it has not said yet that they are done.
    PENDING = "pending"
    #: What was sold. A credit.
    REVENUE = "revenue"
    REFUNDS = "refunds"
    CHARGEBACKS = "chargebacks"


#: (account, gateway) → minor units.
Balances = Mapping[tuple[Account, str], int]


#: Of a capture that a gateway took, for good or until it says more. One that it refused at once was never accepted.
_ACCEPTED = frozenset({Stage.PENDING, Stage.DONE, Stage.REDONE})
#: Money moves with these.
MOVING = frozenset({Topic.CAPTURE, Topic.REFUND, Topic.REVERSAL, Topic.DISPUTE})


class Posting(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an entry. The lines of an entry add up to zero."""

    entry_id: int
    account: Account
    gateway: str
    amount_minor: int
    posted_at: datetime


def sums_of(postings: Iterable[Posting]) -> Balances:
    """Add up *postings* by account, without those that hold nothing."""
    found: dict[tuple[Account, str], int] = {}
    for line in postings:
        name = (line.account, line.gateway)
        found[name] = found.get(name, 0) + line.amount_minor
    return {name: amount for name, amount in found.items() if amount}


def balances_of(facts: Iterable[PaymentFact], currency: str | None = None) -> Balances:
    """Say what the accounts of one payment hold after *facts*, without those that hold nothing. They add up to zero."""
    known = tuple(facts)
    found: dict[tuple[Account, str], int] = {}
    for gateway in sorted({fact.gateway for fact in known}):
        amounts = amounts_of((fact for fact in known if fact.gateway == gateway), currency)
        of_gateway = {
            Account.GATEWAY: amounts.captured_minor - amounts.refunded_minor - amounts.charged_back_minor,
            Account.PENDING: amounts.capture_pending_minor,
            Account.REVENUE: -(amounts.captured_minor + amounts.capture_pending_minor),
            Account.REFUNDS: amounts.refunded_minor,
            Account.CHARGEBACKS: amounts.charged_back_minor,
        }
        found |= {(account, gateway): amount for account, amount in of_gateway.items() if amount}
    return found


def difference(before: Balances, after: Balances) -> Balances:
    """Say what has to be posted so that *before* becomes *after*; empty if nothing has changed."""
    changes = {name: after.get(name, 0) - before.get(name, 0) for name in sorted({*before, *after})}
    return {name: change for name, change in changes.items() if change}


def taken_back_minor(facts: Iterable[PaymentFact], amount_minor: int, currency: str | None = None) -> int:
    """
    Say how much of a payment of *amount_minor* a gateway had accepted to capture, and then did not.

    A capture that began after the failure makes it good, as far as it goes. It is nothing once all is captured, or the
    authorisation was released.
    """
    known = tuple(facts)
    amounts = amounts_of(known, currency)
    if amounts.voided:
        return 0
    owed_minor = 0
    for _, change_minor in sorted(_changes(known, amount_minor)):
        owed_minor = max(owed_minor + change_minor, 0)
    return max(min(owed_minor, amount_minor - amounts.captured_minor - amounts.capture_pending_minor), 0)


def _changes(facts: Iterable[PaymentFact], amount_minor: int) -> Iterator[tuple[datetime, int]]:
    """List when captures that were accepted began, which makes good what had failed before, and when they failed."""
    for said in _captures(facts):
        stages = _stages(said)
        if not stages & _ACCEPTED:
            continue
        accepted = [fact.amount_minor or 0 for fact in said if MEANINGS[fact.kind].stage in _ACCEPTED]
        minor = max(accepted) or amount_minor
        yield min(fact.occurred_at for fact in said), -minor
        if Stage.UNDONE in stages and Stage.REDONE not in stages:
            yield max(fact.occurred_at for fact in said if MEANINGS[fact.kind].stage is Stage.UNDONE), minor


def _captures(facts: Iterable[PaymentFact]) -> list[list[PaymentFact]]:
    """Group what was said of captures by capture."""
    found: dict[tuple[str, str], list[PaymentFact]] = {}
    for fact in facts:
        if MEANINGS[fact.kind].topic is Topic.CAPTURE:
            found.setdefault((fact.gateway, fact.operation_ref), []).append(fact)
    return list(found.values())


def _stages(said: Iterable[PaymentFact]) -> set[Stage]:
    return {MEANINGS[fact.kind].stage for fact in said}
