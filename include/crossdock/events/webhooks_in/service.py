"""Receive a webhook: verify its signature, store its events durably, then answer. Their effects follow by delivery."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.core.card_data import CardDataRefused
from crossdock.core.errors import NotFound
from crossdock.core.ids import prefixed
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.events.webhooks_in.declared_records import declared_rules, unknown_dataset, webhook_of_rules
from crossdock.events.webhooks_in.meaning import Understood, understand
from crossdock.events.webhooks_in.ports import SOURCE, Webhook, WebhookOf
from crossdock.events.webhooks_in.public_keys import public_keys
from crossdock.events.webhooks_in.rules import Headers, WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes.model import ReadKeys, Signed
from crossdock.events.webhooks_in.signatures import verify
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection
from crossdock.integrations.manifests import manifests

#: Lists the datasets that an integration has streams of; `app` provides it.
DatasetsOf = Callable[[str], Collection[str]]

#: SendGrid collects events until they have 768 KB.
LARGEST_BYTES = 1024 * 1024

__all__ = [
    "LARGEST_BYTES",
    "SOURCE",
    "Receiver",
    "Request",
    "connection_of",
    "prove",
    "receive",
    "receiver_for",
    "receiver_of",
    "refuse",
    "take",
]


class Receiver(msgspec.Struct, frozen=True):
    """The rules and keys of an integration's webhooks, and what they mean. Its repr shows no key."""

    integration: str
    rules: WebhookRules
    keys: Sequence[str]
    webhook: Webhook
    #: The integration's visible settings, which a connector may compare with what its sender says.
    settings: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Receiver({self.integration!r}, {len(self.keys)} keys)"


def connection_of(sender: str) -> str:
    """Name the Airflow connection with the keys: `<integration>_webhook`; of a workflow's webhook, `workflows_<webhook>_webhook`."""
    return prefixed(f"{sender.replace('/', '_')}_webhook")


def receiver_of(integration: str, datasets_of: DatasetsOf, webhook_of: WebhookOf) -> Receiver:
    """
    Load the integration's receiver: keys from the password of its connection, separated by spaces; rules from its extra.

    Args:
        integration: The sender of the webhooks.
        datasets_of: Lists the datasets of an integration; webhooks about others are refused.
        webhook_of: Finds what its connector declares.

    Raises:
        NotFound: there is no such connection, or it has no rules for webhooks.

    """
    connection = _connection(integration)
    password, extra = connection.password or "", connection.extra
    receiver = receiver_from(integration, password, extra, datasets_of(integration), webhook_of(integration))
    return msgspec.structs.replace(receiver, settings=_settings_of(integration))


def receiver_for(sender: str, webhook: Webhook) -> Receiver:
    """
    Load the receiver of a sender that is no integration, and whose deliveries mean what *webhook* says. Its connection names no dataset.

    Raises:
        NotFound: as `receiver_of`.

    """
    connection = airflow_connection.find(connection_of(sender))
    if connection is None:
        raise NotFound(
            f"The webhook {sender} has no key. To receive it, create the Airflow connection {connection_of(sender)!r} with the key "
            "that the sender signs with"
        )
    return receiver_from(sender, connection.password or "", connection.extra, (), webhook)


def _connection(integration: str) -> Connection:
    connection = airflow_connection.find(connection_of(integration))
    if connection is None:
        raise NotFound(
            f"No webhooks are configured for {integration!r}. To receive them, create the Airflow connection "
            f"{connection_of(integration)!r} with the key that the sender signs with"
        )
    return connection


def _settings_of(integration: str) -> Mapping[str, Any]:
    connection = airflow_connection.find(prefixed(integration))
    manifest = manifests().get(connection.conn_type or "") if connection else None
    return manifest.settings_of(connection) if connection and manifest else {}


def receiver_from(
    integration: str, password: str, extra: Any, datasets: Collection[str], declared: Webhook | None = None
) -> Receiver:
    """
    Create the receiver from the password and the extra of a connection, and the webhooks that the connector declares.

    Raises:
        NotFound: its rules cannot be read, or do not say what a delivery means.

    """
    connection_id = connection_of(integration)
    try:
        rules = msgspec.convert(extra, WebhookRules)
    except msgspec.ValidationError as error:
        raise NotFound(f"The connection {connection_id!r} does not say how webhooks are signed") from error
    if (rules.dataset is None) != (rules.key_path is None):
        raise NotFound(f"The connection {connection_id!r} must name both `dataset` and `key_path`, or neither of them")
    keys = tuple(password.split())
    if not declared_rules(rules):
        if declared is None:
            raise NotFound(
                f"The connection {connection_id!r} must name `dataset` and `key_path`: the connector of {integration} "
                "declares no webhooks"
            )
        return Receiver(integration, rules, keys, declared)
    if unknown := unknown_dataset(rules, datasets):
        raise NotFound(
            f"The connection {connection_id!r} names the dataset {unknown!r}, but {integration} has "
            f"{', '.join(sorted(datasets)) or 'none'}"
        )
    return Receiver(integration, rules, keys, webhook_of_rules(rules))


class Request(msgspec.Struct, frozen=True):
    """A request as it came. Its repr shows nothing of it."""

    headers: Headers
    body: bytes
    query: str = ""

    def __repr__(self) -> str:
        return f"Request({len(self.body)} bytes)"


def receive(
    store: Store, receiver: Receiver, request: Request, *, now: Callable[[], datetime] | None = None
) -> Understood:
    """
    Verify and store the webhook. Idempotent: it is stored once, however often it comes.

    Raises:
        WebhookRefused: the delivery is not the sender's; it is counted, and nothing of it is stored.
        BadRequest: the delivery is the sender's, but lacks what its meaning needs, such as a key; nothing is stored.
        CardDataRefused: it has card data; the webhook is counted, and nothing of it is stored.

    """
    at = now() if now else datetime.now(UTC)
    try:
        signed = prove(receiver, request, at)
    except WebhookRefused as error:
        refuse(store, receiver, request, error)
        raise
    return take(store, receiver, request, signed, at)


def prove(receiver: Receiver, request: Request, at: datetime) -> Signed:
    """
    Verify who sent the webhook. Stores nothing, and counts nothing.

    Raises:
        WebhookRefused: it is not the sender.
        Transient: the sender's public keys cannot be read.

    """
    return verify(
        receiver.rules,
        receiver.keys,
        request.headers,
        request.body,
        now_s=at.timestamp(),
        query=request.query,
        read_keys=_reader(receiver),
    )


def refuse(store: Store, receiver: Receiver, request: Request, error: WebhookRefused) -> None:
    """Count a webhook that is not the sender's."""
    _count(store, receiver, request, str(error))


def take(store: Store, receiver: Receiver, request: Request, signed: Signed, at: datetime) -> Understood:
    """Store what a webhook of the sender means. Raises as `receive`."""
    headers = {name.lower(): value for name, value in request.headers}
    try:
        understood = understand(
            receiver.integration,
            receiver.webhook,
            receiver.rules,
            signed,
            headers=headers,
            at=at,
            settings=receiver.settings,
        )
    except CardDataRefused:
        _count(store, receiver, request, refused_webhooks.CARD_DATA)
        raise
    with store.transaction() as work:
        event_store.receive_all(work, understood.events)
    return understood


def _count(store: Store, receiver: Receiver, request: Request, reason: str) -> None:
    with store.transaction() as work:
        refused_webhooks.add(work, receiver.integration, reason, size_bytes=len(request.body))


def _reader(receiver: Receiver) -> ReadKeys:
    allowed = receiver.rules.allowed_networks
    # SNS's messages name their certificate; all others are found where the connection or the scheme says.
    is_named_by_delivery = receiver.rules.scheme == "aws_sns"
    return lambda url, newer: public_keys().read(
        url, newer=newer, allowed_networks=allowed, is_named_by_delivery=is_named_by_delivery
    )
