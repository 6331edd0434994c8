"""Facts in any order, from answers, events, reads and people: the same payment comes of them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import count, permutations
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.commerce.payments import accounts, repository, service, subscribers
from crossdock.commerce.payments.amounts import PaymentState, amounts_of, state_of
from crossdock.commerce.payments.events import PAYMENT_REPORTED, FactKind, PaymentFact
from crossdock.commerce.payments.model import CurrencyDiffers, Leg, Payment, PaymentBusy
from crossdock.commerce.payments.service import Payments
from crossdock.core.errors import BadRequest, Conflict
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.integrations import service as integrations
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome, Resolution
from tests.commerce.payments.gateways import OTTO, Gateways, connected
from tests.commerce.payments.test_amounts import NOON
from tests.shop import query

_numbers = count()


def fact(kind: FactKind, operation: str = "op_1", amount_minor: int | None = 10_000, **other: Any) -> PaymentFact:
    fields = {"gateway": "alpha", "payment_ref": "pay_1", "occurred_at": NOON, "currency": "EUR", **other}
    return PaymentFact(kind=kind, operation_ref=operation, amount_minor=amount_minor, **fields)


def report(store: Store, *facts: PaymentFact) -> None:
    """Store the events of *facts*, and have the subscriber apply them."""
    with store.transaction() as work:
        for said in facts:
            event = PAYMENT_REPORTED.event(
                said, source="/webhooks/alpha", subject="payment/1", time=NOON, event_id=f"evt_{next(_numbers)}"
            )
            at = event_store.receive(work, event)
            assert at is not None
            stored = event_store.get(work, (at.epoch, at.position))
            subscribers.apply(work, [stored])


def legs(gateways: Gateways, payment: Payment) -> list[Leg]:
    with gateways.store.transaction() as work:
        return repository.legs_of(work, payment.payment_id)


def attempt(gateways: Gateways, leg: Leg) -> tuple[Outcome, Resolution | None]:
    with gateways.store.transaction() as work:
        found = attempts.find(work, leg.gateway, leg.key)
    assert found is not None
    return found.outcome, found.resolution


@pytest.fixture
def unknown(gateways: Gateways) -> Payment:
    """Whose answer was lost; the gateway has authorised it."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    return gateways.authorise()


_OPERATIONS = ("auth", "c1", "c2", "v1", "r1", "d1")


@given(
    st.lists(
        st.builds(
            fact,
            st.sampled_from(FactKind),
            st.sampled_from(_OPERATIONS),
            st.sampled_from([None, 1_000, 10_000]),
            payment_ref=st.sampled_from(["pay_1", "pay_2"]),
        ),
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_every_order_of_facts_gives_the_same_amounts_and_state(facts: list[PaymentFact], random: Any) -> None:
    mixed = facts + facts[: len(facts) // 2]
    random.shuffle(mixed)

    assert amounts_of(mixed) == amounts_of(facts)
    assert state_of(mixed) is state_of(facts)


def test_every_order_of_arrival_gives_the_same_payment_in_the_database(gateways: Gateways) -> None:
    """All 24, each of a payment of its own: the success without an amount may come before what it is of, and again."""
    found = set()
    for number, order in enumerate(permutations(range(4))):
        payment = gateways.authorise(f"order-{number}")
        (leg,) = legs(gateways, payment)
        ref, at = leg.payment_ref, leg.gateway
        said = (
            fact(FactKind.AUTHORISED, f"{ref}_a", payment_ref=ref, gateway=at),
            fact(FactKind.CAPTURE_PENDING, f"{ref}_c", 6_000, payment_ref=ref, gateway=at),
            fact(FactKind.CAPTURED, f"{ref}_c", None, payment_ref=ref, gateway=at),
            fact(FactKind.REFUNDED, f"{ref}_r", 1_000, payment_ref=ref, gateway=at),
        )
        report(gateways.store, *(said[place] for place in (*order, order[0])))
        with gateways.store.transaction() as work:
            amounts = amounts_of(repository.facts_of(work, payment.payment_id))
        found.add((amounts, service.show(gateways.store, payment.payment_id).state))

    ((amounts, state),) = found
    assert (amounts.authorised_minor, amounts.captured_minor, amounts.refunded_minor) == (10_000, 6_000, 1_000)
    assert state is PaymentState.PARTLY_REFUNDED


def test_the_event_of_an_unknown_payment_resolves_it_and_its_attempt(gateways: Gateways, unknown: Payment) -> None:
    report(gateways.store, fact(FactKind.AUTHORISED, reference=unknown.reference))

    payment = service.show(gateways.store, unknown.payment_id)
    (leg,) = legs(gateways, payment)
    assert (payment.state, payment.is_unresolved) == (PaymentState.AUTHORISED, False)
    assert (leg.outcome, leg.payment_ref) == (Outcome.DONE, "pay_1")
    assert attempt(gateways, leg) == (Outcome.DONE, Resolution.WEBHOOK)


def test_the_event_of_a_decline_ends_an_unknown_payment(gateways: Gateways, unknown: Payment) -> None:
    report(gateways.store, fact(FactKind.AUTHORISATION_FAILED, reference=unknown.reference, code="no_funds"))

    (leg,) = legs(gateways, unknown)
    assert service.show(gateways.store, unknown.payment_id).state is PaymentState.DECLINED
    assert (leg.outcome, leg.code, attempt(gateways, leg)) == (
        Outcome.REFUSED,
        "no_funds",
        (Outcome.REFUSED, Resolution.WEBHOOK),
    )


def test_the_event_of_a_capture_resolves_that_capture_alone(gateways: Gateways) -> None:
    payment = gateways.authorise()
    gateways.fault("alpha", {"reset": "after"}, repeat=True)
    lost, other = gateways.capture(payment, 1_000, "c1"), gateways.capture(payment, 1_000, "c2")

    report(
        gateways.store, fact(FactKind.CAPTURED, "cap_1", 1_000, payment_ref=lost.payment_ref, reference=lost.reference)
    )

    outcomes = {leg.leg_id: leg.outcome for leg in legs(gateways, payment)}
    assert (outcomes[lost.leg_id], outcomes[other.leg_id]) == (Outcome.DONE, Outcome.UNKNOWN)


def test_a_fact_of_a_payment_that_the_hub_does_not_know_is_kept_and_shown(gateways: Gateways) -> None:
    report(gateways.store, fact(FactKind.CAPTURED, payment_ref="pay_of_the_till"))

    with gateways.store.transaction() as work:
        (found,) = repository.unmatched_facts(work)
    assert (found.fact.payment_ref, found.fact.kind) == ("pay_of_the_till", FactKind.CAPTURED)


def test_another_shops_payment_with_the_same_reference_is_not_ours(gateways: Gateways) -> None:
    """References are unique here; at the gateway, a till may use the same ones."""
    payment = gateways.authorise()
    report(gateways.store, fact(FactKind.CAPTURED, payment_ref="pay_of_the_till", reference=payment.reference))

    assert service.show(gateways.store, payment.payment_id).state is PaymentState.AUTHORISED
    with gateways.store.transaction() as work:
        assert [each.fact.payment_ref for each in repository.unmatched_facts(work)] == ["pay_of_the_till"]


@pytest.mark.parametrize("other", [{"currency": "USD"}, {"amount_minor": 10_001}], ids=["currency", "more than asked"])
def test_what_was_not_asked_for_resolves_no_leg_by_its_reference(
    gateways: Gateways, unknown: Payment, other: dict[str, Any]
) -> None:
    """A till at the same gateway has the same reference, and sold something else."""
    report(gateways.store, fact(FactKind.AUTHORISED, reference=unknown.reference, **other))

    assert service.show(gateways.store, unknown.payment_id).state is PaymentState.UNKNOWN
    with gateways.store.transaction() as work:
        assert len(repository.unmatched_facts(work)) == 1


def test_the_fact_of_one_payment_never_becomes_that_of_another(gateways: Gateways) -> None:
    """A gateway that reports one operation twice: the amount of the first payment stays what it is."""
    first, second = gateways.authorise("order-1", amount_minor=1_000), gateways.authorise("order-2")
    (theirs,), (ours,) = legs(gateways, first), legs(gateways, second)
    assert theirs.operation_ref is not None
    report(gateways.store, fact(FactKind.AUTHORISED, theirs.operation_ref, payment_ref=ours.payment_ref))

    with gateways.store.transaction() as work:
        assert amounts_of(repository.facts_of(work, first.payment_id)).authorised_minor == 1_000


def test_facts_that_came_before_the_answer_are_those_of_its_payment(gateways: Gateways) -> None:
    """An event without our reference overtook the answer that brought the gateway's."""
    report(gateways.store, fact(FactKind.DISPUTE_OPENED, payment_ref="pay_alpha_authorise_1"))

    payment = gateways.authorise()

    with gateways.store.transaction() as work:
        kinds = {said.kind for said in repository.facts_of(work, payment.payment_id)}
        assert repository.unmatched_facts(work) == []
    assert kinds == {FactKind.AUTHORISED, FactKind.DISPUTE_OPENED}


def test_an_action_that_the_customer_failed_is_a_decline(gateways: Gateways) -> None:
    """It was unknown for ever: the call was done, and what it had begun has failed."""
    payment = gateways.authorise(method="pm_asks")
    (leg,) = legs(gateways, payment)
    assert leg.operation_ref is not None
    report(gateways.store, fact(FactKind.AUTHORISATION_FAILED, leg.operation_ref, None, payment_ref=leg.payment_ref))

    found = service.show(gateways.store, payment.payment_id)
    assert (found.state, found.is_unresolved) == (PaymentState.DECLINED, False)


def test_an_answer_with_the_reference_of_another_payment_is_unresolved(gateways: Gateways) -> None:
    """A person has to look: it is listed, and opens an alert."""
    first = gateways.authorise("order-1")
    (leg,) = legs(gateways, first)
    server = gateways.servers["alpha"]
    server.effects.clear()
    integrations.pause(gateways.store, "beta", actor=OTTO)
    second = gateways.authorise("order-2")

    assert leg.gateway == "alpha"
    assert (second.state, second.is_unresolved) == (PaymentState.UNKNOWN, True)
    assert [each.outcome for each in legs(gateways, second)] == [Outcome.UNKNOWN]


def test_less_than_was_asked_for_is_a_state_of_its_own(gateways: Gateways) -> None:
    """One cent of a hundred euros is not an order that may be shipped."""
    payment = gateways.authorise(method="pm_part")

    assert (payment.state, payment.is_unresolved) == (PaymentState.PARTLY_AUTHORISED, False)
    gateways.void(payment)
    assert service.show(gateways.store, payment.payment_id).state is PaymentState.VOIDED


def test_an_answer_in_another_currency_is_unresolved_and_nobody_else_is_asked(gateways: Gateways) -> None:
    states = [gateways.authorise(method="pm_dollars") for _ in range(2)]

    assert {(each.state, each.is_unresolved) for each in states} == {(PaymentState.UNKNOWN, True)}
    assert gateways.effects() == 1


def test_what_was_authorised_in_another_currency_is_released_once_a_person_has_seen_it(gateways: Gateways) -> None:
    payment = gateways.authorise(method="pm_dollars")
    (leg,) = legs(gateways, payment)
    service.resolve_by_person(
        gateways.store,
        payment.payment_id,
        leg.leg_id,
        Outcome.DONE,
        ref="alpha_authorise_1",
        reason="seen in its dashboard",
        actor=OTTO,
    )
    with pytest.raises(CurrencyDiffers, match="USD"):
        gateways.capture(payment)

    assert gateways.void(payment).outcome is Outcome.DONE
    assert service.show(gateways.store, payment.payment_id).state is PaymentState.VOIDED


def test_facts_in_another_currency_add_to_no_sum_and_stop_captures_and_refunds(gateways: Gateways) -> None:
    """A refund of 100 dollars says nothing of the euros that are left: a person has to look."""
    payment = gateways.authorise()
    gateways.capture(payment, 6_000)
    ref = legs(gateways, payment)[0].payment_ref
    report(gateways.store, fact(FactKind.REFUNDED, "r_1", 6_000, payment_ref=ref, currency="USD"))
    calls = len(gateways.calls)

    for operate in (gateways.capture, gateways.refund):
        with pytest.raises(CurrencyDiffers, match="A person has to look"):
            operate(payment, 100, "later")
    with gateways.store.transaction() as work:
        assert amounts_of(repository.facts_of(work, payment.payment_id), "EUR").refunded_minor == 0
    assert len(gateways.calls) == calls


def test_the_answer_that_an_event_overtook_says_whether_another_gateway_may_take_it(
    gateways: Gateways, hub_dsn: str
) -> None:
    """The event knows only that it failed; the answer, that the gateway's own rule refused it."""
    perform = gateways.perform

    def overtaken(*call: Any, **_: Any) -> Any:
        ended = perform(*call)
        with Store(hub_dsn) as other:
            report(other, fact(FactKind.AUTHORISATION_FAILED, f"{call[0]}_1", gateway=call[0], reference="order-4711"))
        return ended

    gateways.perform = overtaken  # type: ignore[method-assign]
    gateways.authorise(method="pm_blocked_here")

    assert gateways.calls == [("alpha", "authorise"), ("beta", "authorise")]


def test_a_decline_by_an_event_ends_a_call_that_has_no_answer(gateways: Gateways, hub_dsn: str) -> None:
    """The event was kept while the call ran, and the call was lost."""
    gateways.fault("alpha", *[{"reset": "after"}] * 2)
    perform = gateways.perform

    def overtaken(*call: Any, **_: Any) -> Any:
        with Store(hub_dsn) as other:
            report(other, fact(FactKind.AUTHORISATION_FAILED, reference="order-4711"))
        return perform(*call)

    gateways.perform = overtaken  # type: ignore[method-assign]
    assert gateways.authorise().state is PaymentState.DECLINED


def test_an_answer_and_its_event_are_one_fact(gateways: Gateways) -> None:
    payment = gateways.authorise()
    (leg,) = legs(gateways, payment)
    assert leg.operation_ref is not None
    report(gateways.store, fact(FactKind.AUTHORISED, leg.operation_ref, payment_ref=leg.payment_ref))

    with gateways.store.transaction() as work:
        assert len(repository.facts_of(work, payment.payment_id)) == 1


def lost(gateways: Gateways, gateway: str, reference: str) -> Payment:
    """Place a payment at *gateway*, which does it and whose answer is lost."""
    (other,) = {*gateways.servers} - {gateway}
    integrations.pause(gateways.store, other, actor=OTTO)
    gateways.fault(gateway, *[{"reset": "after"}] * 2)
    payment = gateways.authorise(reference)
    integrations.resume(gateways.store, other, on_resumed=lambda *_: None, actor=OTTO)
    assert payment.is_unresolved
    return payment


class TestResolve:
    def test_the_same_call_with_the_same_key_finds_out(self, gateways: Gateways, unknown: Payment) -> None:
        found = service.resolve(gateways.payments, unknown.payment_id)

        assert (found.state, found.is_unresolved) == (PaymentState.AUTHORISED, False)
        assert gateways.effects() == 1

    def test_a_gateway_that_hangs_delays_no_payment_of_another(self, gateways: Gateways, hub_dsn: str) -> None:
        """No lock of the database and no order of work stands between two payments."""
        slow = lost(gateways, "alpha", "order-1")
        quick, other = lost(gateways, "beta", "order-2"), lost(gateways, "beta", "order-3")
        asked, wake = threading.Event(), threading.Event()

        with ThreadPoolExecutor(1) as pool, Store(hub_dsn) as store:

            def hang(*call: Any, **_: Any) -> Any:
                asked.set()
                wake.wait(60)
                return gateways.in_thread(store).perform(*call)

            hanging = pool.submit(service.resolve, Payments(store, hang), slow.payment_id)
            assert asked.wait(60)
            states = {service.resolve(gateways.payments, each.payment_id).state for each in (quick, other)}
            is_still_hanging = not hanging.done()
            wake.set()

        assert (states, is_still_hanging) == ({PaymentState.AUTHORISED}, True)
        assert hanging.result().state is PaymentState.AUTHORISED

    def test_a_call_that_is_at_work_delays_no_other_of_its_payment(self, gateways: Gateways, hub_dsn: str) -> None:
        payment = gateways.authorise()
        gateways.fault("alpha", *[{"reset": "after"}] * 4)
        busy, free = gateways.capture(payment, 1_000, "c1"), gateways.capture(payment, 1_000, "c2")
        with Store(hub_dsn) as other, service._alone(other, service._lock_name(busy)):
            service.resolve(gateways.payments, payment.payment_id)
            outcomes = {leg.leg_id: leg.outcome for leg in legs(gateways, payment)}
            assert (outcomes[busy.leg_id], outcomes[free.leg_id]) == (Outcome.UNKNOWN, Outcome.DONE)
            with pytest.raises(PaymentBusy):
                service.resolve(gateways.payments, payment.payment_id)

        assert not service.resolve(gateways.payments, payment.payment_id).is_unresolved

    def test_a_gateway_without_keys_is_read(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        with connected(store, monkeypatch, keys=False) as gateways:
            gateways.fault("alpha", {"reset": "after"})
            payment = gateways.authorise()

            assert service.resolve(gateways.payments, payment.payment_id).state is PaymentState.AUTHORISED
            (leg,) = legs(gateways, payment)
            assert attempt(gateways, leg) == (Outcome.DONE, Resolution.LIST)
            assert gateways.effects() == 1

    @pytest.mark.parametrize(
        ("otherwise", "state"),
        [({"amount_minor": 1_000}, PaymentState.PARTLY_AUTHORISED), ({"currency": "USD"}, PaymentState.UNKNOWN)],
        ids=["amount", "currency"],
    )
    def test_what_the_gateway_has_counts_and_not_what_it_was_asked_for(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, otherwise: dict[str, Any], state: PaymentState
    ) -> None:
        """A tenth of the amount is not the amount; dollars are for a person."""
        with connected(store, monkeypatch, keys=False) as gateways:
            gateways.fault("alpha", {"reset": "after"})
            payment = gateways.authorise()
            gateways.servers["alpha"].found_otherwise = otherwise

            assert service.resolve(gateways.payments, payment.payment_id).state is state

    def test_a_gateway_that_does_not_have_it_proves_nothing(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The request may still be on its way, and a second gateway would charge it again."""
        with connected(store, monkeypatch, keys=False) as gateways:
            gateways.fault("alpha", {"reset": "before"})
            payment = gateways.authorise()

            assert service.resolve(gateways.payments, payment.payment_id).state is PaymentState.UNKNOWN

    def test_a_process_that_died_leaves_a_payment_that_is_resolved(self, gateways: Gateways) -> None:
        """Its leg is open, and no other gateway is asked."""

        def die(*_: Any, **__: Any) -> Any:
            raise KeyboardInterrupt

        alive, gateways.perform = gateways.perform, die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            gateways.authorise()
        gateways.perform = alive  # type: ignore[method-assign]

        assert gateways.authorise().state is PaymentState.AUTHORISED
        assert gateways.calls == [("alpha", "authorise")]


class TestPerson:
    def resolve(self, gateways: Gateways, payment: Payment, outcome: Any, ref: str | None = None) -> Payment:
        leg = legs(gateways, payment)[-1]
        return service.resolve_by_person(
            gateways.store, payment.payment_id, leg.leg_id, outcome, ref=ref, reason="seen in its dashboard", actor=OTTO
        )

    def test_done_with_its_reference_can_be_captured(self, gateways: Gateways, unknown: Payment) -> None:
        assert self.resolve(gateways, unknown, Outcome.DONE, "pay_alpha_authorise_1").state is PaymentState.AUTHORISED

        assert gateways.capture(unknown).outcome is Outcome.DONE
        assert attempt(gateways, legs(gateways, unknown)[0]) == (Outcome.DONE, Resolution.PERSON)
        audited = query(gateways.store, "SELECT actor FROM audit_entry WHERE act = 'payment.resolve'")
        assert audited == [(OTTO,)]

    def test_failed_lets_another_gateway_be_asked(self, gateways: Gateways, unknown: Payment) -> None:
        assert self.resolve(gateways, unknown, Outcome.FAILED).state is PaymentState.FAILED

        assert gateways.authorise().state is PaymentState.AUTHORISED
        assert legs(gateways, unknown)[-1].gateway == "beta"

    @pytest.mark.parametrize("kind", [FactKind.AUTHORISED, FactKind.AUTHORISATION_PENDING, FactKind.REQUIRES_ACTION])
    @pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.REFUSED])
    def test_a_gateway_that_has_it_after_all_is_the_only_one(
        self, gateways: Gateways, unknown: Payment, outcome: Outcome, kind: FactKind
    ) -> None:
        """A person said too early that it had no effect: another gateway would charge it a second time."""
        self.resolve(gateways, unknown, outcome)
        report(gateways.store, fact(kind, "auth_1", payment_ref="pay_alpha_authorise_1", reference=unknown.reference))

        gateways.authorise()

        assert [(leg.gateway, leg.outcome) for leg in legs(gateways, unknown)] == [("alpha", Outcome.DONE)]
        assert gateways.effects() == 1

    @pytest.mark.parametrize("order", list(permutations((FactKind.AUTHORISATION_FAILED, FactKind.AUTHORISED))))
    def test_what_failed_and_then_succeeded_is_authorised_in_any_order(
        self, gateways: Gateways, unknown: Payment, order: tuple[FactKind, ...]
    ) -> None:
        """The customer paid the same payment with another card. Called declined, it would be paid a second time."""
        for kind in order:
            report(gateways.store, fact(kind, reference=unknown.reference))

        assert legs(gateways, unknown)[0].outcome is Outcome.DONE
        assert service.show(gateways.store, unknown.payment_id).state is PaymentState.AUTHORISED
        assert gateways.capture(unknown).outcome is Outcome.DONE

    def test_a_reference_of_another_payment_is_refused(self, gateways: Gateways, unknown: Payment) -> None:
        """Two payments with one authorisation: one of them was not charged."""
        integrations.pause(gateways.store, "beta", actor=OTTO)
        other = gateways.authorise("order-2")
        (leg,) = legs(gateways, other)
        assert leg.gateway == "alpha"

        with pytest.raises(Conflict, match=other.payment_id):
            self.resolve(gateways, unknown, Outcome.DONE, leg.payment_ref)
        assert service.show(gateways.store, unknown.payment_id).is_unresolved

    @pytest.mark.parametrize(("ref", "is_taken"), [("ch_1", True), ("pi_1", False)])
    def test_a_reference_has_the_form_of_the_gateways_events(
        self, gateways: Gateways, monkeypatch: pytest.MonkeyPatch, ref: str, *, is_taken: bool
    ) -> None:
        """With the payment's reference, the capture and its event would be two captures, and twice the money given back."""
        declared = msgspec.structs.replace(accounts.manifests()["alpha"].actions["capture"], names_effect="^ch_.+$")
        monkeypatch.setitem(accounts.manifests()["alpha"].actions, "capture", declared)  # type: ignore[arg-type]
        payment = gateways.authorise()
        gateways.fault("alpha", *[{"reset": "after"}] * 2)
        lost = gateways.capture(payment, 4_000)

        if is_taken:
            self.resolve(gateways, payment, Outcome.DONE, ref)
        else:
            with pytest.raises(BadRequest, match="Give the one that names it"):
                self.resolve(gateways, payment, Outcome.DONE, ref)
        report(gateways.store, fact(FactKind.CAPTURED, "ch_1", 4_000, payment_ref=lost.payment_ref))

        with gateways.store.transaction() as work:
            assert amounts_of(repository.facts_of(work, payment.payment_id)).captured_minor == 4_000

    def test_done_needs_a_reference(self, gateways: Gateways, unknown: Payment) -> None:
        with pytest.raises(BadRequest, match="reference"):
            self.resolve(gateways, unknown, Outcome.DONE)

    def test_what_is_known_is_not_overruled(self, gateways: Gateways) -> None:
        payment = gateways.authorise()

        with pytest.raises(Conflict, match="done, not unknown"):
            self.resolve(gateways, payment, Outcome.FAILED)
