"""The system's event webhook: what became of each mail, in lists that are signed with ECDSA."""

import base64
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from crossdock.sandbox.engine import webhook_sender

#: The part of the recipient before the @ → what becomes of the mail. All others are delivered.
_HAPPENS = {
    "bounce": ("processed", "bounce"),
    "dropped": ("dropped",),
    "deferred": ("processed", "deferred", "delivered"),
    "spam": ("processed", "delivered", "spamreport"),
}
_DELIVERED = ("processed", "delivered")


class WebhookSender(webhook_sender.WebhookSender):
    """Sends lists of events, signed with a key that is drawn anew at each start."""

    def __init__(self, url: str | None) -> None:
        super().__init__(url)
        self._key = ec.generate_private_key(ec.SECP256R1())

    @property
    def public_key(self) -> str:
        """The key by which a receiver verifies them, as the vendor's page shows it."""
        public = self._key.public_key()
        return base64.b64encode(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()

    def headers_of(self, body: bytes) -> Mapping[str, str]:
        at_s = str(int(time.time()))
        signature = self._key.sign(at_s.encode() + body, ec.ECDSA(hashes.SHA256()))
        return {
            "X-Twilio-Email-Event-Webhook-Timestamp": at_s,
            "X-Twilio-Email-Event-Webhook-Signature": base64.b64encode(signature).decode(),
        }


def events_of(mail: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Say what becomes of a *mail* that was accepted, for each of its recipients."""
    return [
        _event(mail, personalization, recipient["email"], what)
        for personalization in mail["personalizations"]
        for recipient in personalization["to"]
        for what in _what_happens(recipient["email"])
    ]


def _what_happens(address: str) -> tuple[str, ...]:
    return _HAPPENS.get(address.partition("@")[0], _DELIVERED)


def _event(mail: Mapping[str, Any], personalization: Mapping[str, Any], address: str, what: str) -> dict[str, Any]:
    message_id = mail["message_id"]
    return {
        "email": address,
        "timestamp": int(time.time()),
        "event": what,
        "sg_event_id": secrets.token_urlsafe(36),
        "sg_message_id": f"{message_id}.recvd-5f4c-1-65AF.0",
        "smtp-id": f"<{message_id}@geopod-ismtpd-1>",
        "category": mail.get("categories", []),
        **dict(_more(what, address)),
        **mail.get("custom_args", {}),
        **personalization.get("custom_args", {}),
    }


def _more(what: str, address: str) -> Iterator[tuple[str, Any]]:
    match what:
        case "bounce":
            yield from {"type": "bounce", "status": "5.1.1", "reason": f"550 5.1.1 <{address}>: unknown"}.items()
        case "dropped":
            yield "reason", "Bounced Address"
        case "deferred":
            yield from {"response": f"450 4.2.1 <{address}>: try again later", "attempt": "1"}.items()
        case "delivered":
            yield "response", "250 OK"
