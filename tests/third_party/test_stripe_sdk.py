"""The vendor's own Python SDK on our simulated Stripe, on what our connector sends, and on signed webhooks."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.connectors.stripe.client import API_VERSION
from crossdock.db.database import Store
from crossdock.events.webhooks_in.rules import WebhookRules
from crossdock.events.webhooks_in.signatures import verify
from crossdock.integrations.actions.model import Done
from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.stripe.forms import read_form
from crossdock.sandbox.stripe.provider import FakeStripe
from crossdock.sandbox.stripe.webhooks import signature
from tests.connectors.stripe.cases import CASES
from tests.connectors.stripe.payments import Payments
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, a minute of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

KEY, SECRET = "sk_test_sandbox", "whsec_test"


def sdk(*arguments: str, given: Any = None) -> Any:
    """Run the SDK's own Python, and return what it says."""
    ended = subprocess.run(
        [str(sdk_python("stripe")), str(HERE / "stripe" / "calls.py"), *arguments],
        env={"PATH": os.defpath, "SANDBOX_STRIPE_KEY": KEY},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the SDK was answered."""
    with FakeStripe(key=KEY) as provider:
        found: dict[str, Any] = sdk("flows", provider.url)
    return found


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("authorised", ["payment_intent", "requires_capture", 1999, 1999, "a"]),
        ("replayed", [True, "true"]),
        ("captured", ["succeeded", 1500, {"order": "a", "capture": "1"}]),
        ("charge", [True, 1500, "visa"]),
        ("refund", ["refund", "succeeded", 400, True]),
        ("retrieved", [True, True]),
        ("refunds", [True]),
        ("canceled", ["canceled", 0]),
        ("asked", ["requires_action", "redirect_to_url", "https://shop.example/back"]),
        ("listed", [3, 3, True]),
        ("expanded", ["NoneType", "Charge", "Charge"]),
        ("event", "payment_intent"),
    ],
)
def test_the_sdk_reads_each_answer_as_its_own_types(answers: dict[str, Any], call: str, expected: Any) -> None:
    assert answers[call] == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("decline", ["CardError", 402, "card_declined", "insufficient_funds"]),
        ("other parameters", ["IdempotencyError", 400, None, None]),
        ("no such payment", ["InvalidRequestError", 404, "resource_missing", None]),
        ("captured twice", ["InvalidRequestError", 400, "payment_intent_unexpected_state", None]),
        ("too much", ["InvalidRequestError", 400, "amount_too_large", None]),
        ("unknown parameter", ["InvalidRequestError", 400, "parameter_unknown", None]),
        ("wrong key", ["AuthenticationError", 401, None, None]),
    ],
)
def test_the_sdk_understands_each_refusal(answers: dict[str, Any], call: str, expected: list[Any]) -> None:
    """By class and code, by which a client decides."""
    assert answers[call] == expected


class RecordingStripe(FakeStripe):
    """Keeps each request and its answer."""

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        response = super().respond(request, route, fault)
        self.last = (request, response)
        return response


@pytest.fixture
def recording() -> Iterator[RecordingStripe]:
    with RecordingStripe(key=KEY) as provider:
        yield provider


def exchange(request: Request, response: Response) -> dict[str, Any]:
    query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
    return {
        "method": request.method,
        "path": request.path,
        "parameters": read_form(request.body.decode() or query),
        "answer": json.loads(response.body),
    }


@pytest.mark.parametrize("name", CASES)
def test_the_vendors_sdk_reads_what_an_action_sends_and_is_answered(
    recording: RecordingStripe, store: Store, name: str
) -> None:
    """Each parameter, each field and each word is one that the SDK's types have, in the version that the request names."""
    assert isinstance(Payments(recording, store, name).perform(), Done)
    request, response = recording.last

    assert recording.route_of(request) == CASES[name].route
    assert request.headers["stripe-version"] == API_VERSION
    assert sdk("judge", given=[exchange(request, response)]) == [[]]


def test_the_judge_finds_what_is_wrong(recording: RecordingStripe, store: Store) -> None:
    """One that accepts everything would pass the test above."""
    assert isinstance(Payments(recording, store).perform(), Done)
    good = exchange(*recording.last)
    wrong = [
        good | {"parameters": good["parameters"] | {"colour": "red"}},
        good | {"parameters": good["parameters"] | {"capture_method": "by hand"}},
        good | {"parameters": good["parameters"] | {"automatic_payment_methods": {"enabled": "true", "allow": "x"}}},
        good | {"answer": good["answer"] | {"colour": "red"}},
        good | {"answer": good["answer"] | {"status": "authorised"}},
        good | {"answer": good["answer"] | {"amount": "1999"}},
        good | {"answer": good["answer"] | {"currency": None}},
    ]

    assert [len(faults) for faults in sdk("judge", given=wrong)] == [1] * len(wrong)


def test_the_sdk_reads_the_charge_the_dispute_and_the_event(recording: RecordingStripe, store: Store) -> None:
    payments = Payments(recording, store)
    given = payments.given | {"payment_method": "pm_card_createDispute"}
    authorised = payments.perform(given=given)
    assert isinstance(authorised, Done)
    assert authorised.output is not None
    payments.perform("capture", CASES["capture"].given(authorised.output["payment_ref"]), key="c")
    state = recording.state

    exchanges = [
        {"method": "GET", "path": f"/v1/{what}/x", "parameters": {}, "answer": next(iter(objects.values()))}
        for what, objects in (("charges", state.charges), ("disputes", state.disputes), ("events", state.events))
    ]
    assert sdk("judge", given=exchanges) == [[], [], []]


def test_the_sdk_verifies_our_signatures_and_we_verify_its_own(recording: RecordingStripe, store: Store) -> None:
    """Both ways, byte for byte; a body with one more blank is a forgery."""
    assert isinstance(Payments(recording, store).perform(), Done)
    bodies = [codec.encode(event) for event in recording.state.events.values()]
    deliveries = [{"body": body.decode(), "signature": signature(SECRET, body, int(time.time()))} for body in bodies]

    said = sdk("verify", SECRET, given=deliveries)

    assert said["types"] == [event["type"] for event in recording.state.events.values()]
    assert said["forgery refused"]
    signed = said["signed"]
    headers = [("Stripe-Signature", signed["signature"])]
    found = verify(WebhookRules(scheme="stripe"), [SECRET], headers, signed["body"].encode(), now_s=time.time()).id
    assert found == "evt_of_the_sdk"
