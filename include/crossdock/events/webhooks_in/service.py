"""Receive a webhook: verify its signature, store its events durably, then answer. Their effects follow by delivery."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.core.card_data import CardDataRefused, keep_repeated, refuse_card_data
from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest, NotFound
from crossdock.core.ids import prefixed
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import WEBHOOK_IGNORED, WEBHOOK_RECEIVED, NewEvent
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.events.webhooks_in.ports import Delivery, FetchKeys, IsEvent, Webhook, WebhookOf
from crossdock.events.webhooks_in.signatures import Headers, WebhookRefused, WebhookRules, verify
from crossdock.integrations import airflow_connection
from crossdock.integrations.manifests import manifests

prepare(WebhookRules)

#: In JSON, behind an even number of backslashes. No column of a subscriber's holds it: its event would fail for ever.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")

#: Lists the datasets that an integration has streams of; `app` provides it.
DatasetsOf = Callable[[str], Collection[str]]

#: SendGrid collects events until they have 768 KB.
LARGEST_BYTES = 1024 * 1024
#: Begins the source of a webhook's event; the integration follows.
SOURCE = "/webhooks/"


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


def connection_of(integration: str) -> str:
    """Name the Airflow connection with the keys: `<integration>_webhook`."""
    return prefixed(f"{integration}_webhook")


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
    connection = airflow_connection.find(connection_of(integration))
    if connection is None:
        raise NotFound(f"No webhooks are configured for {integration!r}")
    password, extra = connection.password or "", connection.extra
    receiver = receiver_from(integration, password, extra, datasets_of(integration), webhook_of(integration))
    return msgspec.structs.replace(receiver, settings=_settings_of(integration))


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
    if rules.dataset is None and rules.key_path is None and declared is not None:
        return Receiver(integration, rules, tuple(password.split()), declared)
    if rules.dataset is None or rules.key_path is None:
        raise NotFound(
            f"The connection {connection_id!r} must name `dataset` and `key_path`"
            + (", or neither of them" if declared else f": the connector of {integration} declares no webhooks")
        )
    if rules.dataset not in datasets:
        raise NotFound(
            f"The connection {connection_id!r} names the dataset {rules.dataset!r}, but {integration} has "
            f"{', '.join(sorted(datasets)) or 'none'}"
        )
    return Receiver(integration, rules, tuple(password.split()), _named_record(rules.dataset, rules.key_path))


def receive(
    store: Store, receiver: Receiver, headers: Headers, body: bytes, *, now: Callable[[], datetime] | None = None
) -> str:
    """
    Verify and store the webhook; return its delivery id. Idempotent: it is stored once, however often it comes.

    Raises:
        WebhookRefused: the signature is not the sender's; the webhook is counted, and nothing of it is stored.
        BadRequest: the signature is right, but the body lacks what its meaning needs, such as a key; nothing is stored.
        CardDataRefused: it has card data; the webhook is counted, and nothing of it is stored.

    """
    at = now() if now else datetime.now(UTC)
    try:
        delivery_id = verify(receiver.rules, receiver.keys, headers, body, now_s=at.timestamp())
    except WebhookRefused as error:
        with store.transaction() as work:
            refused_webhooks.add(work, receiver.integration, str(error), size_bytes=len(body))
        raise
    try:
        events = list(_events(receiver, delivery_id, body, at))
    except CardDataRefused:
        with store.transaction() as work:
            refused_webhooks.add(work, receiver.integration, refused_webhooks.CARD_DATA, size_bytes=len(body))
        raise
    with store.transaction() as work:
        for event in events:
            event_store.receive(work, event)
    return delivery_id


def _events(receiver: Receiver, delivery_id: str, body: bytes, at: datetime) -> Iterator[NewEvent]:
    """Build the events of a delivery. Nothing of another system is stored under an id or key that no index holds."""
    webhook = receiver.webhook
    delivery = Delivery(receiver.integration, delivery_id, at, _decoded(body), receiver.settings)
    types, message_id = webhook.types_of(delivery), _checked(webhook.message_id(delivery), "id")
    match next((webhook.meanings[name] for name in types if name in webhook.meanings), None):
        case None:
            yield _ignored(delivery, message_id, types[0] if types else "", body)
        case FetchKeys() as fetch:
            for number, key in enumerate(fetch.keys(delivery), start=1):
                event_id = message_id if number == 1 else f"{message_id}:{number}"
                yield _fetch(delivery, event_id, fetch, _checked(key, "key"), body)
        case IsEvent() as is_event:
            yield from _published(delivery, is_event)


def _published(delivery: Delivery, is_event: IsEvent) -> Sequence[NewEvent]:
    try:
        events = is_event.events(delivery)
    except UnicodeEncodeError as error:
        raise BadRequest("The body contains half a character (a lone surrogate)") from error
    for event in events:
        for value, what in ((event.event_id, "id"), (event.partition_key, "key"), (event.subject or "-", "subject")):
            _checked(value, what)
        if _NUL.search(event.data):
            raise BadRequest("A text of the body contains NUL")
    return events


def _fetch(delivery: Delivery, event_id: str, fetch: FetchKeys, key: str, body: bytes) -> NewEvent:
    """Build the event whose subscriber fetches the record. The body is text: a json column cannot hold all of it."""
    data = {"dataset": fetch.dataset, "key": key, "by_id": fetch.by_id, "body": body.decode()}
    return NewEvent(
        source=f"{SOURCE}{delivery.integration}",
        type=WEBHOOK_RECEIVED,
        subject=f"{fetch.dataset}/{key}",
        time=delivery.received_at,
        partition_key=f"{delivery.integration}.{fetch.dataset}/{key}",
        data=json.dumps(data),
        event_id=event_id,
        schema_version=2,
    )


def _ignored(delivery: Delivery, event_id: str, message_type: str, body: bytes) -> NewEvent:
    """Build the record of a message that means nothing here: a sender often cannot choose which types it sends."""
    name = message_type[:_LONGEST] if message_type.isprintable() else ""
    return NewEvent(
        source=f"{SOURCE}{delivery.integration}",
        type=WEBHOOK_IGNORED,
        subject=f"message/{name}",
        time=delivery.received_at,
        partition_key=f"{delivery.integration}.{name}",
        data=json.dumps({"message_type": name, "body": body.decode()}),
        event_id=event_id,
    )


#: No database index holds a longer key: its event would block all others of its partition.
_LONGEST = 256


def _checked(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise BadRequest(f"The body has no {what} of 1 to {_LONGEST} printable characters")
    return value


def _decoded(body: bytes) -> Any:
    try:
        body.decode()
        document = json.loads(body)
        # The text is stored as it came: also what a reader of it drops, because its name comes again.
        refuse_card_data(json.loads(body, object_pairs_hook=keep_repeated))
    except (ValueError, RecursionError) as error:
        raise BadRequest("The body is not JSON in UTF-8") from error
    return document


def _named_record(dataset: str, path: str) -> Webhook:
    """Declare the webhooks of a sender that names one record of one dataset, always in the same place."""

    def keys(delivery: Delivery) -> Sequence[str]:
        value = delivery.document
        for step in path.split("."):
            value = value.get(step) if isinstance(value, dict) else None
        try:
            return [_checked(value, "key")]
        except BadRequest as error:
            raise BadRequest(f"{error} at {path!r}") from None

    return Webhook(types_of=lambda _: ("record",), meanings={"record": FetchKeys(dataset, keys)})
