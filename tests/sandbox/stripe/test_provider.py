"""The simulated payment provider: idempotency keys as the vendor's, its test payment methods, its lists and its ledger."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from crossdock.sandbox.engine.test_client import HttpResponse, TestClient
from crossdock.sandbox.stripe.payment_methods import PAYMENT_METHODS
from crossdock.sandbox.stripe.provider import FakeStripe

DECLINED = [name for name, method in PAYMENT_METHODS.items() if method.error]


class Account:
    """A client of the provider's API, and of its control API."""

    def __init__(self, provider: FakeStripe) -> None:
        self.provider = provider
        self._client, self._key = TestClient(provider.port), provider.key

    def post(self, path: str, key: str | None = None, **form: Any) -> HttpResponse:
        headers = {"authorization": f"Bearer {self._key}", **({"idempotency-key": key} if key else {})}
        return self._client.call("POST", f"/v1/{path}", body=urlencode(form), headers=headers)

    def get(self, path: str, **query: Any) -> HttpResponse:
        headers = {"authorization": f"Bearer {self._key}"}
        return self._client.call("GET", f"/v1/{path}", list(query.items()), headers=headers)

    def pay(self, method: str = "pm_card_visa", key: str | None = None, **more: Any) -> HttpResponse:
        form = {
            "amount": 1999,
            "currency": "eur",
            "payment_method": method,
            "confirm": "true",
            "capture_method": "manual",
            "automatic_payment_methods[enabled]": "true",
            "automatic_payment_methods[allow_redirects]": "never",
        }
        return self.post("payment_intents", key, **form | more)

    def paid(self, method: str = "pm_card_visa") -> dict[str, Any]:
        answer = self.pay(method)
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json
        return found

    def control(self, method: str, path: str, body: Any = None) -> Any:
        return self._client.call(method, f"/_sandbox/{path}", body=body).json

    def script(self, route: str, *faults: Any) -> None:
        assert self._client.script(route, *faults).status == 200

    @property
    def moved(self) -> list[tuple[str, int]]:
        return [(move["kind"], move["amount"]) for move in self.control("GET", "ledger")["movements"]]


@pytest.fixture
def account() -> Iterator[Account]:
    with FakeStripe(key="sk_test_t0ken", seed=3) as provider:
        yield Account(provider)


class TestIdempotencyKeys:
    def test_the_first_answer_comes_again(self, account: Account) -> None:
        first, again = account.pay(key="k"), account.pay(key="k")

        assert again.body == first.body
        assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
        assert account.moved == [("authorised", 1999)]

    def test_a_decline_comes_again(self, account: Account) -> None:
        first, again = (account.pay("pm_card_visa_chargeDeclined", key="k") for _ in range(2))

        assert (first.status, again.status, again.body == first.body) == (402, 402, True)

    @pytest.mark.parametrize(("moment", "moved"), [("before", []), ("after", [("authorised", 1999)])])
    def test_the_providers_own_error_comes_again_whatever_became_of_the_effect(
        self, account: Account, moment: str, moved: list[Any]
    ) -> None:
        """So a repetition does not resolve it."""
        account.script("create_payment_intent", {"fails": moment})

        assert [account.pay(key="k").status for _ in range(3)] == [500, 500, 500]
        assert account.moved == moved

    def test_an_error_in_front_of_the_provider_keeps_nothing(self, account: Account) -> None:
        account.script("create_payment_intent", {"status": 500})

        assert [account.pay(key="k").status for _ in range(2)] == [500, 200]

    @pytest.mark.parametrize("wrong", [{"amount": "x"}, {"currency": "e"}, {"colour": "red"}])
    def test_what_is_not_valid_keeps_nothing(self, account: Account, wrong: dict[str, Any]) -> None:
        assert account.pay(key="k", **wrong).status == 400
        assert account.pay(key="k").status == 200

    def test_other_parameters_with_the_key_are_refused(self, account: Account) -> None:
        account.pay(key="k")
        refused = account.pay(key="k", amount=1)

        assert (refused.status, refused.json["error"]["type"]) == (400, "idempotency_error")
        assert account.moved == [("authorised", 1999)]

    def test_another_route_with_the_key_is_refused(self, account: Account) -> None:
        intent = account.pay(key="k").json
        refused = account.post(f"payment_intents/{intent['id']}/capture", "k")

        assert (refused.status, refused.json["error"]["type"]) == (400, "idempotency_error")

    def test_a_key_that_is_at_work_is_a_conflict(self, account: Account) -> None:
        account.script("create_payment_intent", {"busy_s": 3.0})
        first = threading.Thread(target=account.pay, kwargs={"key": "k"})
        first.start()
        while "k" not in account.provider.keys._kept:
            threading.Event().wait(0.01)

        second = account.pay(key="k")
        first.join()

        assert (second.status, second.json["error"]["code"]) == (409, "idempotency_key_in_use")
        assert account.moved == [("authorised", 1999)]

    def test_a_forgotten_key_is_a_new_one(self, account: Account) -> None:
        """As after a day."""
        account.pay(key="k")

        assert account.control("POST", "forget_keys") == {"forgotten": 1}
        account.pay(key="k")
        assert account.moved == [("authorised", 1999)] * 2

    def test_without_a_key_each_request_is_a_payment(self, account: Account) -> None:
        account.paid()
        account.paid()

        assert account.moved == [("authorised", 1999)] * 2


class TestPayments:
    @pytest.mark.parametrize("method", DECLINED)
    def test_a_declined_test_card_moves_nothing_and_says_why(self, account: Account, method: str) -> None:
        refused = account.pay(method)

        error, card = refused.json["error"], PAYMENT_METHODS[method]
        assert (refused.status, error["type"], error["code"]) == (402, "card_error", card.error)
        assert error.get("decline_code") == card.decline
        assert error["payment_intent"]["status"] == "requires_payment_method"
        assert account.moved == []

    def test_an_authorisation_that_was_captured_in_part_releases_the_rest(self, account: Account) -> None:
        intent = account.paid()
        captured = account.post(f"payment_intents/{intent['id']}/capture", amount_to_capture=1500).json

        assert (captured["status"], captured["amount_received"], captured["amount_capturable"]) == (
            "succeeded",
            1500,
            0,
        )
        charge = account.get(f"charges/{captured['latest_charge']}").json
        assert (charge["amount_captured"], charge["amount_refunded"], charge["refunded"]) == (1500, 499, False)
        assert account.post("refunds", payment_intent=intent["id"], amount=1501).status == 400
        assert account.post("refunds", payment_intent=intent["id"]).json["amount"] == 1500
        assert account.moved == [("authorised", 1999), ("captured", 1500), ("released", 499), ("refunded", 1500)]

    @pytest.mark.parametrize("action", ["capture", "cancel"])
    def test_what_is_over_is_refused(self, account: Account, action: str) -> None:
        intent = account.paid()
        account.post(f"payment_intents/{intent['id']}/cancel")

        refused = account.post(f"payment_intents/{intent['id']}/{action}")

        assert (refused.status, refused.json["error"]["code"]) == (400, "payment_intent_unexpected_state")

    def test_a_payment_that_may_send_the_customer_away_needs_a_way_back(self, account: Account) -> None:
        refused = account.pay(**{"automatic_payment_methods[allow_redirects]": "always"})

        assert (refused.status, refused.json["error"]["param"]) == (400, "return_url")

    @pytest.mark.parametrize(
        ("succeeds", "status", "moved"),
        [(True, "requires_capture", [("authorised", 1999)]), (False, "requires_payment_method", [])],
    )
    def test_the_customer_authenticates_over_the_control_api(
        self, account: Account, succeeds: bool, status: str, moved: list[Any]
    ) -> None:
        intent = account.paid("pm_card_threeDSecure2Required")
        assert intent["status"] == "requires_action"

        account.control("POST", "authenticate", {"payment_intent": intent["id"], "succeeds": succeeds})

        assert account.get(f"payment_intents/{intent['id']}").json["status"] == status
        assert account.moved == moved

    def test_a_dispute_takes_the_money_back_and_a_won_one_returns_it(self, account: Account) -> None:
        intent = account.paid("pm_card_createDispute")
        account.post(f"payment_intents/{intent['id']}/capture")
        (dispute,) = account.control("GET", "ledger")["disputes"]
        account.control("POST", "close_dispute", {"dispute": dispute["id"], "won": True})

        assert account.moved[-2:] == [("charged_back", 1999), ("reinstated", 1999)]

    def test_a_refund_fails_over_the_control_api(self, account: Account) -> None:
        intent = account.paid("pm_card_refundFail")
        account.post(f"payment_intents/{intent['id']}/capture")
        refund = account.post("refunds", payment_intent=intent["id"]).json
        account.control("POST", "end_refund", {"refund": refund["id"]})

        assert account.get(f"refunds/{refund['id']}").json["status"] == "failed"
        assert account.post("refunds", payment_intent=intent["id"]).status == 200


class TestLists:
    def test_a_list_is_read_to_its_end_in_both_directions(self, account: Account) -> None:
        made = [account.paid()["id"] for _ in range(7)][::-1]

        def ids(**query: Any) -> tuple[list[str], bool]:
            page = account.get("payment_intents", limit=3, **query).json
            return [intent["id"] for intent in page["data"]], page["has_more"]

        assert ids() == (made[:3], True)
        assert ids(starting_after=made[2]) == (made[3:6], True)
        assert ids(starting_after=made[5]) == (made[6:], False)
        assert ids(ending_before=made[6]) == (made[3:6], False)

    def test_a_list_begins_at_an_instant(self, account: Account) -> None:
        created = account.paid()["created"]

        assert len(account.get("payment_intents", **{"created[gte]": created}).json["data"]) == 1
        assert account.get("payment_intents", **{"created[gt]": created}).json["data"] == []

    @pytest.mark.parametrize("query", [{"limit": 101}, {"limit": "x"}, {"created[since]": 1}, {"order": "asc"}])
    def test_a_parameter_that_is_not_simulated_is_refused(self, account: Account, query: dict[str, Any]) -> None:
        assert account.get("payment_intents", **query).status == 400


def test_another_key_is_refused(account: Account) -> None:
    account._key = "sk_test_guess"

    refused = account.get("payment_intents")

    assert (refused.status, refused.json["error"]["type"]) == (401, "invalid_request_error")


@pytest.mark.parametrize(
    "path", ["payment_intents/pi_none", "refunds/re_none", "charges/ch_none", "nothing", "events/evt"]
)
def test_what_is_not_there_is_404(account: Account, path: str) -> None:
    assert account.get(path).status == 404


def test_a_parameter_that_names_nothing_is_400(account: Account) -> None:
    """As the vendor answers: the path is found, and one of its parameters is wrong."""
    answers = {
        "payment_method": account.pay(payment_method="pm_none"),
        "payment_intent": account.post("refunds", payment_intent="pi_none"),
        "starting_after": account.get("payment_intents", starting_after="pi_none"),
    }

    for param, answer in answers.items():
        error = answer.json["error"]
        assert (answer.status, error["code"], error["param"]) == (400, "resource_missing", param)


def test_faults_before_and_after_the_effect_meet_each_route(account: Account) -> None:
    account.script("create_payment_intent", {"bad_gateway": "before"}, {"bad_gateway": "after"})
    assert [account.pay().status for _ in range(2)] == [502, 502]
    assert account.moved == [("authorised", 1999)]
