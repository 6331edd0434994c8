"""What the connectors' manifests say about webhooks, the fetch of the records that they name, and the end of their handshakes."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import parse_qsl, urlsplit

import msgspec

from crossdock.app import definitions
from crossdock.app.services import RecordFetcher
from crossdock.core.errors import BadEvent
from crossdock.db.leases import stream_id
from crossdock.events.model import Event
from crossdock.events.webhooks_in.ports import SOURCE, Webhook
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.model import Limits
from crossdock.integrations.manifests import manifests


def webhook_of(integration: str) -> Webhook | None:
    """Find the webhooks that the connector of *integration* declares; None if it declares none, or is not registered."""
    for definition in definitions.read(definitions.file_of(integration)):
        manifest = manifests().get(definition.kind) if definition.integration == integration else None
        if manifest and "webhook" in manifest.provides:
            webhook: Webhook = manifest.provided("webhook")
            return webhook
    return None


class _Named(msgspec.Struct):
    """The record that a webhook names."""

    dataset: str
    key: str
    by_id: bool = False


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
        keys: dict[tuple[str, bool], list[str]] = {}
        for event in events:
            try:
                named = _decode(event.data)
            except msgspec.DecodeError as error:
                raise BadEvent(event.id, event.type, str(error)) from error
            stream = stream_id(event.source.removeprefix(SOURCE), named.dataset)
            keys.setdefault((stream, named.by_id), []).append(named.key)
        for (stream, by_id), of_stream in keys.items():
            self._records.fetch(stream, of_stream, by_id=by_id)


class _Handshake(msgspec.Struct):
    confirm_url: str | None = None


_decode_handshake = msgspec.json.Decoder(_Handshake).decode
#: A person or a machine waits for the subscription: one attempt each, and the engine makes the next one.
_LIMITS = Limits(timeout_s=10.0, attempts=1, answer_bytes=256 * 1024)


def confirm_subscriptions(events: Sequence[Event]) -> None:
    """
    Visit the address of each handshake that has one, so that deliveries begin. Idempotent: a visit of a confirmed one changes nothing.

    Raises:
        BadEvent: the data are not those of a handshake.
        HubError: the address cannot be visited; it may be repeated.

    """
    for event in events:
        try:
            url = _decode_handshake(event.data).confirm_url
        except msgspec.DecodeError as error:
            raise BadEvent(event.id, event.type, str(error)) from error
        if url is not None:
            _visit(event.source.removeprefix(SOURCE), url)


def _visit(integration: str, url: str) -> None:
    parts = urlsplit(url)
    client = HttpClient(
        f"{integration}_webhook", f"{parts.scheme}://{parts.netloc}", config=ClientConfig(limits=_LIMITS)
    )
    try:
        client.get(parts.path, dict(parse_qsl(parts.query)), lambda _: None, accept=frozenset({HTTPStatus.OK}))
    finally:
        client.close()
