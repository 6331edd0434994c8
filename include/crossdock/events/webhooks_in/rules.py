"""The rules for an integration's webhooks: how they are signed, and which records they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import Terminal

SchemeName = Literal[
    "standard",
    "stripe",
    "github",
    "shopify",
    "paddle",
    "slack",
    "adyen",
    "sendgrid",
    "square",
    "twilio",
    "token",
    "hmac",
    "google_pubsub",
    "aws_sns",
    "azure_event_grid",
]
SCHEME_NAMES: tuple[str, ...] = get_args(SchemeName)

Headers = Sequence[tuple[str, str]]


class WebhookRefused(Terminal):
    """
    The delivery is not the sender's. The message gives the reason to the sender's developer, and to the hub's own records.

    It has no word of the request: refusals are counted by their message.
    """


class NotConfigured(WebhookRefused):
    """The connection lacks what the scheme needs. The reason is for the hub's own people; the sender does not get it."""


class RecordRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which records messages name."""

    #: The types of messages; empty for all that have a key.
    types: tuple[str, ...] = ()
    dataset: str
    #: The path of the record's key in the message; dots separate nested fields, and of a list each item counts.
    key_path: str
    #: Whether the key is the source's ID of the record; otherwise it is its business key.
    by_id: bool = False


class WebhookRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules for an integration's webhooks: signature and content; from the `extra` of its Airflow connection."""

    scheme: SchemeName = "standard"
    #: The dataset of the record that each delivery names. None, as *key_path*: the connector says what deliveries mean.
    dataset: str | None = None
    #: The path of the record's key in the body; dots separate nested fields, and of a list each item counts.
    key_path: str | None = None
    #: Whether the key is the source's ID of the record; otherwise it is its business key.
    by_id: bool = False
    #: The same for several datasets, by the type of the message.
    records: tuple[RecordRule, ...] = ()
    #: Where a message has its type: a header, or a path in the body. Of known senders the scheme says it.
    type_header: str = ""
    type_path: str = ""
    #: Where the body has a list of messages, each with a type of its own; a body that is a list is one without it.
    items_path: str = ""

    #: The URL as the sender has it, where the sender signs it (`square`, `twilio`, or {url} in *signed*).
    url: str = ""

    #: Of `hmac`. What is signed: a text with {body}, {timestamp}, {id} and {url}. If empty, `{timestamp}.{body}`, or the
    #: body alone where *timestamp_header* is empty: then only its id distinguishes an old delivery from a new one.
    signed: str = ""
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    signature_header: str = "x-signature"
    #: What stands before the signature in its header, such as `v0=`. `sha256=` need not be named.
    signature_prefix: str = ""
    timestamp_header: str = "x-timestamp"
    #: Whether a delivery without a timestamp is refused; otherwise it is signed over the body alone.
    timestamp_required: bool = True
    id_header: str = "x-delivery-id"
    #: Where the body has the id of the delivery, for `hmac` and `token`; it replaces *id_header*.
    id_path: str = ""

    #: Of `token`: the header with the secret, after `Bearer ` or alone. Of `azure_event_grid`, too.
    token_header: str = "authorization"  # noqa: S105  a name
    #: The parameter of the URL with the secret, where the sender can set no header. Of `aws_sns`, beside the signature.
    token_parameter: str = ""

    #: Of `google_pubsub`, and of `azure_event_grid` with Microsoft Entra: whom the token must be for, from and of.
    audience: str = ""
    issuer: str = ""
    #: The service account's e-mail address (Google), or the application's id (Entra).
    subjects: tuple[str, ...] = ()
    #: Where the issuer publishes its keys, if that is not known from the scheme.
    keys_url: str = ""
    #: Private networks that *keys_url* may lead to.
    allowed_networks: tuple[str, ...] = ()

    #: Of `aws_sns`: the ARNs of the topics that may send.
    topics: tuple[str, ...] = ()


prepare(WebhookRules)
