"""
What we send and what our sandbox answers, as SendGrid's own OpenAPI document describes them.

It is not part of the project: HUB_VENDOR_SPECS names the folder that has it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from jsonschema import Draft202012Validator, FormatChecker

from crossdock.connectors.sendgrid.actions import SEND_MAIL
from crossdock.connectors.sendgrid.channel import request_body
from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.http.model import Limits
from crossdock.integrations.actions.ports import WriteRequest
from crossdock.integrations.manifests import manifests
from crossdock.maintenance.alerting.mails import Sender
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem
from tests.contracts.alert_channels import SAMPLE as SAMPLE_ALERT

SAMPLE = manifests()["sendgrid"].actions["send_mail"].sample
ONCE = Limits(timeout_s=30.0, attempts=1)
#: The headers that the vendor's document says it does not take.
RESERVED = frozenset(
    {"x-sg-id", "x-sg-eid", "received", "dkim-signature", "content-type", "content-transfer-encoding"}
    | {"to", "from", "subject", "reply-to", "cc", "bcc"}
)


@pytest.fixture(scope="module")
def operation() -> dict[str, Any]:
    """The vendor's description of `POST /v3/mail/send`, with everything that it refers to."""
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download its Mail API (v3) as sendgrid-mail-v3.json"
            " and set HUB_VENDOR_SPECS to its folder"
        )
    document = json.loads(Path(folder, "sendgrid-mail-v3.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = _resolved(document, document["paths"]["/v3/mail/send"]["post"])
    return found


def _resolved(document: dict[str, Any], part: Any) -> Any:
    """Replace each reference by what it names, and say `null` as JSON Schema does."""
    if isinstance(part, list):
        return [_resolved(document, item) for item in part]
    if not isinstance(part, dict):
        return part
    if ref := part.get("$ref"):
        found: Any = document
        for step in ref.removeprefix("#/").split("/"):
            found = found[step]
        return _resolved(document, found)
    resolved = {name: _resolved(document, value) for name, value in part.items()}
    if resolved.pop("nullable", False) is True:
        resolved["type"] = [resolved["type"], "null"]
    return resolved


def _closed(schema: Any) -> Any:
    """Refuse unknown fields, which the vendor's schema does not."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(value) for name, value in schema.items()}
    if isinstance(closed.get("properties"), dict) and "additionalProperties" not in closed:
        closed["additionalProperties"] = False
    return closed


def faults_in(schema: dict[str, Any], document: Any) -> list[str]:
    validator = Draft202012Validator(_closed(schema), format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.fixture
def system() -> Iterator[FakeMailSystem]:
    with FakeMailSystem(senders=("orders@shop.example",)) as opened:
        yield opened


def request_of(given: dict[str, Any]) -> WriteRequest:
    return SEND_MAIL.request(None, given)


def body_schema(operation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return found


@pytest.mark.parametrize("action", ["send_mail"])
def test_the_vendors_contract_has_the_request_and_its_answer(
    operation: dict[str, Any], system: FakeMailSystem, action: str
) -> None:
    """Every field that we send is one of the vendor's, and the answer is one that it documents."""
    assert action in manifests()["sendgrid"].actions
    request = request_of(SAMPLE)
    answer = requests.post(
        f"{system.url}{request.path}", json=request.body, headers={"Authorization": "Bearer sandbox"}, timeout=60
    )

    assert faults_in(body_schema(operation), request.body) == []
    assert (answer.status_code, answer.content) == (202, b"")
    assert answer.headers["X-Message-Id"] == system.outbox[0]["message_id"]
    assert "202" in operation["responses"]
    assert "content" not in operation["responses"]["202"]


@pytest.mark.parametrize("capability", ["alert_channel"])
def test_the_vendors_contract_has_the_mail_of_an_alert(
    operation: dict[str, Any], system: FakeMailSystem, capability: str
) -> None:
    """The headers that make a thread of it are ours to set: the vendor keeps others for itself."""
    assert capability in manifests()["sendgrid"].provides
    body = request_body(
        SAMPLE_ALERT, Sender("The Shop", "orders@shop.example"), ["ops@shop.example", "OPS@shop.example"]
    )
    answer = requests.post(
        f"{system.url}/v3/mail/send", json=body, headers={"Authorization": "Bearer sandbox"}, timeout=60
    )

    assert faults_in(body_schema(operation), body) == []
    assert answer.status_code == 202
    assert body["personalizations"] == [{"to": [{"email": "OPS@shop.example"}]}]
    assert {"message-id", "in-reply-to", "references"} <= {name.lower() for name in body["headers"]}
    assert not {name.lower() for name in body["headers"]} & RESERVED


def test_the_contract_finds_a_field_that_the_vendor_does_not_have(operation: dict[str, Any]) -> None:
    """A check that accepts everything would pass the test above."""
    body = {**request_of(SAMPLE).body, "colour": "red"}

    assert faults_in(body_schema(operation), body)
    assert faults_in(body_schema(operation), {**request_of(SAMPLE).body, "from": {"email": "no address"}})


@pytest.mark.parametrize(
    ("change", "key", "status"),
    [
        ({"content": []}, "sandbox", 400),
        ({"personalizations": []}, "sandbox", 400),
        ({"personalizations": [{"to": [{"email": "nobody"}]}]}, "sandbox", 400),
        ({"categories": ["a"] * 2}, "sandbox", 400),
        ({}, "guessed", 401),
        ({"from": {"email": "somebody@else.example"}}, "sandbox", 403),
    ],
)
def test_a_refusal_of_the_sandbox_is_one_of_the_vendors(
    operation: dict[str, Any], system: FakeMailSystem, change: dict[str, Any], key: str, status: int
) -> None:
    body = {**request_of(SAMPLE).body, **change}
    answer = requests.post(
        f"{system.url}/v3/mail/send", json=body, headers={"Authorization": f"Bearer {key}"}, timeout=60
    )

    assert answer.status_code == status
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    assert faults_in(schema, answer.json()) == []
    assert system.outbox == []


def test_the_api_key_is_asked_what_it_may_do(system: FakeMailSystem) -> None:
    assert "mail.send" in SendGrid(system.url, "sandbox", limits=ONCE).scopes()
