"""The books of a payment: they add up to zero, and what gateways said gives the same balances in any order."""

from __future__ import annotations

from datetime import timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from crossdock.commerce.payments import facts, repository
from crossdock.commerce.payments.amounts import amounts_of
from crossdock.commerce.payments.books import Account, balances_of, difference, taken_back_minor
from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.commerce.payments.model import FactOrigin, PaymentRequest
from crossdock.db.database import Store, StoreRefused
from tests.commerce.payments.test_amounts import STORY, fact
from tests.shop import query

_AMOUNTS = st.one_of(st.none(), st.integers(0, 20_000))
_FACTS = st.lists(
    st.builds(fact, st.sampled_from(FactKind), st.sampled_from(["a", "b", "c", "d"]), _AMOUNTS), max_size=8
)


@given(said=_FACTS, data=st.data())
def test_any_order_and_any_repetition_of_facts_gives_the_same_balances_which_add_up_to_zero(
    said: list[PaymentFact], data: st.DataObject
) -> None:
    again = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said)) if said else st.just([]))))

    assert balances_of(again, "EUR") == balances_of(said, "EUR")
    assert sum(balances_of(said, "EUR").values()) == 0
    assert taken_back_minor(again, 10_000, "EUR") == taken_back_minor(said, 10_000, "EUR")


@given(said=_FACTS)
def test_the_books_have_the_amounts_of_the_payment(said: list[PaymentFact]) -> None:
    amounts, held = amounts_of(said, "EUR"), balances_of(said, "EUR")

    assert -held.get((Account.REVENUE, "stripe"), 0) == amounts.captured_minor + amounts.capture_pending_minor
    assert held.get((Account.REFUNDS, "stripe"), 0) == amounts.refunded_minor


@given(said=_FACTS)
def test_posting_each_change_ends_where_posting_all_at_once_does(said: list[PaymentFact]) -> None:
    posted: dict[tuple[Account, str], int] = {}
    for number in range(len(said) + 1):
        for name, change in difference(posted, balances_of(said[:number], "EUR")).items():
            posted[name] = posted.get(name, 0) + change

    assert {name: amount for name, amount in posted.items() if amount} == balances_of(said, "EUR")


PENDING = fact(FactKind.CAPTURE_PENDING, "capture_1", 10_000)
FAILED = fact(FactKind.CAPTURE_FAILED, "capture_1")


@pytest.mark.parametrize(
    ("said", "minor"),
    [
        ([PENDING], 0),
        ([PENDING, FAILED], 10_000),
        ([FAILED, PENDING], 10_000),
        ([fact(FactKind.CAPTURED, "capture_1", 10_000), FAILED], 10_000),
        ([FAILED], 0),
        ([PENDING, FAILED, fact(FactKind.RECAPTURED, "capture_1", 10_000)], 0),
        ([PENDING, FAILED, fact(FactKind.CAPTURED, "capture_2", 10_000)], 0),
        ([PENDING, FAILED, fact(FactKind.CAPTURED, "capture_2", 4_000)], 6_000),
        ([fact(FactKind.AUTHORISED, "auth", 10_000), PENDING, FAILED, fact(FactKind.VOIDED, "void_1")], 0),
    ],
)
def test_a_capture_is_taken_back_until_it_is_made_good_or_given_up(said: list[PaymentFact], minor: int) -> None:
    assert taken_back_minor(said, 10_000, "EUR") == minor


def at(minute: int, said: PaymentFact) -> PaymentFact:
    return replace(said, occurred_at=said.occurred_at + timedelta(minutes=minute))


def test_a_partial_capture_that_is_made_again_makes_good_what_failed_and_one_from_before_does_not() -> None:
    """Four of ten were captured, and failed; another capture of four is the same again, or was for another parcel."""
    failed = [
        at(0, fact(FactKind.CAPTURED, "capture_1", 4_000)),
        at(5, fact(FactKind.CAPTURE_FAILED, "capture_1")),
    ]
    again = [at(9, fact(FactKind.CAPTURE_PENDING, "capture_2", 4_000)), at(10, fact(FactKind.CAPTURED, "capture_2"))]
    before = at(3, fact(FactKind.CAPTURED, "capture_3", 4_000))

    for said in permutations([*failed, *again]):
        assert taken_back_minor(said, 10_000, "EUR") == 0
    assert taken_back_minor([*failed, before], 10_000, "EUR") == 4_000
    assert taken_back_minor([*failed, before, *again], 10_000, "EUR") == 0
    assert taken_back_minor([*failed, again[0]], 10_000, "EUR") == 0
    assert (
        taken_back_minor([*failed, *again, at(12, fact(FactKind.CAPTURE_FAILED, "capture_2"))], 10_000, "EUR") == 4_000
    )


def payment(store: Store) -> str:
    request = PaymentRequest(reference="order-1", amount_minor=10_000, currency="EUR", payment_methods={"*": "pm"})
    with store.transaction() as work:
        added, _ = repository.add(work, request, actor="t")
        repository.begin_leg(
            work, added, facts.Operation.AUTHORISE, "stripe", account=None, amount_minor=10_000, payment_ref="pi_1"
        )
    return added.payment_id


def test_facts_that_come_one_by_one_are_posted_once_each_in_the_database(store: Store) -> None:
    payment_id = payment(store)
    for said in (*STORY, *STORY):
        with store.transaction() as work:
            facts.apply(work, [said], FactOrigin.EVENT)
    with store.transaction() as work:
        held = repository.known(work, payment_id).balances
        postings = repository.postings_of(work, payment_id)

    assert held == balances_of(STORY, "EUR")
    assert [line.amount_minor for line in postings if line.account is Account.REVENUE] == [-10_000, 10_000]
    assert len({line.entry_id for line in postings}) == 4


def test_what_is_on_record_as_taken_back_is_gone_when_it_is_captured_after_all(store: Store) -> None:
    payment_id = payment(store)
    taken_back = "SELECT taken_back_minor FROM payment WHERE payment_id = %s"
    found = []
    for said in (PENDING, FAILED, fact(FactKind.RECAPTURED, "capture_1", 10_000)):
        with store.transaction() as work:
            facts.apply(work, [said], FactOrigin.EVENT)
        found += query(store, taken_back, payment_id)

    assert found == [(0,), (10_000,), (0,)]


def test_the_database_refuses_what_does_not_add_up_to_zero(store: Store) -> None:
    payment_id = payment(store)
    with pytest.raises(StoreRefused, match="add up to zero"), store.transaction() as work:
        repository.post(work, payment_id, {(Account.REVENUE, "stripe"): -100, (Account.GATEWAY, "stripe"): 99})
    with store.transaction() as work:
        repository.post(work, payment_id, {(Account.REVENUE, "stripe"): -100, (Account.GATEWAY, "stripe"): 100})
    with pytest.raises(StoreRefused, match="add up to zero"), store.transaction() as work:
        work.execute("UPDATE posting SET amount_minor = 50 WHERE account = 'gateway'")


def test_every_order_of_arrival_of_a_story_ends_in_the_same_books() -> None:
    assert len({tuple(sorted(balances_of(order, "EUR").items())) for order in permutations(STORY)}) == 1
    assert Account.REVENUE not in {account for account, _ in balances_of(STORY, "EUR")}
