"""
Each writing action of Stripe under each fault: done, proved not done, or unknown for a person, and never two effects.

The provider's own ledger counts the effects. The gate has one action for each fault; the other pairs are `deep`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import cycle
from typing import Any

import pytest

from crossdock.connectors.stripe.actions import AUTHORISE, CAPTURE, REFUND, VOID
from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import Effect, ReadBack
from crossdock.integrations.attempts.model import Outcome, Resolution
from crossdock.sandbox.engine.messages import json_response
from tests.chaos import children
from tests.connectors.stripe.cases import CASES, REFERENCE, WRITES
from tests.connectors.stripe.payments import IMPATIENT, Payments
from tests.shop import query

#: What goes wrong with the request that writes, how the call ends, and how its repetition with the key.
FAULTS: dict[str, tuple[Any, type, type]] = {
    "timeout_before": ({"timeout": "before"}, Done, Done),
    "timeout_after": ({"timeout": "after"}, Done, Done),
    "reset_before": ({"reset": "before"}, Done, Done),
    "reset_after": ({"reset": "after"}, Done, Done),
    "html_502_before": ({"bad_gateway": "before"}, Done, Done),
    "html_502_after": ({"bad_gateway": "after"}, Done, Done),
    "wrong_type": ({"wrong_type": True}, Done, Done),
    "truncated": ({"truncate_json": 0.5}, Done, Done),
    "status_429": ({"status": 429, "retry_after": 0}, Done, Done),
    "status_500": ({"status": 500}, Done, Done),
    "status_403": ({"status": 403}, Refused, Done),
    # The provider keeps its own error for the key: no repetition resolves it, so the effect is looked up.
    "fails_after": ({"fails": "after"}, Done, Done),
    # Nothing is found, and the key says only that the provider failed: a person has to look.
    "fails_before": ({"fails": "before"}, Unknown, Unknown),
}
each_write = pytest.mark.parametrize("payments", WRITES, indirect=True)


def pairs() -> Iterator[Any]:
    """Each action with each fault; in the gate each fault meets one action, and each action some faults."""
    gate = dict(zip(FAULTS, cycle(WRITES)))
    for fault in FAULTS:
        for name in WRITES:
            marks = () if gate[fault] == name else (pytest.mark.deep,)
            yield pytest.param(name, fault, id=f"{name}-{fault}", marks=marks)


@pytest.mark.parametrize(("payments", "fault"), list(pairs()), indirect=["payments"])
def test_a_write_has_one_effect_and_its_outcome_is_resolved(payments: Payments, fault: str) -> None:
    """Whatever becomes of the answer; and a repetition with the key moves nothing."""
    script, first_kind, again_kind = FAULTS[fault]
    payments.fault(script)

    first, again = payments.perform(), payments.perform()

    assert (type(first), type(again)) == (first_kind, again_kind)
    assert payments.effects == (list(payments.case.moves) if again_kind is Done else [])
    assert payments.attempt()[0] == (Outcome.DONE if again_kind is Done else Outcome.UNKNOWN)
    if isinstance(again, Done):
        assert again.output is not None
        assert again.output["operation_ref"]


@each_write
@pytest.mark.parametrize("effect", [False, True], ids=["before", "after"])
@pytest.mark.deep
def test_while_the_provider_is_down_the_outcome_stays_unknown_and_the_next_call_resolves_it(
    payments: Payments, effect: bool
) -> None:
    """It can be neither done nor failed: the reads that would say so fail, too."""
    payments.fault({"reset": "after" if effect else "before"}, {"reset": "before"})
    payments.provider.faults.put("*", [{"status": 503}] * 10)
    lost = payments.perform()

    assert isinstance(lost, Unknown)
    assert payments.attempt() == (Outcome.UNKNOWN, None)

    payments.provider.faults.clear()
    assert isinstance(payments.perform(), Done)
    assert payments.effects == list(payments.case.moves)
    assert payments.attempt() == (Outcome.DONE, Resolution.REPLAYED_KEY)


@each_write
def test_a_provider_that_throttles_for_longer_has_not_moved_anything(payments: Payments) -> None:
    payments.fault(*[{"status": 429}] * IMPATIENT.attempts)

    ended = payments.perform()

    assert isinstance(ended, Failed)
    assert (payments.effects, payments.attempt()[0]) == ([], Outcome.FAILED)
    assert isinstance(payments.perform(), Done)


@pytest.mark.parametrize("payments", ["authorise", "refund"], indirect=True)
def test_while_the_key_is_at_work_the_outcome_is_unknown_and_then_its_answer_comes(payments: Payments) -> None:
    """The first request takes longer than we wait: its repetitions are answered 409, and none of them moves anything."""
    payments.fault({"busy_s": 3.0})

    assert isinstance(payments.perform(), Unknown)
    _wait_until_done(payments)
    assert isinstance(payments.perform(), Done)
    assert payments.effects == list(payments.case.moves)


def _wait_until_done(payments: Payments) -> None:
    while not payments.effects:
        threading.Event().wait(0.05)


@each_write
def test_another_input_with_the_key_is_a_conflict_and_is_not_sent(payments: Payments) -> None:
    payments.perform()
    # A void has no reference at the provider.
    other = {"payment_ref": "pi_other"} if payments.name == "void" else {"reference": "order-4712"}

    with pytest.raises(Conflict, match="use a key of its own"):
        payments.perform(given=payments.given | other)
    assert payments.sent == 1


@pytest.mark.parametrize("payments", WRITES, indirect=True)
def test_a_key_that_another_client_of_the_account_used_is_our_error(payments: Payments) -> None:
    """Keys are of the account. The provider refuses the key with other parameters, and nothing moves."""
    payments.provider.keys.answer("effect-1", "of another client", lambda: json_response(200, {}))

    ended = payments.perform()

    assert isinstance(ended, Refused)
    assert (ended.status, ended.by, ended.try_other) == (400, "ours", False)
    assert "same parameters" in ended.message
    assert payments.effects == []


class TestAfterTheKeysTime:
    """The provider has forgotten the key: to send it again could charge twice."""

    def expire(self, payments: Payments) -> None:
        payments.provider.keys.forget()
        query(payments.store, "UPDATE attempt SET sent_at = sent_at - interval '25 hours' RETURNING 1")

    @each_write
    def test_an_effect_is_found_without_the_key(self, payments: Payments) -> None:
        payments.fault({"reset": "after"}, {"reset": "before"})
        payments.provider.faults.put("*", [{"status": 503}] * 10)
        assert isinstance(payments.perform(), Unknown)
        payments.provider.faults.clear()
        self.expire(payments)
        payments.provider.requests.clear()

        assert isinstance(payments.perform(), Done)
        assert payments.effects == list(payments.case.moves)
        assert (payments.sent, payments.attempt()) == (0, (Outcome.DONE, Resolution.GET))

    @each_write
    def test_what_is_not_found_is_for_a_person_unless_it_can_happen_only_once(self, payments: Payments) -> None:
        """A payment is captured or voided once at most, so that request may be sent again; the others never are."""
        payments.fault({"fails": "before"})
        assert isinstance(payments.perform(), Unknown)
        self.expire(payments)
        payments.provider.requests.clear()

        ended = payments.perform()

        once = payments.name in {"capture", "void"}
        assert type(ended) is (Done if once else Unknown)
        assert payments.effects == (list(payments.case.moves) if once else [])
        assert payments.sent == int(once)


@pytest.mark.crash
@pytest.mark.parametrize(
    ("payments", "killed", "effects"),
    [
        pytest.param(name, failpoint, count, id=f"{name}-{case}", marks=() if name == gate else (pytest.mark.deep,))
        for case, failpoint, count, gate in (
            ("killed_before", "send.begun", 0, "authorise"),
            ("killed_after", "send.answered", 1, "refund"),
        )
        for name in WRITES
    ],
    indirect=["payments"],
)
def test_a_repetition_resolves_what_a_killed_process_left(
    payments: Payments, hub_dsn: str, killed: str, effects: int
) -> None:
    """At once, by the key: it need not wait until the call of the dead process would have ended."""
    assert children.run(lambda: payments.perform(store=Store(hub_dsn)), crash_at=killed) == children.KILLED
    assert (len(payments.effects), payments.attempt()) == (effects, (Outcome.OPEN, None))

    assert isinstance(payments.perform(), Done)
    assert payments.effects == list(payments.case.moves)
    assert payments.attempt() == (Outcome.DONE, Resolution.REPLAYED_KEY)


PAYMENT = {
    "payment_ref": "pi_1",
    "state": "authorised",
    "currency": "EUR",
    "authorised_minor": 1999,
    "captured_minor": 0,
    "refunded_minor": 0,
    "capture_ref": None,
    "capture_reference": None,
}
CAPTURED = PAYMENT | {
    "state": "captured",
    "authorised_minor": 0,
    "captured_minor": 1999,
    "capture_ref": "ch_1",
    "capture_reference": REFERENCE,
}
REFUNDED = {
    "operation_ref": "re_1",
    "state": "done",
    "amount_minor": 500,
    "currency": "EUR",
    "reference": REFERENCE,
}


class TestWhatALaterReadSays:
    """Only what is as the write makes it counts as done; only what can happen once may be sent again."""

    @pytest.mark.parametrize(
        ("found", "effect"),
        [
            (PAYMENT, Effect.VISIBLE),
            (PAYMENT | {"authorised_minor": 1998}, Effect.UNCLEAR),
            (PAYMENT | {"currency": "USD"}, Effect.UNCLEAR),
            (PAYMENT | {"state": "captured"}, Effect.UNCLEAR),
            (PAYMENT | {"state": "requires_action"}, Effect.UNCLEAR),
            (PAYMENT | {"state": "declined", "authorised_minor": 0}, Effect.UNCLEAR),
            (PAYMENT | {"found": False, "state": None, "authorised_minor": 0}, Effect.UNCLEAR),
        ],
    )
    def test_of_an_authorisation(self, found: dict[str, Any], effect: Effect) -> None:
        """A payment that is not found may still come: it is never sent again without its key."""
        assert judge(AUTHORISE.read_back, "authorise", found) is effect

    @pytest.mark.parametrize(
        ("payment", "effect"),
        [
            (CAPTURED, Effect.VISIBLE),
            (CAPTURED | {"refunded_minor": 1999}, Effect.VISIBLE),
            (CAPTURED | {"captured_minor": 1000}, Effect.UNCLEAR),
            (CAPTURED | {"currency": "USD"}, Effect.UNCLEAR),
            (CAPTURED | {"capture_reference": None}, Effect.UNCLEAR),
            (PAYMENT, Effect.ABSENT),
            (PAYMENT | {"state": "voided"}, Effect.UNCLEAR),
            (PAYMENT | {"state": "pending"}, Effect.UNCLEAR),
        ],
    )
    def test_of_a_capture(self, payment: dict[str, Any], effect: Effect) -> None:
        """Somebody else's capture is not ours, even of the same amount."""
        assert judge(CAPTURE.read_back, "capture", payment) is effect

    @pytest.mark.parametrize(
        ("state", "effect"),
        [
            ("voided", Effect.VISIBLE),
            ("authorised", Effect.ABSENT),
            ("requires_action", Effect.ABSENT),
            ("captured", Effect.UNCLEAR),
            ("pending", Effect.UNCLEAR),
        ],
    )
    def test_of_a_void(self, state: str, effect: Effect) -> None:
        assert judge(VOID.read_back, "void", PAYMENT | {"state": state}) is effect

    @pytest.mark.parametrize(
        ("refunds", "effect"),
        [
            ([REFUNDED], Effect.VISIBLE),
            ([REFUNDED | {"state": "pending"}], Effect.VISIBLE),
            ([REFUNDED | {"reference": None}, REFUNDED], Effect.VISIBLE),
            ([], Effect.UNCLEAR),
            ([REFUNDED | {"reference": None}], Effect.UNCLEAR),
            ([REFUNDED | {"amount_minor": 499}], Effect.UNCLEAR),
            ([REFUNDED | {"state": "failed"}], Effect.UNCLEAR),
            ([REFUNDED, REFUNDED | {"operation_ref": "re_2"}], Effect.UNCLEAR),
        ],
    )
    def test_of_a_refund(self, refunds: list[dict[str, Any]], effect: Effect) -> None:
        """Two that look like ours, or somebody else's, prove nothing."""
        assert judge(REFUND.read_back, "refund", {"refunds": refunds}) is effect


def judge(read_back: ReadBack | None, name: str, found: dict[str, Any]) -> Effect:
    assert read_back is not None
    return read_back.judge(CASES[name].given("pi_1"), found).effect
