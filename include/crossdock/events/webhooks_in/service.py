"""A webhook into the hub: proved, kept durably, answered; its effect follows through the event store."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, NotFound
from crossdock.db.database import Store
from crossdock.events import store as event_log
from crossdock.events.model import WEBHOOK_RECEIVED, NewEvent
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.events.webhooks_in.signatures import Headers, WebhookRefused, WebhookRules, proved_id
from crossdock.integrations import airflow_connection

LARGEST_BYTES = 256 * 1024


class Receiver(msgspec.Struct, frozen=True):
    """What the hub knows of an integration's webhooks. Its repr shows no key."""

    integration: str
    rules: WebhookRules
    keys: Sequence[str]

    def __repr__(self) -> str:
        return f"Receiver({self.integration!r}, {len(self.keys)} keys)"


def connection_of(integration: str) -> str:
    """The Airflow connection with the keys: `<integration>_webhook`."""
    return f"{integration}_webhook"


def receiver_of(integration: str, entities: Collection[str]) -> Receiver:
    """
    The integration's receiver: keys from its connection's password, a space between; rules from its extra.

    Args:
        integration: Whose webhooks.
        entities: What can be synced; webhooks of anything else are refused.

    Raises:
        NotFound: there is no such connection, or it says nothing of webhooks.

    """
    connection = airflow_connection.find(connection_of(integration))
    if connection is None:
        raise NotFound(f"No webhooks of {integration!r} are known")
    return receiver_from(integration, connection.password or "", connection.extra, entities)


def receiver_from(integration: str, password: str, extra: Any, entities: Collection[str]) -> Receiver:
    """The same from what a connection holds. Raises NotFound when its rules cannot be read."""
    try:
        rules = msgspec.convert(extra, WebhookRules)
    except msgspec.ValidationError as error:
        raise NotFound(f"The connection {connection_of(integration)!r} does not say how webhooks are signed") from error
    if rules.entity not in entities:
        raise NotFound(f"The connection {connection_of(integration)!r} names an entity that nobody syncs")
    return Receiver(integration, rules, tuple(password.split()))


def receive(
    store: Store, receiver: Receiver, headers: Headers, body: bytes, *, now: Callable[[], datetime] | None = None
) -> str:
    """
    The delivery's id; by then it is stored durably, once, however often it comes.

    Raises:
        WebhookRefused: it is not proved to be the sender's; it is counted, and nothing of it is stored.
        BadRequest: it is the sender's, and has no key where the rules say; nothing is stored.

    """
    at = now() if now else datetime.now(UTC)
    try:
        delivery_id = proved_id(receiver.rules, receiver.keys, headers, body, now_s=at.timestamp())
    except WebhookRefused as error:
        with store.transaction() as work:
            refused_webhooks.add(work, receiver.integration, str(error), size_bytes=len(body))
        raise
    with store.transaction() as work:
        event_log.receive(work, _event(receiver, delivery_id, body, at))
    return delivery_id


def _event(receiver: Receiver, delivery_id: str, body: bytes, at: datetime) -> NewEvent:
    """The body goes along as the text that it is: whatever JSON cannot hold in a table is only escaped in it."""
    rules = receiver.rules
    key = _key(body, rules.key_path)
    data = {"entity": rules.entity, "key": key, "body": body.decode()}
    return NewEvent(
        source=f"/webhooks/{receiver.integration}",
        type=WEBHOOK_RECEIVED,
        subject=f"{rules.entity}/{key}",
        time=at,
        partition_key=f"{rules.entity}/{key}",
        data=json.dumps(data),
        event_id=delivery_id,
    )


#: A longer one is none, and no index of the database holds it: it would stop all that waits behind it.
_KEY_CHARACTERS = 256


def _key(body: bytes, path: str) -> str:
    try:
        value = json.loads(body)
        body.decode()
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is no JSON in UTF-8") from error
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, str) or not 0 < len(value) <= _KEY_CHARACTERS or not value.isprintable():
        raise BadRequest(f"The body has no key of 1 to {_KEY_CHARACTERS} printable characters at {path!r}")
    return value
