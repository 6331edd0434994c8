"""The signature schemes. One module for each family; how an integration's sender signs is configuration."""

from collections.abc import Mapping

from crossdock.events.webhooks_in.rules import SchemeName
from crossdock.events.webhooks_in.schemes import (
    adyen,
    aws_sns,
    azure_event_grid,
    google_pubsub,
    hmac_header,
    sendgrid,
    standard,
    token,
    twilio,
)
from crossdock.events.webhooks_in.schemes.model import Scheme

SCHEMES: Mapping[SchemeName, Scheme] = {
    "standard": standard.verify,
    "stripe": hmac_header.scheme_of(hmac_header.STRIPE),
    "github": hmac_header.scheme_of(hmac_header.GITHUB),
    "shopify": hmac_header.scheme_of(hmac_header.SHOPIFY),
    "paddle": hmac_header.scheme_of(hmac_header.PADDLE),
    "square": hmac_header.scheme_of(hmac_header.SQUARE),
    "slack": hmac_header.slack,
    "hmac": hmac_header.plain,
    "adyen": adyen.verify,
    "sendgrid": sendgrid.verify,
    "twilio": twilio.verify,
    "token": token.verify,
    "google_pubsub": google_pubsub.verify,
    "aws_sns": aws_sns.verify,
    "azure_event_grid": azure_event_grid.verify,
}
#: Those whose senders prove themselves by public keys alone, so that the connection needs no password.
WITHOUT_KEYS: frozenset[SchemeName] = frozenset({"google_pubsub", "aws_sns"})
