"""Adyen's signatures: each item has one of its own, and all must be right."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
from typing import Any

import pytest

from crossdock.events.webhooks_in.rules import WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.signatures import verify

RULES = WebhookRules(scheme="adyen")
KEY = "0f" * 32
OLD_KEY = "1e" * 32
ITEM: dict[str, Any] = {
    "pspReference": "QFQTPCQ8HXSKGK82",
    "originalReference": "9913140798220028",
    "merchantAccountCode": "ShopECOM",
    "merchantReference": "order-4711",
    "amount": {"value": 1130, "currency": "EUR"},
    "eventCode": "CAPTURE",
    "success": "true",
    "eventDate": "2026-11-29T12:00:00+01:00",
    "reason": "",
}
#: Beginning of what is signed, so that this test does not share the code that it tests.
TEXT = "QFQTPCQ8HXSKGK82:9913140798220028:ShopECOM:order-4711:1130:EUR:CAPTURE:true"


def signed(item: dict[str, Any], text: str, key: str = KEY) -> dict[str, Any]:
    signature = base64.b64encode(hmac.new(bytes.fromhex(key), text.encode(), hashlib.sha256).digest()).decode()
    return {**item, "additionalData": {"hmacSignature": signature}}


CAPTURE = signed(ITEM, TEXT)
REFUND = signed({**ITEM, "eventCode": "REFUND"}, TEXT.replace("CAPTURE", "REFUND"))


def body(*items: Any) -> bytes:
    document = {"live": "false", "notificationItems": [{"NotificationRequestItem": item} for item in items]}
    return json.dumps(document).encode()


def proved(content: bytes, *keys: str) -> str:
    return verify(RULES, keys or (KEY,), [], content, now_s=0).id


def test_an_item_is_proved_and_named_by_its_signed_fields() -> None:
    assert proved(body(CAPTURE)) == "QFQTPCQ8HXSKGK82:CAPTURE:true"


def test_the_vendors_own_example_is_proved() -> None:
    """Facts of the vendor's libraries: key, item and signature are in the tests of each of them."""
    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    item = {
        "pspReference": "7914073381342284",
        "merchantReference": "TestPayment-1407325143704",
        "merchantAccountCode": "TestMerchant",
        "amount": {"currency": "EUR", "value": 1130},
        "eventCode": "AUTHORISATION",
        "success": "true",
        "additionalData": {"hmacSignature": "coqCmt/IZ4E3CzPvMY8zTjQVL5hYJUiBRg8UU+iCWo0="},
    }
    assert proved(body(item), key) == "7914073381342284:AUTHORISATION:true"


@pytest.mark.parametrize(
    "path", ["pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success"]
)
def test_each_signed_field_counts(path: str) -> None:
    with pytest.raises(WebhookRefused, match="no signature matches"):
        proved(body({**CAPTURE, path: "other"}))


@pytest.mark.parametrize("amount", [{"value": 1131, "currency": "EUR"}, {"value": 1130, "currency": "USD"}])
def test_the_amount_counts(amount: dict[str, Any]) -> None:
    with pytest.raises(WebhookRefused, match="no signature matches"):
        proved(body({**CAPTURE, "amount": amount}))


def test_every_item_of_a_body_must_be_proved() -> None:
    """One good item must not carry a forged one past the guard, wherever it stands."""
    forged = {**REFUND, "amount": {"value": 1, "currency": "EUR"}}

    assert len(proved(body(CAPTURE, REFUND))) == 64
    for items in ((CAPTURE, forged), (forged, CAPTURE)):
        with pytest.raises(WebhookRefused):
            proved(body(*items))


def test_each_of_several_keys_is_good_while_one_is_rotated() -> None:
    old = signed(ITEM, TEXT, OLD_KEY)

    assert proved(body(old), KEY, OLD_KEY) == proved(body(CAPTURE), KEY, OLD_KEY)
    with pytest.raises(WebhookRefused):
        proved(body(old), KEY)


@pytest.mark.parametrize("key", ["not hexadecimal", "abc", "é"])
def test_a_key_that_is_not_hexadecimal_is_named(key: str) -> None:
    with pytest.raises(WebhookRefused, match="a configured key is not hexadecimal"):
        proved(body(CAPTURE), key)


def without(*path: str) -> dict[str, Any]:
    item = copy.deepcopy(CAPTURE)
    inner = item
    for step in path[:-1]:
        inner = inner[step]
    del inner[path[-1]]
    return item


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[" * 100_000,
        b"[]",
        b"{}",
        body(),
        body("text"),
        body(None),
        body(ITEM),
        body(without("amount")),
        body(without("amount", "value")),
        body(without("pspReference")),
        body({**CAPTURE, "success": True}),
        body({**CAPTURE, "amount": {"value": "1130", "currency": "EUR"}}),
        body({**CAPTURE, "amount": {"value": 1130.0, "currency": "EUR"}}),
        body({**CAPTURE, "additionalData": {"hmacSignature": 5}}),
        body({**CAPTURE, "additionalData": {"hmacSignature": "é"}}),
        body({**CAPTURE, "merchantReference": "\ud800"}),
        b'{"notificationItems": {"NotificationRequestItem": 1}}',
    ],
)
def test_what_is_no_notification_is_refused_in_words(content: bytes) -> None:
    """Not with a stack trace: anybody can send it."""
    with pytest.raises(WebhookRefused):
        proved(content)
