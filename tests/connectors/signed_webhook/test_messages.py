"""Messages of the signed webhook: their published form, their signature, and how often they are sent."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator, FormatChecker

from crossdock.connectors.signed_webhook import document
from crossdock.connectors.signed_webhook.client import SignedWebhook
from crossdock.connectors.signed_webhook.document import document_of
from crossdock.connectors.signed_webhook.signature import StandardSignature
from crossdock.core.errors import BadRequest, OutcomeUnknown, SystemRefused
from crossdock.http.model import Limits
from crossdock.maintenance.alerting.model import Occasion
from crossdock.sandbox.signed_webhook.verifier import FakeReceiver
from tests.contracts.alert_channels import SAMPLE, sample, with_cause
from tests.contracts.test_alert_channels import HOSTILE

SCHEMA = json.loads(Path(document.__file__).with_name("alert.schema.json").read_text())
QUICK = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=3, longest_wait_s=0.05)
BARE = with_cause(message="", count=None, examples=(), hub_does="", next_step="", command="", link="")


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    with FakeReceiver() as opened:
        yield opened


def faults_in(given: Any) -> list[str]:
    validator = Draft202012Validator(SCHEMA, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(given)]


def post(receiver: FakeReceiver, secret: str = "") -> None:
    SignedWebhook(f"{receiver.url}/alerts", secret or receiver.secret, limits=QUICK).post(document_of(SAMPLE), "m-1")


class TestForm:
    @pytest.mark.parametrize(
        "message",
        [
            *(sample(occasion=occasion) for occasion in Occasion),
            BARE,
            with_cause(until=SAMPLE.at),
            *(with_cause(message=text, examples=(text,) * 9, link=text) for text in HOSTILE.values()),
            with_cause(message="x" * 100_000),
            sample(causes=SAMPLE.causes * 300),
        ],
    )
    def test_every_message_has_the_published_form(self, message: Any) -> None:
        assert faults_in(document_of(message)) == []

    def test_the_form_says_every_field(self) -> None:
        """A field that nobody described is one that nobody may rely on."""
        Draft202012Validator.check_schema(SCHEMA)
        data, fields = document_of(SAMPLE)["data"], SCHEMA["properties"]["data"]["properties"]
        cause = SCHEMA["$defs"]["cause"]

        assert (set(data), set(data["causes"][0])) == (set(fields), set(cause["properties"]))
        assert set(cause["required"]) == set(cause["properties"])

    @pytest.mark.parametrize("change", [{"type": "other"}, {"timestamp": "now"}, {"data": {}}])
    def test_the_form_refuses_what_is_wrong(self, change: Any) -> None:
        """A form that accepts everything would pass the tests above."""
        assert faults_in({**document_of(SAMPLE), **change})


class TestSignature:
    def test_it_is_the_one_of_the_standard(self) -> None:
        """Computed here a second time, from the standard's words."""
        secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        request = requests.PreparedRequest()
        request.prepare(method="POST", url="https://a.example", headers={"webhook-id": "msg_1"}, data=b'{"a": 1}')
        headers = StandardSignature(secret)(request).headers

        content = f"msg_1.{headers['webhook-timestamp']}.".encode() + b'{"a": 1}'
        key = base64.b64decode(secret.removeprefix("whsec_"))
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"

    @pytest.mark.parametrize(
        "secret",
        [
            "",
            "whsec_",
            "whsec_c2hvcnQ=",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "whsec_no base64 no base64 no base64 no",
            "whsec_" + "A" * 100,
        ],
    )
    def test_a_secret_that_is_not_one_of_the_standard_is_refused_and_not_shown(self, secret: str) -> None:
        with pytest.raises(BadRequest, match="24 to 64 bytes") as caught:
            StandardSignature(secret)
        assert len(secret) < 10 or secret not in str(caught.value)

    def test_a_receiver_with_another_secret_refuses_it(self, receiver: FakeReceiver) -> None:
        with pytest.raises(SystemRefused, match="HTTP 401"):
            post(receiver, "whsec_" + base64.b64encode(b"x" * 32).decode())
        assert receiver.inbox == []


class TestRepetition:
    def test_a_lost_answer_is_asked_for_again_under_the_same_id(self, receiver: FakeReceiver) -> None:
        """The receiver has it twice and counts it once; nobody has to decide."""
        receiver.faults.put("post", [{"reset": "after"}])
        post(receiver)

        assert (receiver.times, len(receiver.inbox)) == ({"m-1": 2}, 1)

    def test_what_stays_unknown_is_said(self, receiver: FakeReceiver) -> None:
        receiver.faults.put("post", [{"reset": "after"}], repeat=True)
        with pytest.raises(OutcomeUnknown):
            post(receiver)

        assert receiver.times == {"m-1": 3}

    def test_a_conflict_is_a_refusal(self, receiver: FakeReceiver) -> None:
        """The standard has no status for a message that is at work, so there is nothing to wait for."""
        receiver.faults.put("post", [{"status": 409}], repeat=True)
        with pytest.raises(SystemRefused, match="HTTP 409"):
            post(receiver)

    def test_a_redirect_is_not_followed(self, receiver: FakeReceiver) -> None:
        """It could lead into our own network."""
        receiver.faults.put("post", [{"redirect": "http://127.0.0.1:1/"}], repeat=True)
        with pytest.raises(OutcomeUnknown, match="Redirects are not followed"):
            post(receiver)
