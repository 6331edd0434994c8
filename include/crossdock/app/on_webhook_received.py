"""Brings in the one record that a webhook told of."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.core.errors import BadEvent
from crossdock.events.model import Event
from crossdock.events.ports import KeyPuller


class _Told(msgspec.Struct):
    entity: str
    key: str


_decode = msgspec.json.Decoder(_Told).decode


def apply(puller: KeyPuller, events: Sequence[Event]) -> None:
    """
    All of *events* in one pull an entity: ten webhooks of one record are one read of it.

    Raises:
        BadEvent: the data name no entity and key.
        HubError: as the pull has it; it may be made again.

    """
    keys: dict[str, list[str]] = {}
    for event in events:
        try:
            told = _decode(event.data)
        except msgspec.DecodeError as error:
            raise BadEvent(event.id, event.type, str(error)) from error
        keys.setdefault(told.entity, []).append(told.key)
    for entity, of_entity in keys.items():
        puller.pull(entity, of_entity)
