"""The actions of Stripe on the sandbox: what each does, and what a decline, a refusal and a strange answer mean."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.connectors.stripe.client import API_VERSION
from crossdock.integrations.actions.model import Done, Failed, InputInvalid, Refused, RefusedBy
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.stripe.documents import API_VERSION as SANDBOX_VERSION
from crossdock.sandbox.stripe.idempotency import _answered
from crossdock.sandbox.stripe.payment_methods import PAYMENT_METHODS
from crossdock.sandbox.stripe.problems import StripeProblem
from tests.connectors.stripe.cases import CASES, REFERENCE, WRITES
from tests.connectors.stripe.payments import Payments

KIND = manifests()["stripe"]
each_action = pytest.mark.parametrize("payments", CASES, indirect=True)
after_authorise = pytest.mark.parametrize("payments", ["capture"], indirect=True)
after_capture = pytest.mark.parametrize("payments", ["refund"], indirect=True)


def output_of(ended: Any) -> dict[str, Any]:
    assert isinstance(ended, Done), ended
    assert ended.output is not None
    return dict(ended.output)


def test_each_action_has_a_case_here() -> None:
    assert set(CASES) == set(KIND.actions)


def test_the_sandbox_has_the_version_of_the_api_that_the_connector_names() -> None:
    assert API_VERSION == SANDBOX_VERSION


@each_action
def test_an_action_does_what_it_says(payments: Payments) -> None:
    output = output_of(payments.perform())

    assert payments.effects == list(payments.case.moves)
    if payments.name in WRITES:
        assert payments.attempt() == (Outcome.DONE, None)
        assert output["state"] in {"authorised", "done"}


class TestAuthorise:
    def test_the_provider_shows_our_references_beside_the_effect(self, payments: Payments) -> None:
        """A person who looks there finds the order, and a lost payment is found by it; nothing personal is sent."""
        output_of(payments.perform(given=payments.given | {"customer_reference": "c-17"}))

        (intent,) = payments.provider.state.intents.values()
        assert intent["metadata"] == {"crossdock_reference": REFERENCE, "crossdock_customer_reference": "c-17"}
        assert intent["capture_method"] == "manual"

    @pytest.mark.parametrize(
        ("currency", "minor", "at_stripe"), [("JPY", 500, 500), ("ISK", 5, 500), ("MGA", 500, 5), ("KWD", 5120, 5120)]
    )
    def test_the_amount_is_what_the_provider_takes_and_comes_back_in_our_units(
        self, payments: Payments, currency: str, minor: int, at_stripe: int
    ) -> None:
        output = output_of(payments.perform(given=payments.given | {"currency": currency, "amount_minor": minor}))

        assert payments.effects == [("authorised", at_stripe)]
        assert (output["amount_minor"], output["currency"]) == (minor, currency)

    def test_an_amount_that_the_provider_does_not_have_is_refused_before_anything_is_sent(
        self, payments: Payments
    ) -> None:
        with pytest.raises(InputInvalid, match="steps of 10 minor units"):
            payments.perform(given=payments.given | {"currency": "KWD", "amount_minor": 5124})
        assert payments.sent == 0

    @pytest.mark.parametrize("return_url", ["https://shop.example/back", None])
    def test_where_the_customer_has_to_act_the_link_is_passed_on(
        self, payments: Payments, return_url: str | None
    ) -> None:
        """Without a URL to come back to, the provider leaves it to its own script: there is no link."""
        given = payments.given | {"payment_method": "pm_card_threeDSecure2Required"}
        output = output_of(payments.perform(given=given | ({"return_url": return_url} if return_url else {})))

        assert output["state"] == "requires_action"
        link = f"{payments.provider.url}/3d_secure/{output['payment_ref']}"
        assert output["next_action_url"] == (link if return_url else None)
        assert payments.effects == []

        payments.provider.state.authenticate(output["payment_ref"], succeeds=True)
        assert payments.effects == [("authorised", 1999)]


class TestFinish:
    @pytest.fixture
    def waiting(self, payments: Payments) -> str:
        given = CASES["authorise"].given("") | {"payment_method": "pm_card_threeDSecure2Required"}
        return str(output_of(payments.perform("authorise", given, key="before"))["payment_ref"])

    @pytest.mark.parametrize("payments", ["authorise"], indirect=True)
    def test_it_reads_what_came_of_the_customers_action(self, payments: Payments, waiting: str) -> None:
        """The provider's page has confirmed it: to confirm it again would be refused."""
        given = {"payment_ref": waiting, "details": {}}
        before = output_of(payments.perform("finish", given))
        payments.provider.state.authenticate(waiting, succeeds=True)
        after = output_of(payments.perform("finish", given))

        assert (before["state"], after["state"], after["amount_minor"]) == ("requires_action", "authorised", 1999)

    @pytest.mark.parametrize("payments", ["authorise"], indirect=True)
    def test_a_customer_who_failed_is_declined(self, payments: Payments, waiting: str) -> None:
        payments.provider.state.authenticate(waiting, succeeds=False)

        ended = payments.perform("finish", {"payment_ref": waiting, "details": {}})

        assert isinstance(ended, Refused)
        assert (ended.by, ended.code) == (RefusedBy.DECISION, "payment_intent_authentication_failure")


DECLINES = {
    "pm_card_visa_chargeDeclined": ("generic_decline", False),
    "pm_card_visa_chargeDeclinedInsufficientFunds": ("insufficient_funds", False),
    "pm_card_visa_chargeDeclinedLostCard": ("lost_card", False),
    "pm_card_visa_chargeDeclinedStolenCard": ("stolen_card", False),
    "pm_card_radarBlock": ("fraudulent", False),
    "pm_card_visa_chargeDeclinedVelocityLimitExceeded": ("card_velocity_exceeded", False),
    "pm_card_visa_chargeDeclinedDoNotHonor": ("do_not_honor", False),
    "pm_card_visa_chargeDeclinedIssuerNotAvailable": ("issuer_not_available", True),
    "pm_card_chargeDeclinedExpiredCard": ("expired_card", False),
    "pm_card_chargeDeclinedIncorrectCvc": ("incorrect_cvc", False),
    "pm_card_chargeDeclinedProcessingError": ("processing_error", True),
}


class TestDeclines:
    @pytest.mark.parametrize("method", DECLINES)
    def test_a_decline_is_the_providers_decision_with_its_own_word(self, payments: Payments, method: str) -> None:
        """Another provider is asked only where nobody decided about the customer."""
        code, try_other = DECLINES[method]

        ended = payments.perform(given=payments.given | {"payment_method": method})

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by, ended.code) == (402, RefusedBy.DECISION, code)
        assert ended.try_other is try_other
        assert PAYMENT_METHODS[method].message in ended.message
        assert (payments.effects, payments.attempt()[0]) == ([], Outcome.REFUSED)

    def test_a_payment_method_that_the_account_does_not_have_is_wrong_for_this_payment_alone(
        self, payments: Payments
    ) -> None:
        """Taken for a trouble of the account, it would be tried again for half an hour. A token is of one vault: another may have it."""
        ended = payments.perform(given=payments.given | {"payment_method": "pm_of_another_account"})

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by, ended.code) == (400, RefusedBy.DECISION, "resource_missing")
        assert ended.try_other
        assert "No such PaymentMethod: 'pm_of_another_account'" in ended.message
        assert (payments.effects, payments.attempt()[0]) == ([], Outcome.REFUSED)

    @pytest.mark.parametrize("lost", [{"timeout": "after"}, {"reset": "after"}, {"bad_gateway": "after"}])
    def test_a_decline_whose_answer_was_lost_is_known_by_its_key(self, payments: Payments, lost: Any) -> None:
        """The provider repeats it: the payment certainly has no effect."""
        payments.fault(lost)

        ended = payments.perform(given=payments.given | {"payment_method": "pm_card_visa_chargeDeclined"})

        assert isinstance(ended, Refused)
        assert ended.by is RefusedBy.DECISION
        assert len(payments.provider.state.intents) == 1

    @after_authorise
    def test_the_state_of_the_payment_is_a_decision_about_it(self, payments: Payments) -> None:
        output_of(payments.perform("void", CASES["void"].given(payments.payment_ref), key="void-1"))

        ended = payments.perform()

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by, ended.code) == (400, RefusedBy.DECISION, "payment_intent_unexpected_state")
        assert not ended.try_other

    @pytest.mark.parametrize("payments", ["void"], indirect=True)
    def test_a_captured_payment_cannot_be_voided_and_that_is_a_decision(self, payments: Payments) -> None:
        output_of(payments.perform("capture", CASES["capture"].given(payments.payment_ref), key="capture-1"))

        ended = payments.perform()

        assert isinstance(ended, Refused)
        assert (ended.by, ended.code) == (RefusedBy.DECISION, "payment_intent_unexpected_state")

    @pytest.mark.parametrize("payments", ["capture", "void"], indirect=True)
    def test_the_state_that_the_effect_itself_brings_about_is_no_decision(self, payments: Payments) -> None:
        """An earlier request of ours may have brought it about, so it must not count as without effect."""
        output_of(payments.perform())

        ended = payments.perform(key="effect-2")

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by) == (400, RefusedBy.US)

    @pytest.mark.parametrize("payments", ["capture", "void"], indirect=True)
    def test_a_provider_that_has_lost_the_key_does_not_make_a_done_effect_undone(self, payments: Payments) -> None:
        """The repetition is refused for what the first request did; the payment shows that it is done."""
        payments.fault({"reset": "after"})
        payments.provider.keys.answer = lambda _key, _request, process: _answered(process)[0]  # type: ignore[method-assign]

        assert isinstance(payments.perform(), Done)
        assert payments.effects == list(payments.case.moves)

    @after_capture
    def test_more_than_is_left_is_refused(self, payments: Payments) -> None:
        output_of(payments.perform(given=payments.given | {"amount_minor": 1999}))

        ended = payments.perform(key="effect-2")

        assert isinstance(ended, Refused)
        assert "has already been refunded" in ended.message


class TestRefusals:
    @pytest.mark.parametrize(("status", "try_other"), [(400, False), (401, True), (403, True), (404, True)])
    def test_a_refusal_that_is_no_decision_is_ours(self, payments: Payments, status: int, try_other: bool) -> None:
        """What is about the account says nothing of the payment, so another provider may take it."""
        payments.fault({"status": status})

        ended = payments.perform()

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by, ended.code, ended.try_other) == (status, RefusedBy.US, None, try_other)
        assert f"A fault script set the status {status}" in ended.message

    def test_a_402_of_something_else_than_the_provider_is_no_decision(self, payments: Payments) -> None:
        """A proxy's, or that of another kind of error."""
        payments.fault({"status": 402})

        ended = payments.perform()

        assert isinstance(ended, Refused)
        assert ended.by is RefusedBy.US

    def test_no_message_shows_the_secret_key(self, payments: Payments) -> None:
        """Some systems repeat the credentials that they refuse."""
        message = f"Invalid API Key provided: {payments.provider.key}"
        payments.provider.problem_of = lambda status: StripeProblem(status, "invalid_request_error", message)  # type: ignore[method-assign]
        payments.fault({"status": 401})

        refused = payments.perform()

        assert isinstance(refused, Refused)
        assert "Invalid API Key provided: [hidden]" in refused.message


class TestCaptureAndVoid:
    @after_authorise
    def test_a_part_is_captured_and_the_rest_released(self, payments: Payments) -> None:
        output = output_of(payments.perform(given=payments.given | {"amount_minor": 500}))

        assert payments.effects == [("captured", 500), ("released", 1499)]
        assert (output["amount_minor"], output["state"]) == (500, "done")
        assert output["operation_ref"].startswith("ch_")
        found = output_of(payments.perform("get_payment", {"payment_ref": payments.payment_ref}))
        assert (found["authorised_minor"], found["captured_minor"], found["refunded_minor"]) == (0, 500, 0)
        assert (found["capture_ref"], found["capture_reference"]) == (output["operation_ref"], REFERENCE)

    @after_authorise
    def test_more_than_is_authorised_is_refused(self, payments: Payments) -> None:
        ended = payments.perform(given=payments.given | {"amount_minor": 2000})

        assert isinstance(ended, Refused)
        assert (ended.status, ended.by) == (400, RefusedBy.US)
        assert payments.effects == []


class TestRefund:
    @after_capture
    def test_parts_are_given_back_until_nothing_is_left(self, payments: Payments) -> None:
        for number, amount in enumerate((500, 1499), start=1):
            given = payments.given | {"amount_minor": amount, "reference": f"return-{number}"}
            output_of(payments.perform(given=given, key=f"return-{number}"))

        assert payments.effects == [("refunded", 500), ("refunded", 1499)]
        refunds = output_of(payments.perform("get_refunds", {"payment_ref": payments.payment_ref}))["refunds"]
        assert [(refund["amount_minor"], refund["reference"]) for refund in refunds] == [
            (1499, "return-2"),
            (500, "return-1"),
        ]

    @after_capture
    def test_a_refund_that_is_on_its_way_is_pending(self, payments: Payments) -> None:
        """An event says later what became of it."""
        (charge,) = payments.provider.state.charges.values()
        charge["payment_method"] = "pm_card_pendingRefund"

        assert output_of(payments.perform())["state"] == "pending"


class TestFindPayment:
    def find(self, payments: Payments, reference: str = REFERENCE) -> dict[str, Any]:
        since = datetime.now(UTC) - timedelta(minutes=5)
        given = {"reference": reference, "since": f"{since:%Y-%m-%dT%H:%M:%SZ}"}
        return output_of(payments.perform("find_payment", given))

    def test_a_payment_is_found_on_whichever_page_it_is(self, payments: Payments) -> None:
        """By a list, which is up to date at once: the provider's search lags."""
        payments.perform()
        for number in range(250):
            payments.provider.state.create_intent(
                {"amount": 1, "currency": "eur", "metadata": {"crossdock_reference": f"other-{number}"}}
            )
        payments.provider.requests.clear()

        found = self.find(payments)

        assert (found["found"], found["state"], found["authorised_minor"]) == (True, "authorised", 1999)
        assert (found["amount_minor"], found["currency"]) == (1999, "EUR")
        assert len(payments.provider.requests) == 3

    def test_nothing_is_found_as_nothing(self, payments: Payments) -> None:
        found = self.find(payments)

        assert (found["found"], found["payment_ref"], found["state"]) == (False, None, None)

    def test_the_one_that_holds_money_counts_and_not_the_declined_one(self, payments: Payments) -> None:
        declined = payments.given | {"payment_method": "pm_card_visa_chargeDeclined"}
        done = output_of(payments.perform())
        assert isinstance(payments.perform(given=declined, key="effect-2"), Refused)

        assert self.find(payments)["payment_ref"] == done["payment_ref"]

    def test_a_declined_one_is_found_as_declined(self, payments: Payments) -> None:
        payments.perform(given=payments.given | {"payment_method": "pm_card_visa_chargeDeclined"})

        assert self.find(payments)["state"] == "declined"

    def test_two_that_hold_money_are_for_a_person(self, payments: Payments) -> None:
        """To choose one would hide that the customer pays twice."""
        payments.perform()
        payments.perform(key="effect-2")

        ended = payments.perform("find_payment", {"reference": REFERENCE, "since": "2026-01-01T00:00:00Z"})

        assert isinstance(ended, Refused)
        assert "several payments have the reference" in ended.message

    def test_a_list_that_never_ends_is_an_error(self, payments: Payments) -> None:
        """A provider that says that there is more, and gives nothing, would be asked for ever."""
        payments.perform()
        payments.provider._routes._page = lambda *_: {"object": "list", "has_more": True, "data": []}  # type: ignore[method-assign]

        ended = payments.perform("find_payment", {"reference": REFERENCE, "since": "2026-01-01T00:00:00Z"})

        assert isinstance(ended, Failed)
        assert "does not" in ended.message

    def test_what_was_given_back_is_seen(self, payments: Payments) -> None:
        ref = output_of(payments.perform())["payment_ref"]
        money = {"payment_ref": ref, "reference": REFERENCE, "currency": "EUR"}
        output_of(payments.perform("capture", money | {"amount_minor": 1500}, key="c"))
        output_of(payments.perform("refund", money | {"amount_minor": 400}, key="r"))

        found = self.find(payments)
        assert (found["state"], found["captured_minor"], found["refunded_minor"]) == ("captured", 1500, 400)
