"""
Verify webhook signatures: the schemes of Standard Webhooks, Stripe, Adyen, SendGrid, and plain HMAC.

Pure functions: they take headers, body, keys and the time, and return the delivery id or raise.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from crossdock.core.errors import Terminal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

Scheme = Literal["standard", "stripe", "adyen", "sendgrid", "hmac"]
#: How far the sender's clock may differ from ours. Older deliveries may be replay attacks, newer ones prepared forgeries.
TOLERANCE_S = 300
#: SendGrid sends a delivery again for a day, and does not say that it signs it anew. Its events have IDs of their own, so
#: that an old one that comes again has no second effect.
_SENDGRID_TRIES_FOR_S = 86_400
_LONGEST_ID = 256
_NO_MATCH = "no signature matches a configured key"

Headers = Sequence[tuple[str, str]]


class WebhookRefused(Terminal):
    """The signature is not the sender's. The message gives the reason for the hub's own records; the sender does not get it."""


class WebhookRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for an integration's webhooks: signature and content; from the `extra` of its Airflow connection."""

    scheme: Scheme = "standard"
    #: The dataset of the record that each delivery names. None, as *key_path*: the connector says what deliveries mean.
    dataset: str | None = None
    #: The path of the record's business key in the body; dots separate nested fields.
    key_path: str | None = None
    #: For plain HMAC. The signed text is `<timestamp>.<body>`, or `<body>` alone where *timestamp_header* is empty: then
    #: only its id distinguishes an old delivery from a new one.
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    id_header: str = "x-delivery-id"
    algorithm: Literal["sha256", "sha512"] = "sha256"


def verify(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, *, now_s: float) -> str:
    """
    Verify the signature and return the delivery id, by which a repeated delivery is recognised.

    Args:
        rules: The scheme, and for plain HMAC its headers.
        keys: All valid keys; several while a key is rotated.
        headers: As they came; a needed header that came twice is refused.
        body: As it came, byte for byte: a body that was parsed and written again has another signature.
        now_s: Our clock, in seconds since 1970.

    Raises:
        WebhookRefused: not signed by one of *keys*, too old, in the future, or without an id.

    """
    if not keys:
        raise WebhookRefused("no key is configured")
    checks = {"standard": _standard, "stripe": _stripe, "adyen": _adyen, "sendgrid": _sendgrid, "hmac": _plain}
    check = checks[rules.scheme]
    delivery_id = check(rules, keys, headers, body, now_s)
    if not 0 < len(delivery_id) <= _LONGEST_ID or not delivery_id.isprintable():
        raise WebhookRefused("the delivery id is empty, too long, or not printable")
    return delivery_id


def _standard(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, now_s: float) -> str:
    """Verify Standard Webhooks: `v1,<base64>` over `<id>.<timestamp>.<body>`; several signatures, separated by spaces."""
    del rules
    delivery_id, timestamp = _one(headers, "webhook-id"), _one(headers, "webhook-timestamp")
    _check_age(timestamp, now_s)
    signed = f"{delivery_id}.{timestamp}.".encode() + body
    offered = [
        _base64(text.removeprefix("v1,"))
        for text in _one(headers, "webhook-signature").split(" ")
        if text.startswith("v1,")
    ]
    _check((_standard_key(key) for key in keys), signed, offered, "sha256")
    return delivery_id


def _stripe(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, now_s: float) -> str:
    """Verify Stripe's scheme: `t=<timestamp>,v1=<hex>,…` over `<timestamp>.<body>`; the id is that of the event in the body."""
    del rules
    parts = [part.partition("=") for part in _one(headers, "stripe-signature").split(",")]
    timestamps = [value for name, _, value in parts if name.strip() == "t"]
    if len(timestamps) != 1:
        raise WebhookRefused("stripe-signature has not exactly one timestamp")
    _check_age(timestamps[0], now_s)
    offered = [_hex(value) for name, _, value in parts if name.strip() == "v1"]
    _check((key.encode() for key in keys), f"{timestamps[0]}.".encode() + body, offered, "sha256")
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookRefused("the body is not JSON") from error
    delivery_id = document.get("id") if isinstance(document, dict) else None
    if not isinstance(delivery_id, str):
        raise WebhookRefused("the body has no id")
    return delivery_id


def _adyen(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, now_s: float) -> str:
    """
    Verify Adyen's scheme: each item of the body has a signature of its own, and every one must be right.

    No time is signed: an old delivery is recognised by its items alone, whose ids have only signed fields. The values are
    joined by colons without escapes, as the vendor's libraries do; no reference of ours has a colon.
    """
    del rules, headers, now_s
    binary_keys = [_adyen_key(key) for key in keys]
    try:
        wrapped = json.loads(body)["notificationItems"]
        items = [entry["NotificationRequestItem"] for entry in wrapped]
        signed = [(item, _adyen_text(item), item["additionalData"]["hmacSignature"]) for item in items]
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise WebhookRefused("the body is not a notification with signed items") from error
    if not signed or not all(isinstance(signature, str) for _, _, signature in signed):
        raise WebhookRefused("the body is not a notification with signed items")
    for _, text, signature in signed:
        _check(binary_keys, text.encode(errors="surrogatepass"), [_base64(signature)], "sha256")
    ids = [":".join(item[name] for name in _ADYEN_ID) for item, _, _ in signed]
    return ids[0] if len(ids) == 1 else hashlib.sha256("\n".join(ids).encode(errors="surrogatepass")).hexdigest()


#: What names an item, and is signed.
_ADYEN_ID = ("pspReference", "eventCode", "success")


def _adyen_text(item: dict[str, Any]) -> str:
    """Join the signed fields of an item. A value that is neither text nor a whole number is an error: it has several spellings."""
    value = item["amount"]["value"]
    before = [item["pspReference"], item.get("originalReference", ""), item["merchantAccountCode"]]
    before += [item.get("merchantReference", "")]
    after = [item["amount"]["currency"], item["eventCode"], item["success"]]
    if type(value) is not int or not all(isinstance(text, str) for text in before + after):
        raise TypeError("a signed field has another type")
    return ":".join([*before, str(value), *after])


def _sendgrid(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, now_s: float) -> str:
    """
    Verify SendGrid's scheme: ECDSA with SHA-256 over `<timestamp><body>`, by the public key that SendGrid shows.

    A delivery has no id, so the digest of its body stands for it.
    """
    del rules
    timestamp = _one(headers, "x-twilio-email-event-webhook-timestamp")
    _check_age(timestamp, now_s, oldest_s=_SENDGRID_TRIES_FOR_S + TOLERANCE_S)
    signature = _base64(_one(headers, "x-twilio-email-event-webhook-signature"))
    _check_ecdsa(keys, timestamp.encode() + body, signature)
    return hashlib.sha256(body).hexdigest()


def _plain(rules: WebhookRules, keys: Sequence[str], headers: Headers, body: bytes, now_s: float) -> str:
    """Verify plain HMAC in hexadecimal or base64, with or without the algorithm's name before it (`sha256=…`)."""
    signed = body
    if rules.timestamp_header:
        timestamp = _one(headers, rules.timestamp_header)
        _check_age(timestamp, now_s)
        signed = f"{timestamp}.".encode() + body
    text = _one(headers, rules.signature_header).removeprefix(f"{rules.algorithm}=")
    _check((key.encode() for key in keys), signed, [_hex(text), _base64(text)], rules.algorithm)
    return _one(headers, rules.id_header)


def _check(keys: Iterable[bytes], signed: bytes, offered: Sequence[bytes], algorithm: str) -> None:
    """Compare every key with every signature in constant time, so that the response time reveals nothing."""
    matches = False
    for key in keys:
        expected = hmac.new(key, signed, getattr(hashlib, algorithm)).digest()
        for signature in offered:
            matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise WebhookRefused(_NO_MATCH)


def _check_ecdsa(keys: Iterable[str], signed: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow to load, and few integrations need it
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    for key in [_public_key(text) for text in keys]:
        with suppress(InvalidSignature):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            return
    raise WebhookRefused(_NO_MATCH)


def _check_age(timestamp: str, now_s: float, oldest_s: float = TOLERANCE_S) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):  # noqa: PLR2004  beyond any year
        raise WebhookRefused("the timestamp is not a number of seconds")
    if int(timestamp) < now_s - oldest_s:
        raise WebhookRefused("the timestamp is too old")
    if int(timestamp) > now_s + TOLERANCE_S:
        raise WebhookRefused("the timestamp is in the future")


def _one(headers: Headers, name: str) -> str:
    found = [value for header, value in headers if header.lower() == name.lower()]
    if len(found) != 1:
        # Without the number of headers: a stranger chooses it, and refusals are counted by their message.
        many = "several headers" if found else "no header"
        raise WebhookRefused(f"{many} {name.lower()!r} where one is expected")
    return found[0].strip()


def _standard_key(key: str) -> bytes:
    try:
        return base64.b64decode(key.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise WebhookRefused("a configured key is not base64; it should look like whsec_…") from error


def _adyen_key(key: str) -> bytes:
    if not (binary := _hex(key)):
        raise WebhookRefused("a configured key is not hexadecimal, as Adyen's are")
    return binary


def _public_key(text: str) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  as in `_check_ecdsa`
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        key = load_der_public_key(_base64(text))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise WebhookRefused("a configured key is not a public key of ECDSA in base64, as SendGrid's are")
    return key


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""
