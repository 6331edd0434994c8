"""The provider's signature of webhooks."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

from crossdock.sandbox.engine import webhook_sender


def signature(secret: str, body: bytes, at_s: int) -> str:
    """Make the header `Stripe-Signature` of *body*: HMAC-SHA256 over the time and the body."""
    signed = hmac.new(secret.encode(), f"{at_s}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={signed}"


class WebhookSender(webhook_sender.WebhookSender):
    """Sends events, signed."""

    def __init__(self, url: str | None, secret: str) -> None:
        super().__init__(url)
        self.secret = secret
        #: How often each event was taken, by its ID.
        self.delivered: dict[str, int] = {}

    def headers_of(self, body: bytes) -> Mapping[str, str]:
        return {"Stripe-Signature": signature(self.secret, body, int(time.time()))}

    def note_taken(self, document: Any) -> None:
        self.delivered[document["id"]] = self.delivered.get(document["id"], 0) + 1
