"""Fetch the record that a webhook names."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from crossdock.app.services import RecordFetcher
from crossdock.core.errors import BadEvent
from crossdock.db.leases import stream_id
from crossdock.events.model import Event
from crossdock.events.webhooks_in.service import SOURCE


class _Named(msgspec.Struct):
    """The record that a webhook names."""

    dataset: str
    key: str


_decode = msgspec.json.Decoder(_Named).decode


class FetchChangedRecord:
    """The handler of webhooks: it fetches the record that each names."""

    def __init__(self, records: RecordFetcher) -> None:
        self._records = records

    def deliver(self, events: Sequence[Event]) -> None:
        """
        Fetch the records of all *events*, one fetch per stream: ten webhooks about one record cost one read of it.

        Idempotent, since a fetch is.

        Raises:
            BadEvent: the data do not name a dataset and a key.
            HubError: the fetch failed; it may be repeated.

        """
        keys: dict[str, list[str]] = {}
        for event in events:
            try:
                named = _decode(event.data)
            except msgspec.DecodeError as error:
                raise BadEvent(event.id, event.type, str(error)) from error
            stream = stream_id(event.source.removeprefix(SOURCE), named.dataset)
            keys.setdefault(stream, []).append(named.key)
        for stream, of_stream in keys.items():
            self._records.fetch(stream, of_stream)
