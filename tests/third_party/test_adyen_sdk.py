"""The vendor's own Python SDK on our simulated Adyen, and on its webhooks: what it cannot read, no real client could."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

import pytest

from crossdock.events.webhooks_in.rules import WebhookRules
from crossdock.events.webhooks_in.signatures import verify
from crossdock.sandbox.adyen.platform import FakeAdyen
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, a minute of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

HMAC_KEY = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def answers() -> dict[str, Any]:
    """What the SDK was answered, and the platform's ledger beside it."""
    python = sdk_python("adyen")
    with FakeAdyen(api_key="t0ken", hmac_key=HMAC_KEY) as platform:
        ended = subprocess.run(
            [str(python), str(HERE / "adyen" / "calls.py"), platform.url, platform.merchant_account],
            env={"PATH": os.defpath, "SANDBOX_ADYEN_API_KEY": "t0ken", "SANDBOX_ADYEN_HMAC_KEY": HMAC_KEY},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        return {**json.loads(ended.stdout), "ledger": platform.state.as_document()["entries"]}


@pytest.mark.parametrize(
    ("method", "result", "code"),
    [
        ("stored_authorised", "Authorised", None),
        ("stored_refused_balance", "Refused", "12"),
        ("stored_refused_fraud", "Refused", "20"),
        ("stored_error", "Error", "4"),
        ("stored_redirect", "RedirectShopper", None),
        ("stored_challenge", "ChallengeShopper", None),
        ("stored_pending", "Pending", None),
    ],
)
def test_the_sdk_reads_each_result_of_a_payment(
    answers: dict[str, Any], method: str, result: str, code: str | None
) -> None:
    message = answers[method]["message"]

    assert (answers[method]["status"], message["resultCode"], message.get("refusalReasonCode")) == (200, result, code)
    assert message.get("pspReference") == answers[method]["psp"]


def test_the_sdk_gets_the_first_answer_for_a_key_that_it_sends_again(answers: dict[str, Any]) -> None:
    assert answers["again"]["message"] == answers["stored_authorised"]["message"]
    assert sum(entry["reference"] == "order-stored_authorised" for entry in answers["ledger"]) == 1


def test_the_sdk_finishes_a_payment_that_waited_for_its_customer(answers: dict[str, Any]) -> None:
    message = answers["finish"]["message"]

    assert (answers["finish"]["status"], message["resultCode"]) == (200, "Authorised")
    assert answers["finish"]["psp"] == answers["stored_redirect"]["psp"]


@pytest.mark.parametrize(("name", "kind"), [("capture", "captured"), ("refund", "refunded"), ("void", "voided")])
def test_the_sdk_changes_a_payment_and_finds_the_operation(answers: dict[str, Any], name: str, kind: str) -> None:
    message = answers[name]["message"]
    (entry,) = [entry for entry in answers["ledger"] if entry["kind"] == kind]

    assert (answers[name]["status"], message["status"]) == (201, "received")
    assert (message["pspReference"], message["paymentPspReference"]) == (entry["operation"], entry["payment"])
    assert message["reference"] == entry["reference"]


def test_the_sdk_lists_payment_methods(answers: dict[str, Any]) -> None:
    assert [method["type"] for method in answers["methods"]["message"]["paymentMethods"]] == ["scheme"]


@pytest.mark.parametrize(
    ("name", "understood"),
    [
        ("no such payment", ["AdyenAPIUnprocessableEntity", 422, "167"]),
        ("invalid", ["AdyenAPIUnprocessableEntity", 422, "137"]),
        ("wrong account", ["AdyenAPIInvalidPermission", 403, "901"]),
        ("wrong key", ["AdyenAPIAuthenticationError", 401, "000"]),
    ],
)
def test_the_sdk_understands_each_refusal(answers: dict[str, Any], name: str, understood: list[Any]) -> None:
    assert answers[name] == understood


def test_the_sdk_verifies_our_webhooks_and_no_forged_one(answers: dict[str, Any]) -> None:
    assert {code for code, _ in answers["webhooks"]} == {"AUTHORISATION", "CAPTURE", "REFUND", "CANCELLATION"}
    assert ["AUTHORISATION", "false"] in answers["webhooks"]
    assert set(answers["verified"]) == {True}
    assert answers["forged is verified"] is False


def test_our_scheme_accepts_what_the_sdk_signs(answers: dict[str, Any]) -> None:
    """With a colon, a backslash and an umlaut in the reference: it joins the values without escapes."""
    body = json.dumps(answers["signed by the SDK"]).encode()

    assert (
        verify(WebhookRules(scheme="adyen"), [HMAC_KEY], [], body, now_s=0).id == "7914073381342284:AUTHORISATION:true"
    )
