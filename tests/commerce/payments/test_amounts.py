"""Amounts of payments from facts in any order."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import permutations

import pytest

from crossdock.commerce.payments.amounts import amounts_of
from crossdock.commerce.payments.events import FactKind, PaymentFact

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)


def fact(kind: FactKind, operation: str, amount_minor: int | None = None) -> PaymentFact:
    return PaymentFact(
        gateway="stripe",
        payment_ref="pi_1",
        operation_ref=operation,
        kind=kind,
        occurred_at=NOON,
        amount_minor=amount_minor,
        currency="EUR",
    )


STORY = (
    fact(FactKind.AUTHORISED, "auth", 10_000),
    fact(FactKind.CAPTURED, "capture_1", 10_000),
    fact(FactKind.REFUNDED, "refund_1", 2_500),
    fact(FactKind.CAPTURE_FAILED, "capture_1"),
    fact(FactKind.CHARGED_BACK, "chargeback_1", 1_000),
)


def test_every_order_of_arrival_gives_the_same_amounts() -> None:
    """All 120: the failure of a capture may come before the capture, as may the chargeback."""
    found = {amounts_of(order) for order in permutations(STORY)}

    (only,) = found
    assert (only.authorised_minor, only.captured_minor, only.refunded_minor, only.charged_back_minor) == (
        10_000,
        0,
        2_500,
        1_000,
    )


def test_facts_that_come_again_count_once() -> None:
    assert amounts_of(STORY * 3) == amounts_of(STORY)


def test_a_success_without_an_amount_takes_that_of_its_request() -> None:
    facts = [fact(FactKind.REFUND_PENDING, "refund_1", 700), fact(FactKind.REFUNDED, "refund_1")]

    assert amounts_of(facts).refunded_minor == 700
    assert amounts_of(facts[:1]).refunded_minor == 0


@pytest.mark.parametrize(
    ("kinds", "capturable", "refundable"),
    [
        ([], 10_000, 0),
        ([("capture", FactKind.CAPTURED, 4_000)], 6_000, 4_000),
        ([("capture", FactKind.CAPTURED, 4_000), ("void", FactKind.VOIDED, None)], 0, 4_000),
        ([("void", FactKind.VOIDED, None), ("void", FactKind.VOID_FAILED, None)], 10_000, 0),
        ([("capture", FactKind.CAPTURED, 4_000), ("refund", FactKind.REFUNDED, 1_000)], 6_000, 3_000),
        ([("capture", FactKind.CAPTURED, 4_000), ("dispute", FactKind.CHARGED_BACK, 4_000)], 6_000, 0),
        (
            [
                ("capture", FactKind.CAPTURED, 4_000),
                ("dispute", FactKind.CHARGED_BACK, 4_000),
                ("dispute", FactKind.CHARGEBACK_REVERSED, 4_000),
            ],
            6_000,
            4_000,
        ),
    ],
)
def test_what_can_still_be_captured_and_given_back(
    kinds: list[tuple[str, FactKind, int | None]], capturable: int, refundable: int
) -> None:
    facts = [
        fact(FactKind.AUTHORISED, "auth", 10_000),
        *(fact(kind, operation, amount) for operation, kind, amount in kinds),
    ]

    amounts = amounts_of(facts)

    assert (amounts.capturable_minor, amounts.refundable_minor) == (capturable, refundable)
