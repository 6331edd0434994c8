"""What senders' own libraries sign is taken by our route, and what our own senders sign is what those libraries verify."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from crossdock.db.database import Store
from tests.events.webhooks_in import senders
from tests.events.webhooks_in.senders import RSA, SENDERS, TEXT, URL, certificate
from tests.events.webhooks_in.test_webhooks import WebhookClient, client
from tests.published import published_over_http
from tests.shop import query
from tests.third_party.installs import HERE, npm_folder, sdk_python

#: It needs PyPI and npm's registry and, at first, some seconds of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]
__all__ = ["client"]

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = json.dumps({"id": "evt_1", "event_id": "ev_1", "data": {"sku": "CHAIR", "note": "Grüße"}}, ensure_ascii=False)
FORM = "MessageSid=SM1&MessageStatus=delivered&Body=Gr%C3%BC%C3%9Fe+%26+mehr&From=%2B49+30"
RECORD = {"dataset": "inventory", "key_path": "data.sku"}
EMAIL = "push@shop.iam.gserviceaccount.com"
#: The library → its secret, and the scheme of its sender.
SIGNING = {
    "standardwebhooks": (WHSEC, "standard"),
    "svix": (WHSEC, "standard"),
    "stripe": ("whsec_stripe", "stripe"),
    "github": ("It's-a-Secret", "github"),
}


@cache
def node() -> dict[str, Any]:
    """Run the libraries of node once for all tests, but close enough to them: what they sign is good for five minutes."""
    program, folder = npm_folder("senders_node", "sign.mjs")
    (paddle,) = (sender for sender in SENDERS if sender.name == "paddle")
    # Its library takes a signature for five seconds.
    sent = paddle.sign(0, time.time() + 200)
    header = dict(sent.headers)["Paddle-Signature"]
    signed = [
        {"sender": name, "secret": secret, "body": BODY, "id": f"msg_{name}"} for name, (secret, _) in SIGNING.items()
    ]
    checked = [{"body": sent.body.decode(), "secret": secret, "header": header} for secret in TEXT]
    found = _run([program, str(folder / "sign.mjs")], {"deliveries": signed, "paddle": checked})
    return {**found, "signed": dict(zip(SIGNING, found["signed"], strict=True))}


@cache
def python() -> dict[str, Any]:
    pem = RSA[0].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (square,) = (sender for sender in SENDERS if sender.name == "square")
    sent = square.sign(0, time.time())
    ours = {
        "request_body": sent.body.decode(),
        "signature_header": dict(sent.headers)["x-square-hmacsha256-signature"],
        "notification_url": URL,
    }
    given = {
        "slack": [{"secret": TEXT[0], "body": body} for body in (BODY, FORM)],
        "twilio": [
            {"secret": TEXT[0], "body": body, "url": URL, "algorithm": algorithm}
            for body in (BODY, FORM)
            for algorithm in ("HMAC_SHA1", "HMAC_SHA256")
        ],
        "square": [{**ours, "signature_key": key} for key in TEXT],
        "google": {"key": pem.decode(), "audience": URL, "email": EMAIL},
        "google verifies": {
            "token": senders.token(0, time.time()),
            "audience": URL,
            "certificates": json.dumps({"k0": certificate(RSA[0]).decode()}),
        },
    }
    return _run([str(sdk_python("senders_python")), str(HERE / "senders_python" / "sign.py")], given)


def _run(command: list[str], given: dict[str, Any]) -> dict[str, Any]:
    ended = subprocess.run(
        command,
        env={"PATH": os.defpath},
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


@pytest.mark.parametrize("library", SIGNING)
def test_what_a_library_of_node_signs_is_taken_and_nothing_else(
    client: WebhookClient, store: Store, library: str
) -> None:
    secret, scheme = SIGNING[library]
    client.extra, client.password = {"scheme": scheme, **RECORD}, f"whsec_b3RoZXI= {secret}"
    if scheme != "standard":
        client.password = f"other {secret}"
    headers = [("Content-Type", "application/json"), *node()["signed"][library].items()]

    assert client.post(BODY.encode(), headers).json()["taken"] == 1
    assert client.post(BODY.replace("CHAIR", "TABLE").encode(), headers).status_code == 401
    client.password = client.password.partition(" ")[0]
    assert client.post(BODY.encode(), headers).status_code == 401
    assert keys(store) == ["commercetools.inventory/CHAIR"]


def test_paddles_library_verifies_what_our_sender_signs() -> None:
    """The scheme takes the same delivery (`tests/events/webhooks_in/test_schemes.py`); the library signs nothing."""
    assert node()["verified"] == [True, False]


def test_what_slacks_library_signs_is_taken(client: WebhookClient, store: Store) -> None:
    event, command = python()["slack"]
    client.extra, client.password = {"scheme": "slack", **RECORD}, " ".join(TEXT)

    assert client.post(BODY.encode(), list(event.items())).status_code == 200
    form = [*command.items(), ("Content-Type", "application/x-www-form-urlencoded")]
    assert client.post(FORM.encode(), form).json()["ignored"] == 1
    assert client.post(FORM.replace("SM1", "SM2").encode(), form).status_code == 401
    assert keys(store) == ["commercetools.inventory/CHAIR"]


@pytest.mark.parametrize("number", range(4))
def test_what_twilios_library_signs_is_taken(client: WebhookClient, store: Store, number: int) -> None:
    body, signed = (BODY, BODY, FORM, FORM)[number], python()["twilio"][number]
    kind = "application/json" if body == BODY else "application/x-www-form-urlencoded"
    path = "data.sku" if body == BODY else "MessageSid"
    client.extra = {"scheme": "twilio", "url": URL, "dataset": "inventory", "key_path": path}
    client.password = " ".join(TEXT)
    headers = [*signed["headers"].items(), ("Content-Type", kind)]

    answer = client.post(body.encode(), headers, query=signed["query"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.post(body.replace("e", "x").encode(), headers, query=signed["query"]).status_code == 401
    assert len(keys(store)) == 1


def test_squares_library_verifies_what_our_sender_signs() -> None:
    """As Paddle's."""
    assert python()["square"] == [True, False]


def test_a_token_that_googles_library_signs_is_taken(client: WebhookClient, store: Store, jwks_url: str) -> None:
    client.extra = {
        "scheme": "google_pubsub",
        "audience": URL,
        "subjects": [EMAIL],
        "keys_url": jwks_url,
        **RECORD,
    }
    client.password = ""
    message = {"message": {"data": senders.b64(BODY.encode()), "messageId": "m-1"}, "subscription": "s"}
    headers = [("Authorization", f"Bearer {python()['google']}")]

    assert client.post(json.dumps(message).encode(), headers).status_code == 202
    client.extra = {**client.extra, "audience": "https://other.example"}
    assert client.post(json.dumps(message).encode(), headers).status_code == 401
    assert keys(store) == ["commercetools.inventory/CHAIR"]


def test_googles_library_verifies_the_token_of_our_sender() -> None:
    assert python()["google verifies"] == EMAIL


@pytest.fixture
def jwks_url() -> Iterator[str]:
    with published_over_http(senders.jwks()) as url:
        yield url


def keys(store: Store) -> list[str]:
    return [key for (key,) in query(store, "SELECT partition_key FROM event WHERE type = 'crossdock.webhook.received'")]
