"""
CloudEvents in their Protocol Buffers format, for whom asks for `application/cloudevents+protobuf`.

The messages are described here as the specification has them; there is no generated code to keep in step.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from crossdock.core.instants import from_utc_text
from crossdock.events.cloudevents import as_document
from crossdock.events.model import Event

MEDIA_TYPE = "application/cloudevents+protobuf"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+protobuf"

_PACKAGE = "io.cloudevents.v1"
_EVENT = f".{_PACKAGE}.CloudEvent"
#: Name, number, type by its number in descriptor.proto (8 bool, 5 int32, 9 string, 12 bytes, 11 message), message.
_VALUES = (
    ("ce_boolean", 1, 8, ""),
    ("ce_integer", 2, 5, ""),
    ("ce_string", 3, 9, ""),
    ("ce_bytes", 4, 12, ""),
    ("ce_uri", 5, 9, ""),
    ("ce_uri_ref", 6, 9, ""),
    ("ce_timestamp", 7, 11, ".google.protobuf.Timestamp"),
)
_DATA = (("binary_data", 6, 12, ""), ("text_data", 7, 9, ""), ("proto_data", 8, 11, ".google.protobuf.Any"))
_REQUIRED = (("id", 1, 9, ""), ("source", 2, 9, ""), ("spec_version", 3, 9, ""), ("type", 4, 9, ""))


def as_message(event: Event) -> bytes:
    """One event as `io.cloudevents.v1.CloudEvent`; its data are JSON text."""
    serialised: bytes = _message(event).SerializeToString()
    return serialised


def as_batch(events: Sequence[Event]) -> bytes:
    """Several as `io.cloudevents.v1.CloudEventBatch`."""
    batch = messages()["CloudEventBatch"](events=[_message(event) for event in events])
    serialised: bytes = batch.SerializeToString()
    return serialised


def _message(event: Event) -> Any:
    document = as_document(event)
    data = document.pop("data")
    message = messages()["CloudEvent"](
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


@cache
def messages() -> dict[str, Any]:
    """`CloudEvent` and `CloudEventBatch` as classes of the protobuf library."""
    from google.protobuf import (  # noqa: PLC0415  only who asks for protobuf pays for it
        any_pb2,
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        timestamp_pb2,
    )

    file = descriptor_pb2.FileDescriptorProto(
        name="cloudevents.proto",
        package=_PACKAGE,
        syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name, timestamp_pb2.DESCRIPTOR.name],
    )
    event = file.message_type.add(name="CloudEvent")
    _add_fields(event, _REQUIRED)
    event.field.add(name="attributes", number=5, type=11, label=3, type_name=f"{_EVENT}.AttributesEntry")
    _add_fields(event, _DATA, one_of="data")
    entry = event.nested_type.add(name="AttributesEntry")
    entry.options.map_entry = True
    _add_fields(entry, (("key", 1, 9, ""), ("value", 2, 11, f"{_EVENT}.CloudEventAttributeValue")))
    _add_fields(event.nested_type.add(name="CloudEventAttributeValue"), _VALUES, one_of="attr")
    batch = file.message_type.add(name="CloudEventBatch")
    batch.field.add(name="events", number=1, type=11, label=3, type_name=_EVENT)
    # A pool of our own: another library of this process may have registered the same messages.
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2, timestamp_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in ("CloudEvent", "CloudEventBatch")
    }


def _add_fields(message: Any, fields: Sequence[tuple[str, int, int, str]], *, one_of: str = "") -> None:
    if one_of:
        message.oneof_decl.add(name=one_of)
    for name, number, kind, message_name in fields:
        field = message.field.add(name=name, number=number, type=kind, label=1)
        if message_name:
            field.type_name = message_name
        if one_of:
            field.oneof_index = 0
