"""SendGrid's own Python SDK on our sandbox: what it cannot send or read, no real client could."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.connectors.sendgrid.actions import SEND_MAIL
from crossdock.events.webhooks_in.rules import WebhookRules
from crossdock.events.webhooks_in.signatures import verify
from crossdock.sandbox.engine import codec
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem
from crossdock.sandbox.sendgrid.webhooks import WebhookSender, events_of
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, some seconds of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]


@pytest.fixture(scope="module")
def system() -> Iterator[FakeMailSystem]:
    with FakeMailSystem() as opened:
        yield opened


def delivery() -> dict[str, str]:
    """Events as the sandbox signs them, and a key that did not sign them. Our own verification agrees with the SDK's."""
    signer, other = WebhookSender(None), WebhookSender(None)
    mail = {"message_id": "m-1", "personalizations": [{"to": [{"email": "bounce@customer.example"}]}]}
    body = codec.encode(events_of(mail))
    headers = list(signer.headers_of(body).items())
    rules = WebhookRules(scheme="sendgrid")
    assert verify(rules, [signer.public_key], headers, body, now_s=time.time())
    (_, timestamp), (_, signature) = headers
    return {
        "body": body.decode(),
        "timestamp": timestamp,
        "signature": signature,
        "public_key": signer.public_key,
        "other_key": other.public_key,
    }


@pytest.fixture(scope="module")
def answers(system: FakeMailSystem) -> dict[str, Any]:
    ended = subprocess.run(
        [str(sdk_python("sendgrid_sdk")), str(HERE / "sendgrid_sdk" / "calls.py"), system.url, json.dumps(delivery())],
        env={"PATH": os.defpath, "SANDBOX_SENDGRID_KEY": system.api_key},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def test_the_sdk_sends_a_mail_and_reads_its_id(answers: dict[str, Any], system: FakeMailSystem) -> None:
    (mail,) = system.outbox

    assert answers["sent"] == [202, mail["message_id"]]


def test_the_sdk_writes_a_mail_as_we_do(answers: dict[str, Any], system: FakeMailSystem) -> None:
    """But for what only we say: how it is tracked."""
    assert answers["sent"]
    given = {
        "reference": "order-4711",
        "kind": "order_confirmation",
        "from": {"address": "orders@shop.example", "name": "The Shop"},
        "to": {"address": "ada@customer.example", "name": "Ada Lovelace"},
        "subject": "Your order 4711",
        "text": "Thank you.",
        "html": "<p>Thank you.</p>",
    }
    ours = SEND_MAIL.request(None, given).body
    ours.pop("tracking_settings")
    ours["personalizations"][0]["custom_args"].pop("kind")
    (theirs,) = system.outbox

    assert {name: value for name, value in theirs.items() if name != "message_id"} == ours


def test_the_sdk_verifies_what_the_sandbox_signs_and_nothing_else(answers: dict[str, Any]) -> None:
    """So does our own scheme: it accepts the delivery, and the vendor's example (`test_sendgrid_signatures.py`)."""
    assert answers["verified"]
    assert answers["forged"] == [False, False, False]


def test_the_sdk_understands_refusals_and_scopes(answers: dict[str, Any]) -> None:
    assert answers["scopes"] == ["mail.send", "alerts.read"]
    assert answers["wrong key"] == [401, ["The provided authorization grant is invalid, expired, or revoked"]]
    assert answers["wrong address"] == [400, ["Does not contain a valid address."]]
