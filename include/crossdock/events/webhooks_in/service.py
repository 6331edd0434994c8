"""Receive a webhook: verify its signature, store it durably as an event, then answer. Its effect follows by delivery."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.ids import prefixed
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import WEBHOOK_RECEIVED, NewEvent
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.events.webhooks_in.signatures import Headers, WebhookRefused, WebhookRules, verify
from crossdock.integrations import airflow_connection

prepare(WebhookRules)

#: Lists the datasets that an integration has streams of; `app` provides it.
DatasetsOf = Callable[[str], Collection[str]]

LARGEST_BYTES = 256 * 1024
#: Begins the source of a webhook's event; the integration follows.
SOURCE = "/webhooks/"


class Receiver(msgspec.Struct, frozen=True):
    """The rules and keys of an integration's webhooks. Its repr shows no key."""

    integration: str
    rules: WebhookRules
    keys: Sequence[str]

    def __repr__(self) -> str:
        return f"Receiver({self.integration!r}, {len(self.keys)} keys)"


def connection_of(integration: str) -> str:
    """Name the Airflow connection with the keys: `<integration>_webhook`."""
    return prefixed(f"{integration}_webhook")


def receiver_of(integration: str, datasets_of: DatasetsOf) -> Receiver:
    """
    Load the integration's receiver: keys from the password of its connection, separated by spaces; rules from its extra.

    Args:
        integration: The sender of the webhooks.
        datasets_of: Lists the datasets of an integration; webhooks about others are refused.

    Raises:
        NotFound: there is no such connection, or it has no rules for webhooks.

    """
    connection = airflow_connection.find(connection_of(integration))
    if connection is None:
        raise NotFound(f"No webhooks are configured for {integration!r}")
    return receiver_from(integration, connection.password or "", connection.extra, datasets_of(integration))


def receiver_from(integration: str, password: str, extra: Any, datasets: Collection[str]) -> Receiver:
    """
    Create the receiver from the password and the extra of a connection.

    Raises:
        NotFound: its rules cannot be read.

    """
    try:
        rules = msgspec.convert(extra, WebhookRules)
    except msgspec.ValidationError as error:
        raise NotFound(f"The connection {connection_of(integration)!r} does not say how webhooks are signed") from error
    if rules.dataset not in datasets:
        raise NotFound(
            f"The connection {connection_of(integration)!r} names the dataset {rules.dataset!r}, but {integration} has "
            f"{', '.join(sorted(datasets)) or 'none'}"
        )
    return Receiver(integration, rules, tuple(password.split()))


def receive(
    store: Store, receiver: Receiver, headers: Headers, body: bytes, *, now: Callable[[], datetime] | None = None
) -> str:
    """
    Verify and store the webhook; return its delivery id. Idempotent: it is stored once, however often it comes.

    Raises:
        WebhookRefused: the signature is not the sender's; the webhook is counted, and nothing of it is stored.
        BadRequest: the signature is right, but the body has no key where the rules say; nothing is stored.

    """
    at = now() if now else datetime.now(UTC)
    try:
        delivery_id = verify(receiver.rules, receiver.keys, headers, body, now_s=at.timestamp())
    except WebhookRefused as error:
        with store.transaction() as work:
            refused_webhooks.add(work, receiver.integration, str(error), size_bytes=len(body))
        raise
    with store.transaction() as work:
        event_store.receive(work, _event(receiver, delivery_id, body, at))
    return delivery_id


def _event(receiver: Receiver, delivery_id: str, body: bytes, at: datetime) -> NewEvent:
    """Build the event with the body as text: what a json column cannot hold is escaped in it."""
    rules = receiver.rules
    key = _key(body, rules.key_path)
    data = {"dataset": rules.dataset, "key": key, "body": body.decode()}
    return NewEvent(
        source=f"{SOURCE}{receiver.integration}",
        type=WEBHOOK_RECEIVED,
        subject=f"{rules.dataset}/{key}",
        time=at,
        partition_key=f"{receiver.integration}.{rules.dataset}/{key}",
        data=json.dumps(data),
        event_id=delivery_id,
        schema_version=2,
    )


#: No database index holds a longer key: its event would block all others of its partition.
_KEY_CHARACTERS = 256


def _key(body: bytes, path: str) -> str:
    try:
        value = json.loads(body)
        body.decode()
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON in UTF-8") from error
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= _KEY_CHARACTERS or not value.isprintable():
        raise BadRequest(f"The body has no key of 1 to {_KEY_CHARACTERS} printable characters at {path!r}")
    return value
