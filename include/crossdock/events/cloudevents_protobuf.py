"""Convert events to the Protobuf format of CloudEvents, for clients that accept `application/cloudevents+protobuf`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from crossdock.core.instants import from_utc_text
from crossdock.events.cloudevents import as_document
from crossdock.events.model import Event

if TYPE_CHECKING:
    from types import ModuleType

MEDIA_TYPE = "application/cloudevents+protobuf"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+protobuf"


def as_message(event: Event, base_url: str) -> bytes:
    """Convert one event to a `CloudEvent`; its data are JSON text."""
    serialised: bytes = _message(event, base_url).SerializeToString()
    return serialised


def as_batch(events: Sequence[Event], base_url: str) -> bytes:
    """Convert several events to a `CloudEventBatch`."""
    batch = messages().CloudEventBatch(events=[_message(event, base_url) for event in events])
    serialised: bytes = batch.SerializeToString()
    return serialised


def _message(event: Event, base_url: str) -> Any:
    document = as_document(event, base_url)
    data = document.pop("data")
    message = messages().CloudEvent(
        id=document.pop("id"),
        source=document.pop("source"),
        spec_version=document.pop("specversion"),
        type=document.pop("type"),
        text_data=json.dumps(data, ensure_ascii=False),
    )
    for name, value in document.items():
        attribute = message.attributes[name]
        if name == "time":
            attribute.ce_timestamp.FromDatetime(from_utc_text(value))
        elif name == "dataschema":
            attribute.ce_uri = value
        else:
            attribute.ce_string = value
    return message


def messages() -> ModuleType:
    """Import the generated module with the messages of `cloudevents.proto`."""
    from crossdock.events import cloudevents_pb2  # noqa: PLC0415  protobuf takes 30 ms to import

    return cloudevents_pb2
