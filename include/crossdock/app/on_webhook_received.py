"""Fetch the record that a webhook names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.core.errors import BadEvent
from crossdock.events.model import Event
from crossdock.events.ports import RecordFetcher


class _Named(msgspec.Struct):
    """The record that a webhook names."""

    entity: str
    key: str


_decode = msgspec.json.Decoder(_Named).decode


def deliver(fetcher: RecordFetcher, events: Sequence[Event]) -> None:
    """
    Fetch the records of all *events*, one fetch per entity: ten webhooks about one record cost one read of it.

    Idempotent, since a fetch is.

    Raises:
        BadEvent: the data do not name an entity and a key.
        HubError: the fetch failed; it may be repeated.

    """
    keys: dict[str, list[str]] = {}
    for event in events:
        try:
            named = _decode(event.data)
        except msgspec.DecodeError as error:
            raise BadEvent(event.id, event.type, str(error)) from error
        keys.setdefault(named.entity, []).append(named.key)
    for entity, of_entity in keys.items():
        fetcher.fetch(entity, of_entity)
