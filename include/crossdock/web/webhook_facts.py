"""Where an integration's webhooks go, and how their sender signs them. Shows no key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from crossdock.api.access import own_url
from crossdock.api.dependencies import existing
from crossdock.app.on_webhook_received import webhook_of
from crossdock.app.streams import datasets_of
from crossdock.core.errors import HubError
from crossdock.events.webhooks_in import service
from crossdock.events.webhooks_in.rules import SchemeName

_WHAT = "it has the keys of webhooks"

#: Scheme → what the sender does. docs/how-to/receive-webhooks.md has the rest.
SIGNING: Mapping[SchemeName, str] = {
    "standard": "Standard Webhooks: webhook-id, webhook-timestamp and webhook-signature over ID, time and body",
    "stripe": "Stripe-Signature over time and body, with the endpoint's signing secret (whsec_…)",
    "github": "X-Hub-Signature-256 over the body, with the webhook's secret",
    "shopify": "X-Shopify-Hmac-Sha256 over the body, with the app's client secret",
    "paddle": "Paddle-Signature over time and body, with the destination's secret",
    "slack": "X-Slack-Signature over time and body, with the app's signing secret",
    "square": "x-square-hmacsha256-signature over the URL and the body, with the subscription's signature key",
    "hmac": "An HMAC in a header, over what signed of the connection says",
    "adyen": "hmacSignature in each item, over its own fields, with the webhook's HMAC key",
    "sendgrid": "X-Twilio-Email-Event-Webhook-Signature (ECDSA) over time and body; the connection has the public key",
    "twilio": "X-Twilio-Signature over the URL and the form, with the account's auth token",
    "token": "The secret itself, in a header or in the URL",
    "google_pubsub": "A token of Google's for the subscription's service account",
    "aws_sns": "A signature of AWS over the message, checked with AWS's certificate",
    "azure_event_grid": "The secret itself, in a header or in the URL, or a token of Microsoft Entra",
}


@dataclass(frozen=True, kw_only=True)
class WebhookFacts:
    """What a person gives to the sender."""

    #: Whole where Airflow's own address is known, else below the host.
    path: str
    host: str
    connection_id: str
    #: None: it takes no webhooks; `missing` says why.
    scheme: SchemeName | None
    keys: int
    missing: str


def webhook_facts(integration_id: str) -> WebhookFacts:
    """Read how webhooks of the integration are signed, from its connection; what cannot be read is missing."""
    find = partial(service.receiver_of, datasets_of=datasets_of, webhook_of=webhook_of)
    scheme: SchemeName | None = None
    keys, missing = 0, ""
    try:
        receiver = existing(_WHAT, find, integration_id)
        scheme, keys = receiver.rules.scheme, len(receiver.keys)
    except HubError as error:
        missing = str(error)
    return WebhookFacts(
        path=f"/hub/v1/webhooks/{integration_id}",
        host=own_url(),
        connection_id=service.connection_of(integration_id),
        scheme=scheme,
        keys=keys,
        missing=missing,
    )
