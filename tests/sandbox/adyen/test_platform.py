"""The simulated Adyen: keys that are answered once, a ledger of what happened, webhooks as they are asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from crossdock.sandbox.__main__ import open_system
from crossdock.sandbox.adyen.platform import FakeAdyen
from crossdock.sandbox.adyen.stored_methods import SHOPPER, STORED_METHODS
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.test_client import HttpResponse, TestClient

AMOUNT = {"value": 1999, "currency": "EUR"}


class Merchant(TestClient):
    """Sends what a merchant sends."""

    def pay(self, method: str = "stored_authorised", key: str | None = None, **changed: Any) -> HttpResponse:
        body = {
            "merchantAccount": "SandboxECOM",
            "amount": AMOUNT,
            "reference": "order-1",
            "paymentMethod": {"type": "scheme", "storedPaymentMethodId": method},
            "shopperReference": SHOPPER,
            "returnUrl": "https://shop.example.com",
            "additionalData": {"manualCapture": "true"},
            **changed,
        }
        return self.post("/v71/payments", {name: value for name, value in body.items() if value is not None}, key)

    def modify(self, payment: str, kind: str, key: str | None = None, **fields: Any) -> HttpResponse:
        return self.post(f"/v71/payments/{payment}/{kind}", {"merchantAccount": "SandboxECOM", **fields}, key)

    def post(self, path: str, body: Any, key: str | None = None) -> HttpResponse:
        return self.call("POST", path, body=body, headers={"Idempotency-Key": key} if key else {})

    def steer(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.call(method, f"/_sandbox/{path}", body=body)
        assert answer.status == 200, answer.body
        return answer.json

    def default_headers(self) -> dict[str, str]:
        return {"x-API-key": "sandbox"}

    def happened(self) -> list[str]:
        return [entry["kind"] for entry in self.steer("GET", "ledger")["entries"]]

    def told(self) -> list[tuple[str, str]]:
        items = [sending["item"] for sending in self.steer("GET", "webhooks")["items"]]
        return [(item["eventCode"], item["success"]) for item in items]


@pytest.fixture
def adyen() -> Iterator[FakeAdyen]:
    with FakeAdyen(seed=3) as platform:
        yield platform


@pytest.fixture
def merchant(adyen: FakeAdyen) -> Merchant:
    return Merchant(adyen.port)


class TestKeys:
    def test_a_key_is_answered_once_and_its_answer_names_it(self, merchant: Merchant) -> None:
        first, again = merchant.pay(key="k-1"), merchant.pay(key="k-1")

        assert (first.status, first.json) == (again.status, again.json)
        assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"] == "k-1"
        assert merchant.happened() == ["authorised"]

    def test_refusals_are_answered_once_too(self, merchant: Merchant) -> None:
        assert merchant.pay(key="k-1", reference=None).status == 422
        assert merchant.pay(key="k-1").json["errorCode"] == "130"
        assert merchant.happened() == []

    def test_keys_are_of_the_account_not_of_a_path(self, merchant: Merchant) -> None:
        """Also at the vendor: who uses one for two effects gets the first answer twice."""
        paid = merchant.pay(key="k-1").json

        assert merchant.modify(paid["pspReference"], "captures", key="k-1", amount=AMOUNT).json == paid

    def test_without_a_key_each_request_counts(self, merchant: Merchant) -> None:
        merchant.pay()
        merchant.pay()

        assert merchant.happened() == ["authorised", "authorised"]

    def test_a_key_has_at_most_64_characters(self, merchant: Merchant) -> None:
        assert merchant.pay(key="k" * 64).status == 200
        assert merchant.pay(key="k" * 65).status == 422

    def test_while_the_first_request_is_at_work_the_second_is_told_to_come_again(self) -> None:
        with SlowAdyen() as platform:
            merchant, answers = Merchant(platform.port), []
            first = threading.Thread(target=lambda: answers.append(merchant.pay(key="k-1")))
            first.start()
            assert platform.entered.wait(30)
            second = merchant.pay(key="k-1")
            platform.go_on.set()
            first.join(30)

        assert (second.status, second.json["errorCode"], second.headers["transient-error"]) == (409, "704", "true")
        assert (answers[0].status, len(platform.state.ledger)) == (200, 1)


class SlowAdyen(FakeAdyen):
    """Holds a payment until the test says to go on."""

    def __init__(self) -> None:
        self.entered, self.go_on = threading.Event(), threading.Event()
        super().__init__()

    def _answer_of(self, request: Request) -> Response:
        self.entered.set()
        assert self.go_on.wait(30)
        return super()._answer_of(request)


@pytest.mark.parametrize("method", STORED_METHODS)
def test_each_stored_method_ends_as_its_name_says(merchant: Merchant, method: str) -> None:
    paid = merchant.pay(method)

    assert (paid.status, paid.json["resultCode"]) == (200, STORED_METHODS[method].result_code)
    assert merchant.happened() == (["authorised"] if paid.json["resultCode"] == "Authorised" else [])


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"merchantAccount": "AnotherECOM"}, 403, "901"),
        ({"amount": None}, 422, "100"),
        ({"amount": {"value": 0, "currency": "EUR"}}, 422, "137"),
        ({"amount": {"value": 1.5, "currency": "EUR"}}, 422, "137"),
        ({"amount": {"value": 1, "currency": "Euro"}}, 422, "138"),
        ({"reference": None}, 422, "130"),
        ({"returnUrl": None}, 422, "14_030"),
        ({"shopperReference": None}, 422, "803"),
        ({"paymentMethod": {"type": "scheme", "storedPaymentMethodId": "stored_nowhere"}}, 422, "803"),
        ({"paymentMethod": {"type": "scheme", "number": "4111"}}, 422, "702"),
        ({"additionalData": None}, 422, "702"),
        ({"colour": "red"}, 422, "702"),
    ],
)
def test_a_payment_that_is_not_valid_is_refused_in_the_vendors_form(
    merchant: Merchant, changed: dict[str, Any], status: int, code: str
) -> None:
    refused = merchant.pay(**changed)

    assert (refused.status, refused.json["status"], refused.json["errorCode"]) == (status, status, code)
    assert refused.json.keys() == {"status", "errorCode", "message", "errorType"}
    assert merchant.happened() == []


def test_without_its_key_nothing_is_answered(merchant: Merchant) -> None:
    refused = merchant.call("POST", "/v71/payments", body={}, headers={"x-API-key": "guess"})

    assert (refused.status, refused.json["errorType"]) == (401, "security")
    assert merchant.post("/v70/payments", {}).status == merchant.call("GET", "/v71/payments/1").status == 404


class TestOperations:
    @pytest.fixture
    def paid(self, merchant: Merchant) -> str:
        return str(merchant.pay().json["pspReference"])

    def test_parts_are_captured_up_to_the_whole(self, merchant: Merchant, paid: str) -> None:
        for value in (1000, 999, 1):
            assert (
                merchant.modify(paid, "captures", amount={"value": value, "currency": "EUR"}).json["status"]
                == "received"
            )

        assert merchant.happened() == ["authorised", "captured", "captured"]
        assert merchant.told()[1:] == [("CAPTURE", "true"), ("CAPTURE", "true"), ("CAPTURE", "false")]

    def test_what_is_captured_is_not_cancelled_but_refunded_once(self, merchant: Merchant, paid: str) -> None:
        merchant.modify(paid, "captures", amount=AMOUNT)
        merchant.modify(paid, "cancels")
        merchant.modify(paid, "refunds", amount=AMOUNT)
        merchant.modify(paid, "refunds", amount=AMOUNT)

        assert merchant.happened() == ["authorised", "captured", "refunded"]
        assert merchant.told()[2:] == [("CANCELLATION", "false"), ("REFUND", "true"), ("REFUND", "false")]

    def test_what_is_cancelled_is_not_captured(self, merchant: Merchant, paid: str) -> None:
        merchant.modify(paid, "cancels")
        merchant.modify(paid, "captures", amount=AMOUNT)

        assert merchant.happened() == ["authorised", "voided"]

    def test_another_currency_and_another_payment_are_refused(self, merchant: Merchant, paid: str) -> None:
        assert merchant.modify(paid, "captures", amount={"value": 1, "currency": "USD"}).json["errorCode"] == "138"
        assert merchant.modify("NOSUCHPAYMENT123", "cancels").json["errorCode"] == "167"

    def test_a_capture_fails_later_on_demand_once(self, merchant: Merchant, paid: str) -> None:
        operation = merchant.modify(paid, "captures", amount=AMOUNT).json["pspReference"]

        assert merchant.steer("POST", "failures", {"operation": operation}) == {"payment": paid}
        assert merchant.call("POST", "/_sandbox/failures", body={"operation": operation}).status == 422
        assert merchant.told()[-1] == ("CAPTURE_FAILED", "true")
        assert merchant.steer("GET", "ledger")["payments"][0]["captured"] == 0

    @pytest.mark.parametrize(("success", "state"), [(True, "authorised"), (False, "refused")])
    def test_a_payment_that_waits_ends_on_demand(self, merchant: Merchant, state: str, *, success: bool) -> None:
        waiting = merchant.pay("stored_redirect").json["pspReference"]
        assert merchant.told() == []

        assert merchant.steer("POST", "outcomes", {"payment": waiting, "success": success}) == {"state": state}
        assert merchant.told() == [("AUTHORISATION", "true" if success else "false")]

    def test_a_dispute_has_its_stages_on_demand(self, merchant: Merchant, paid: str) -> None:
        merchant.modify(paid, "captures", amount=AMOUNT)
        dispute = merchant.steer("POST", "disputes", {"payment": paid})["dispute"]
        merchant.steer("POST", "disputes", {"payment": paid, "stage": "CHARGEBACK_REVERSED", "dispute": dispute})

        assert merchant.happened()[2:] == ["chargeback", "chargeback_reversed"]
        assert merchant.call("POST", "/_sandbox/disputes", body={"payment": paid, "stage": "LOST"}).status == 422


class Receiver:
    """A web server that keeps what it was sent, and answers with the statuses that it is given."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        keep = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(keep.statuses.pop(0) if keep.statuses else 202)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    opened = Receiver()
    thread = threading.Thread(target=opened.server.serve_forever, args=(0.02,))
    thread.start()
    yield opened
    opened.server.shutdown()
    thread.join(30)
    opened.server.server_close()


class TestWebhooks:
    def test_they_are_held_until_there_is_a_url_and_released_in_any_order_together(
        self, merchant: Merchant, receiver: Receiver
    ) -> None:
        merchant.pay(reference="order-1")
        merchant.pay(reference="order-2")
        merchant.steer("PUT", "webhooks", {"url": receiver.url, "hold": True})

        assert merchant.steer("POST", "webhooks", {"newest_first": True, "together": True}) == {"items": 2}
        (body,) = receiver.bodies
        assert body.index(b"order-2") < body.index(b"order-1")
        assert merchant.steer("POST", "webhooks", {}) == {"items": 0}

    def test_what_is_refused_is_sent_again(self, merchant: Merchant, receiver: Receiver) -> None:
        receiver.statuses = [503, 500]
        merchant.pay()
        merchant.steer("PUT", "webhooks", {"url": receiver.url})
        merchant.steer("POST", "webhooks", {})

        (sending,) = merchant.steer("GET", "webhooks")["items"]
        assert (sending["status"], sending["tries"], len(set(receiver.bodies))) == ("sent", 3, 1)

    def test_what_is_lost_is_never_sent(self, merchant: Merchant, receiver: Receiver) -> None:
        merchant.steer("PUT", "webhooks", {"url": receiver.url, "lose": 1, "hold": True})
        merchant.pay(reference="order-1")
        merchant.pay(reference="order-2")
        merchant.steer("POST", "webhooks", {})

        assert [sending["status"] for sending in merchant.steer("GET", "webhooks")["items"]] == ["lost", "sent"]
        assert len(receiver.bodies) == 1

    @pytest.mark.parametrize("wrong", [{"url": "file:///etc/passwd"}, {"lose": -1}, {"hold": 1}, {"colour": "red"}])
    def test_settings_that_mean_nothing_are_refused(self, merchant: Merchant, wrong: dict[str, Any]) -> None:
        assert merchant.call("PUT", "/_sandbox/webhooks", body=wrong).status == 400


def test_the_command_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SANDBOX_ADYEN_API_KEY", "another")
    with open_system(["--system", "adyen", "--port", "0", "--merchant-account", "ShopECOM"]) as platform:
        assert isinstance(platform, FakeAdyen)
        merchant = Merchant(platform.port)
        assert merchant.pay().status == 401
        assert merchant.steer("GET", "")["payments"] == 0

    monkeypatch.setenv("SANDBOX_ADYEN_HMAC_KEY", "no key")
    with pytest.raises(SystemExit):
        open_system(["--system", "adyen", "--port", "0"])


def test_a_fault_at_work_has_its_effect(merchant: Merchant) -> None:
    merchant.script("payments", {"at_work": 422})

    assert merchant.pay(key="k-1").status == 422
    assert merchant.pay(key="k-1").status == 200
    assert merchant.happened() == ["authorised"]
