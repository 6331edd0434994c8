"""Senders of webhooks, written from their documentation: each signs a body as its documentation says, and shares no code with the hub."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

URL = "https://shop.example/hub/v1/webhooks/shop_eu"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"
CERTIFICATE_URL = (
    "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-7506a1e35b36ef5a444dd1a8e7cc3ed8.pem"
)
JWKS_URL = "https://www.googleapis.com/oauth2/v3/certs"


@dataclass(frozen=True)
class Sent:
    """A request as it leaves its sender."""

    body: bytes
    headers: list[tuple[str, str]]
    query: str = ""


@dataclass(frozen=True)
class Sender:
    """One sender: the rules of its connection, its key, and how it signs."""

    name: str
    rules: Mapping[str, Any]
    #: As the connection has them, and as the sender signs with them.
    keys: tuple[str, str]
    sign: Callable[[int, float], Sent]
    #: The ID under which the hub knows the delivery; None: a digest.
    delivery_id: str | None = "d-1"
    #: Whether the signature is over the body.
    signs_body: bool = True
    #: Whether it signs the time of the delivery.
    signs_time: bool = True
    #: What it publishes: URL → document.
    published: Mapping[str, bytes] = field(default_factory=dict)


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def mac(key: str | bytes, text: bytes, algorithm: str = "sha256") -> bytes:
    return hmac.new(key.encode() if isinstance(key, str) else key, text, algorithm).digest()


RAW = (b"the first key of the sender 0123", b"the second key, while it rotates")
TEXT = ("first-secret", "second-secret")
BODY = b'{"id": "d-1", "event_id": "d-1", "type": "record.changed", "data": {"sku": "CHAIR"}}'


def standard(prefix: str, spelling: Callable[[bytes], str]) -> Sender:
    def sign(key: int, at: float) -> Sent:
        signature = mac(RAW[key], f"d-1.{at:.0f}.".encode() + BODY)
        headers = {"id": "d-1", "timestamp": f"{at:.0f}", "signature": f"v1,{b64(signature)}"}
        return Sent(BODY, [(f"{prefix}-{name}", value) for name, value in headers.items()])

    first, second = map(spelling, RAW)
    return Sender(f"standard as {first[:9]}, {prefix}", {"scheme": "standard"}, (first, second), sign)


def asymmetric() -> Sender:
    private = [ed25519.Ed25519PrivateKey.from_private_bytes(raw) for raw in RAW]

    def sign(key: int, at: float) -> Sent:
        signature = private[key].sign(f"d-1.{at:.0f}.".encode() + BODY)
        headers = [
            ("webhook-id", "d-1"),
            ("webhook-timestamp", f"{at:.0f}"),
            ("webhook-signature", f"v1a,{b64(signature)}"),
        ]
        return Sent(BODY, headers)

    first, second = ("whpk_" + b64(key.public_key().public_bytes_raw()) for key in private)
    return Sender("standard v1a", {"scheme": "standard"}, (first, second), sign)


def in_header(
    scheme: str, header: str, text: str, write: Callable[[bytes, float], str], *more: tuple[str, str], **options: Any
) -> Sender:
    """A sender with an HMAC of *text* ({t}: the time) before the body, in one header."""
    rules = options.pop("rules", {})

    def sign(key: int, at: float) -> Sent:
        signature = mac(TEXT[key], text.format(t=f"{at:.0f}").encode() + BODY)
        headers = [(header, write(signature, at)), *((name, value.format(t=f"{at:.0f}")) for name, value in more)]
        return Sent(BODY, [*headers, ("Content-Type", "application/json")])

    return Sender(scheme, {"scheme": scheme, **rules}, TEXT, sign, **options)


def adyen() -> Sender:
    fields = ("psp-1", "", "ShopECOM", "order-1", "1130", "EUR", "CAPTURE", "true")

    def item(key: int, psp: str) -> dict[str, Any]:
        text = ":".join((psp, *fields[1:]))
        return {
            "NotificationRequestItem": {
                "pspReference": psp,
                "merchantAccountCode": "ShopECOM",
                "merchantReference": "order-1",
                "amount": {"value": 1130, "currency": "EUR"},
                "eventCode": "CAPTURE",
                "success": "true",
                "additionalData": {"hmacSignature": b64(mac(bytes.fromhex(RAW[key].hex()), text.encode()))},
            }
        }

    def sign(key: int, _: float) -> Sent:
        document = {"live": "false", "notificationItems": [item(key, "psp-1"), item(key, "psp-2")]}
        return Sent(json.dumps(document).encode(), [])

    keys = (RAW[0].hex(), RAW[1].hex())
    return Sender("adyen", {"scheme": "adyen"}, keys, sign, delivery_id=None, signs_time=False)


def sendgrid() -> Sender:
    private = [ec.derive_private_key(number, ec.SECP256R1()) for number in (4711, 4712)]
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    body = b'[{"event": "delivered", "email": "ada@customer.example"}]'

    def sign(key: int, at: float) -> Sent:
        signature = private[key].sign(f"{at:.0f}".encode() + body, ec.ECDSA(hashes.SHA256()))
        name = "X-Twilio-Email-Event-Webhook-"
        return Sent(body, [(name + "Signature", b64(signature)), (name + "Timestamp", f"{at:.0f}")])

    first, second = (b64(key.public_key().public_bytes(encoding, form)) for key in private)
    return Sender("sendgrid", {"scheme": "sendgrid"}, (first, second), sign, delivery_id=None)


def twilio(*, is_form: bool, algorithm: str = "sha1") -> Sender:
    fields = {"MessageSid": "SM1", "MessageStatus": "delivered", "Body": "Grüße & mehr", "From": "+49 30 1"}

    def sign(key: int, _: float) -> Sent:
        body = urlencode(fields).encode() if is_form else BODY
        query = "" if is_form else f"bodySHA256={hashlib.sha256(body).hexdigest()}"
        text = f"{URL}?{query}" if query else URL + "".join(name + fields[name] for name in sorted(fields))
        headers = [("X-Twilio-Signature", b64(mac(TEXT[key], text.encode(), algorithm)))]
        if algorithm == "sha256":
            headers.append(("X-Twilio-Webhooks-Signature-Settings", "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"))
        kind = "application/x-www-form-urlencoded; charset=UTF-8" if is_form else "application/json"
        return Sent(body, [*headers, ("Content-Type", kind)], query)

    name = f"twilio {'form' if is_form else 'JSON'} {algorithm}"
    return Sender(name, {"scheme": "twilio", "url": URL}, TEXT, sign, delivery_id=None, signs_time=False)


def bearer(header: str, value: str, **rules: str) -> Sender:
    def sign(key: int, _: float) -> Sent:
        return Sent(BODY, [(header, value.format(TEXT[key])), ("x-delivery-id", "d-1")])

    given = {"scheme": "token", **rules}
    return Sender(f"token in {header}", given, TEXT, sign, signs_body=False, signs_time=False)


def token_in_url() -> Sender:
    def sign(key: int, _: float) -> Sent:
        return Sent(BODY, [("x-delivery-id", "d-1")], f"code={TEXT[key]}&other=1")

    rules = {"scheme": "token", "token_parameter": "code"}
    return Sender("token in the URL", rules, TEXT, sign, signs_body=False, signs_time=False)


RSA = [rsa.generate_private_key(65537, 2048) for _ in range(2)]


def jwks() -> bytes:
    documents = [json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())) for key in RSA]
    return json.dumps({"keys": [{**key, "kid": f"k{n}", "alg": "RS256"} for n, key in enumerate(documents)]}).encode()


def claims(at: float, **changes: Any) -> dict[str, Any]:
    known = {"aud": URL, "iss": "https://accounts.google.com", "iat": int(at), "exp": int(at) + 3600}
    return known | {"email": "push@shop.iam.gserviceaccount.com", "email_verified": True, "sub": "1"} | changes


def token(key: int, at: float, **changes: Any) -> str:
    return jwt.encode(claims(at, **changes), RSA[key], algorithm="RS256", headers={"kid": f"k{key}"})


def pubsub(*, is_wrapped: bool) -> Sender:
    """The second key is one that Google has begun to use; the connection says nothing of keys."""

    def sign(key: int, at: float) -> Sent:
        wrapped = {
            "message": {"data": b64(BODY), "messageId": "d-1", "publishTime": "2026-11-30T08:00:00Z"},
            "subscription": "s",
        }
        headers = [("Authorization", f"Bearer {token(key, at)}")]
        if is_wrapped:
            return Sent(json.dumps(wrapped).encode(), headers)
        return Sent(BODY, [*headers, ("x-goog-pubsub-message-id", "d-1")])

    rules = {"scheme": "google_pubsub", "audience": URL, "subjects": ["push@shop.iam.gserviceaccount.com"]}
    return Sender(
        f"google_pubsub {'wrapped' if is_wrapped else 'unwrapped'}",
        rules,
        ("", ""),
        sign,
        signs_body=False,
        published={JWKS_URL: jwks()},
    )


def certificate(key: rsa.RSAPrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins = datetime(2026, 1, 1, tzinfo=UTC)
    built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    signed = built.not_valid_before(begins).not_valid_after(begins + timedelta(days=3_650)).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)


def sns_document(at: float, version: str, key: int = 0, **changes: Any) -> dict[str, Any]:
    """A notification as SNS's documentation has it, and its signature: names and values, each on a line."""
    instant = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    document = {
        "Type": "Notification",
        "MessageId": "d-1",
        "TopicArn": TOPIC,
        "Message": BODY.decode(),
        "Timestamp": instant,
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **changes,
    }
    of_notification = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
    of_confirmation = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
    names = of_notification if document["Type"] == "Notification" else of_confirmation
    text = "".join(f"{name}\n{document[name]}\n" for name in names if name in document)
    algorithm = hashes.SHA1() if version == "1" else hashes.SHA256()  # noqa: S303  SNS's version 1
    return {**document, "Signature": b64(RSA[key].sign(text.encode(), padding.PKCS1v15(), algorithm))}


def sns(version: str, **changes: Any) -> Sender:
    def sign(key: int, at: float) -> Sent:
        body = json.dumps(sns_document(at, version, key, **changes)).encode()
        return Sent(body, [("Content-Type", "text/plain; charset=UTF-8"), ("x-amz-sns-message-type", "Notification")])

    published = {CERTIFICATE_URL: certificate(RSA[0])}
    return Sender(f"aws_sns {version}", {"scheme": "aws_sns", "topics": [TOPIC]}, ("", ""), sign, published=published)


def event_grid() -> Sender:
    event = {"id": "d-1", "topic": "/t", "subject": "s", "eventType": "Shop.Changed", "data": {"sku": "CHAIR"}}

    def sign(key: int, _: float) -> Sent:
        return Sent(json.dumps([event]).encode(), [("Authorization", TEXT[key]), ("aeg-event-type", "Notification")])

    return Sender("azure_event_grid", {"scheme": "azure_event_grid"}, TEXT, sign, signs_body=False, signs_time=False)


SENDERS = [
    standard("webhook", lambda raw: "whsec_" + b64(raw)),
    standard("webhook", b64),
    standard("webhook", lambda raw: "whsec_" + b64(raw).rstrip("=")),
    standard("Svix", lambda raw: "whsec_" + base64.urlsafe_b64encode(raw).decode()),
    standard("svix", lambda raw: "v1,whsec_" + b64(raw)),
    asymmetric(),
    in_header("stripe", "Stripe-Signature", "{t}.", lambda found, at: f"t={at:.0f},v1={found.hex()},v0={'0' * 64}"),
    in_header(
        "github",
        "X-Hub-Signature-256",
        "",
        lambda found, _: f"sha256={found.hex()}",
        ("X-GitHub-Delivery", "d-1"),
        signs_time=False,
    ),
    in_header(
        "shopify",
        "X-Shopify-Hmac-Sha256",
        "",
        lambda found, _: b64(found),
        ("X-Shopify-Webhook-Id", "d-1"),
        ("X-Shopify-Topic", "orders/create"),
        signs_time=False,
    ),
    in_header("paddle", "Paddle-Signature", "{t}:", lambda found, at: f"ts={at:.0f};h1={found.hex()}"),
    in_header(
        "slack",
        "X-Slack-Signature",
        "v0:{t}:",
        lambda found, _: f"v0={found.hex()}",
        ("X-Slack-Request-Timestamp", "{t}"),
    ),
    in_header(
        "square",
        "x-square-hmacsha256-signature",
        URL,
        lambda found, _: b64(found),
        rules={"url": URL},
        signs_time=False,
    ),
    in_header(
        "hmac",
        "X-Signature",
        "{t}.",
        lambda found, _: found.hex(),
        ("X-Timestamp", "{t}"),
        ("X-Delivery-Id", "d-1"),
    ),
    in_header(
        "hmac",
        "X-Acme",
        "d-1/{t}/" + URL,
        lambda found, _: f"acme:{b64(found)}",
        ("Acme-Time", "{t}"),
        rules={
            "signed": "{id}/{timestamp}/{url}{body}",
            "signature_header": "x-acme",
            "signature_prefix": "acme:",
            "timestamp_header": "acme-time",
            "id_path": "event_id",
            "url": URL,
        },
    ),
    adyen(),
    sendgrid(),
    twilio(is_form=True),
    twilio(is_form=False),
    twilio(is_form=True, algorithm="sha256"),
    bearer("Authorization", "Bearer {}"),
    bearer("X-Gitlab-Token", "{}", token_header="x-gitlab-token"),
    token_in_url(),
    pubsub(is_wrapped=True),
    pubsub(is_wrapped=False),
    sns("1"),
    sns("2", Subject="Changed"),
    event_grid(),
]
