"""SendGrid's signatures: ECDSA by a public key, over the time and the body."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.signatures import verify

RULES = WebhookRules(scheme="sendgrid")
NOW = 1_800_000_000
BODY = b'[{"event":"delivered"}]'
A_DAY_S = 86_400


def public(key: Any) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


KEY, OLD_KEY = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def signed(body: bytes = BODY, *, key: Any = KEY, at: int = NOW) -> list[tuple[str, str]]:
    signature = key.sign(f"{at}".encode() + body, ec.ECDSA(hashes.SHA256()))
    return headers(str(at), base64.b64encode(signature).decode())


def headers(timestamp: str, signature: str) -> list[tuple[str, str]]:
    return [
        ("X-Twilio-Email-Event-Webhook-Timestamp", timestamp),
        ("X-Twilio-Email-Event-Webhook-Signature", signature),
    ]


def proved(found: list[tuple[str, str]], body: bytes = BODY, *, keys: Any = None, now_s: float = NOW) -> str:
    return verify(RULES, keys or [public(KEY)], found, body, now_s=now_s).id


def test_a_delivery_is_proved_and_named_by_its_body() -> None:
    """It has no ID of its own: the same body that comes again is the same delivery."""
    assert proved(signed()) == hashlib.sha256(BODY).hexdigest()


def test_the_vendors_own_example_is_proved() -> None:
    """Facts of the vendor's libraries: key, body, time and signature are in the tests of each of them."""
    key = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
    signature = "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM="
    body = (
        b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
        b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
        b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
        b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
    )

    assert proved(headers("1600112502", signature), body, keys=[key], now_s=1600112502)
    with pytest.raises(WebhookRefused, match="no signature matches"):
        proved(headers("1600112502", signature), body.rstrip(), keys=[key], now_s=1600112502)


@pytest.mark.parametrize(
    ("found", "body"),
    [
        (signed(key=OLD_KEY), BODY),
        (signed(), BODY + b" "),
        (headers(str(NOW + 1), signed()[1][1]), BODY),
        (headers(str(NOW), "not base64"), BODY),
        (headers(str(NOW), ""), BODY),
    ],
    ids=["another key", "another body", "another time", "no base64", "empty"],
)
def test_what_the_sender_did_not_sign_is_refused(found: list[tuple[str, str]], body: bytes) -> None:
    with pytest.raises(WebhookRefused, match="no signature matches"):
        proved(found, body)


@pytest.mark.parametrize("left_out", [0, 1])
def test_each_header_is_needed(left_out: int) -> None:
    with pytest.raises(WebhookRefused, match="no header"):
        proved([header for number, header in enumerate(signed()) if number != left_out])


def test_each_of_several_keys_is_good() -> None:
    """While a key is replaced, some deliveries are signed with the old one."""
    for key in (KEY, OLD_KEY):
        assert proved(signed(key=key), keys=[public(KEY), public(OLD_KEY)])


def test_a_delivery_may_be_as_old_as_the_vendor_tries_and_not_from_the_future() -> None:
    """After a night without the hub, its events come with the time at which they were signed."""
    assert proved(signed(at=NOW - A_DAY_S))
    with pytest.raises(WebhookRefused, match="too old"):
        proved(signed(at=NOW - A_DAY_S - 301))
    with pytest.raises(WebhookRefused, match="future"):
        proved(signed(at=NOW + 301))


@pytest.mark.parametrize(
    "key",
    ["guess", base64.b64encode(b"guess").decode(), public(ed25519.Ed25519PrivateKey.generate())],
    ids=["a word", "encoded", "of another kind"],
)
def test_a_key_that_is_none_is_named_as_the_cause(key: str) -> None:
    with pytest.raises(WebhookRefused, match="not a public key of ECDSA"):
        proved(signed(), keys=[key])
