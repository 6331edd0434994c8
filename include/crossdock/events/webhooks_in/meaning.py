"""From a delivery to the events that are stored: each of its messages is accounted for."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from crossdock.core.card_data import CardDataRefused
from crossdock.core.errors import BadRequest
from crossdock.events.model import WEBHOOK_HANDSHAKE, WEBHOOK_IGNORED, WEBHOOK_RECEIVED, NewEvent
from crossdock.events.webhooks_in.content import MOST_RECORDS, document_of, is_plain_text, items_of
from crossdock.events.webhooks_in.ports import SOURCE, Delivery, FetchKeys, IsEvent, Webhook
from crossdock.events.webhooks_in.rules import WebhookRules
from crossdock.events.webhooks_in.schemes.model import Handshake, Signed

#: In JSON, behind an even number of backslashes. No column of a subscriber's holds it: its event would fail for ever.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
#: No database index holds a longer key: its event would block all others of its partition.
_LONGEST = 256
#: In place of a document: nothing in a plain text has a meaning for a connector.
_TEXT = object()
#: Of the ignored messages of one list: the others are counted under no name.
_MOST_TYPES = 20


@dataclass(frozen=True)
class Understood:
    """What a delivery means, and how it is answered."""

    delivery_id: str
    events: Sequence[NewEvent]
    #: How many records and events it brought.
    taken: int
    #: Messages that mean nothing here.
    ignored: int
    #: Of several messages: why those that lack something were kept as ignored.
    faults: tuple[str, ...]
    status: int
    #: What the sender wants to read in the answer.
    answer: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class _Meant:
    """What one message means, or a list that a connector reads itself."""

    #: Of records and of what connectors publish.
    taken: Sequence[NewEvent] = ()
    #: The records of messages that mean nothing here, and how many messages those are.
    ignored: Sequence[NewEvent] = ()
    ignored_messages: int = 0


def understand(
    integration: str,
    webhook: Webhook,
    rules: WebhookRules,
    signed: Signed,
    *,
    headers: Mapping[str, str],
    at: datetime,
    settings: Mapping[str, Any],
) -> Understood:
    """
    Build the events of a delivery. Nothing of another system is stored under an ID or key that no index holds.

    Raises:
        BadRequest: a message lacks what its meaning needs. Of several messages, all do.
        CardDataRefused: it has card data.

    """
    base = Delivery(integration, signed.id, at, None, settings, headers)
    if signed.handshake is not None:
        for text in signed.handshake.answer.values() if signed.handshake.answer else ():
            _checked(text, "text to answer")
        return Understood(
            signed.id, [_handshake(base, signed.handshake)], 0, 1, (), signed.status, signed.handshake.answer
        )
    deliveries = list(_deliveries(base, signed, rules, webhook))
    meant: list[_Meant] = []
    faults: list[BadRequest] = []
    for delivery, body in deliveries:
        try:
            meant.append(_meant(webhook, delivery, body))
        except BadRequest as error:
            if len(deliveries) == 1 or isinstance(error, CardDataRefused):
                raise
            faults.append(error)
            # In its place, so that the events are in the order of the messages.
            meant.append(_Meant(ignored=[_ignored(delivery, delivery.id, "", body, reason=str(error))]))
    if faults and len(faults) == len(deliveries):
        raise faults[0]
    events = [event for each in meant for event in (*each.taken, *each.ignored)]
    # What a connector publishes is bounded by the size of the body.
    if (named := sum(event.type == WEBHOOK_RECEIVED for event in events)) > MOST_RECORDS:
        raise BadRequest(f"The body names {named:,} records. At most {MOST_RECORDS:,} are taken: send fewer at once")
    return Understood(
        signed.id,
        events,
        taken=sum(len(each.taken) for each in meant),
        ignored=sum(each.ignored_messages for each in meant),
        faults=tuple(map(str, faults)),
        status=signed.status,
    )


def _deliveries(
    base: Delivery, signed: Signed, rules: WebhookRules, webhook: Webhook
) -> Iterator[tuple[Delivery, bytes]]:
    """Take lists apart where the connection says what messages mean; a connector reads its own."""
    for message in signed.messages:
        if is_plain_text(message):
            yield replace(base, id=message.id, document=_TEXT), message.body
            continue
        document = document_of(message)
        items = items_of(message, rules.items_path) if webhook.takes_lists_apart else [message]
        if items == [message]:
            yield replace(base, id=message.id, document=document), message.body
            continue
        for number, item in enumerate(items, start=1):
            # What it holds was checked with the whole.
            single = replace(
                base, id=_numbered(message.id, number, "/"), document=json.loads(item.body), envelope=document
            )
            yield single, item.body


def _meant(webhook: Webhook, delivery: Delivery, body: bytes) -> _Meant:
    if delivery.document is _TEXT:
        return _Meant((), [_ignored(delivery, delivery.id, "", body)], 1)
    types, message_id = webhook.types_of(delivery), _checked(webhook.message_id(delivery), "id")
    match next((webhook.meanings[name] for name in types if name in webhook.meanings), None):
        case FetchKeys() as fetch:
            return _Meant(list(_fetches(delivery, message_id, fetch, body)))
        case IsEvent() as is_event:
            taken, names = _published(delivery, is_event), webhook.ignored_types(delivery)
            # What a connector leaves out may be about other people: it is counted, and not kept.
            ignored = _ignored_types(delivery, message_id, names or ([] if taken else types[:1]))
            return _Meant(taken, ignored, len(names) or len(ignored))
        case _:
            messages = max(1, len(webhook.ignored_types(delivery)))
            kept = _ignored(delivery, message_id, types[0] if types else "", body, messages=messages)
            return _Meant((), [kept], messages)


def _fetches(delivery: Delivery, message_id: str, fetch: FetchKeys, body: bytes) -> Iterator[NewEvent]:
    for number, key in enumerate(fetch.keys(delivery), start=1):
        # The body is kept once, however many records it names.
        kept = body if number == 1 else b""
        yield _fetch(delivery, _numbered(message_id, number, ":"), fetch, _checked(key, "key"), kept)


def _ignored_types(delivery: Delivery, message_id: str, names: Sequence[str]) -> list[NewEvent]:
    """Build one record for each type of the messages of a list, with their number: a mailer reports thousands of clicks."""
    counts = Counter(names)
    shown = dict(counts.most_common(_MOST_TYPES))
    if others := counts.total() - sum(shown.values()):
        shown[""] = shown.get("", 0) + others
    return [
        _ignored(delivery, _numbered(message_id, number, "#"), name, b"", messages=messages)
        for number, (name, messages) in enumerate(sorted(shown.items()), start=1)
    ]


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
    kind = f"{fetch.dataset}/{key}"
    return _event(delivery, WEBHOOK_RECEIVED, event_id, subject=kind, part=kind, data=data, schema_version=2)


def _ignored(
    delivery: Delivery, event_id: str, message_type: str, body: bytes, *, reason: str | None = None, messages: int = 1
) -> NewEvent:
    """Build the record of what means nothing here: a sender often cannot choose which types it sends."""
    name = message_type[:_LONGEST] if message_type.isprintable() else ""
    data: dict[str, Any] = {"message_type": name, "body": body.decode()}
    data |= {"reason": reason} if reason else {}
    data |= {"messages": messages} if messages > 1 else {}
    return _event(delivery, WEBHOOK_IGNORED, event_id, subject=f"message/{name}", part=name, data=data)


def _handshake(delivery: Delivery, handshake: Handshake) -> NewEvent:
    """Build the record of a handshake. Its subscriber visits the address that has to be visited."""
    kind = handshake.kind
    data = {"kind": kind, "confirm_url": handshake.confirm_url}
    return _event(delivery, WEBHOOK_HANDSHAKE, delivery.id, subject=f"handshake/{kind}", part=kind, data=data)


def _event(
    delivery: Delivery,
    event_type: str,
    event_id: str,
    *,
    subject: str,
    part: str,
    data: Mapping[str, Any],
    schema_version: int = 1,
) -> NewEvent:
    """Build an event of the hub's own about a message; those of one *part* of an integration are delivered in order."""
    return NewEvent(
        source=f"{SOURCE}{delivery.integration}",
        type=event_type,
        subject=subject,
        time=delivery.received_at,
        partition_key=f"{delivery.integration}.{part}",
        data=json.dumps(data),
        event_id=event_id,
        schema_version=schema_version,
    )


def _numbered(message_id: str, number: int, sign: str) -> str:
    """Name the parts of a message, the first one as the message. Items and the keys of an item have signs of their own."""
    name = message_id if number == 1 else f"{message_id}{sign}{number}"
    return name if len(name) <= _LONGEST else hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def _checked(value: Any, what: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST or not value.isprintable():
        raise BadRequest(f"The body has no {what} of 1 to {_LONGEST} printable characters")
    return value
