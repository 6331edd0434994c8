"""
Google Pub/Sub push: Google's OpenID Connect token names the service account of the subscription.

The token proves who sends; the body is not signed. The message is in `message.data`, in base64; of a subscription without
the wrapper, it is the body, and its ID is in a header.
Source: https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions.
"""

from __future__ import annotations

from crossdock.events.webhooks_in.checks import base64_of, has_header, json_of, one_header, text_at
from crossdock.events.webhooks_in.rules import WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Message, Signed
from crossdock.events.webhooks_in.schemes.openid import check_token

_KEYS_URL = "https://www.googleapis.com/oauth2/v3/certs"
_ISSUERS = frozenset({"https://accounts.google.com", "accounts.google.com"})
_ID_HEADER = "x-goog-pubsub-message-id"


def verify(arrival: Arrival) -> Signed:
    """Verify the token, and unwrap the message."""
    rules = arrival.rules
    issuers = frozenset({rules.issuer}) if rules.issuer else _ISSUERS
    claims = check_token(arrival, keys_url=rules.keys_url or _KEYS_URL, issuers=issuers)
    if claims.get("email") not in rules.subjects or claims.get("email_verified") is not True:
        raise WebhookRefused("the token names another service account than the connection says")
    if has_header(arrival.headers, _ID_HEADER):
        return _of(one_header(arrival.headers, _ID_HEADER), arrival.body)
    document = json_of(arrival.body)
    message_id = text_at(document, "message.messageId") or text_at(document, "message.message_id")
    if not message_id:
        raise WebhookRefused("the body is not a message of Pub/Sub")
    return _of(message_id, base64_of(text_at(document, "message.data")))


def _of(message_id: str, body: bytes) -> Signed:
    return Signed(message_id, (Message(message_id, body),))
