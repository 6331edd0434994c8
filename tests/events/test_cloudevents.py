"""Events as others read them: CloudEvents 1.0 in JSON and Protocol Buffers, each with data that keep their schema."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from crossdock.app.event_types import event_types
from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.events import cloudevents_pb2, cloudevents_protobuf
from crossdock.events import store as event_store
from crossdock.events.cloudevents import as_document
from crossdock.events.model import Event
from crossdock.events.schemas import upcast
from crossdock.events.store import Selection
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.model import SyncRequest
from tests.events.cloudevents_form import NoCloudEvent, checked
from tests.events.worlds import publish, stock
from tests.streams import INVENTORY

MINIMAL = {"specversion": "1.0", "id": "a", "type": "io.cloudevents.test", "source": "https://cloudevents.io"}

#: An absolute URI by RFC 3986: it begins with a scheme.
URI = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+")

#: Where a reader finds the API.
HERE = "https://hub.shop.example"

#: What the conformance suite of CloudEvents calls invalid, by its names.
INVALID: dict[str, Any] = {
    "NoSpecVersion": {name: value for name, value in MINIMAL.items() if name != "specversion"},
    "NoId": {name: value for name, value in MINIMAL.items() if name != "id"},
    "NoType": {name: value for name, value in MINIMAL.items() if name != "type"},
    "NoSource": {name: value for name, value in MINIMAL.items() if name != "source"},
    "TimeGarbage": {**MINIMAL, "time": "lunchtime"},
    "TimeToMinute": {**MINIMAL, "time": "2018-04-05T18:31Z"},
    "TimeOffsetX": {**MINIMAL, "time": "2018-04-05T18:31:00X"},
    "TimeOffsetOutOfRange": {**MINIMAL, "time": "2018-04-05T18:31:00+25:00"},
    "TimeOffsetNonInteger": {**MINIMAL, "time": "2018-04-05T18:31:00+xx:00"},
    "TimeOffsetHourOnly": {**MINIMAL, "time": "2018-04-05T18:31:00+05"},
    "EmptyId": {**MINIMAL, "id": ""},
    "EmptyType": {**MINIMAL, "type": ""},
    "EmptySource": {**MINIMAL, "source": ""},
    "EmptySpecVersion": {**MINIMAL, "specversion": ""},
    "UnknownSpecVersion": {**MINIMAL, "specversion": "0.9"},
    "NonRfc2046DataContentType": {**MINIMAL, "datacontenttype": "xyz"},
    "EmptyDataContentType": {**MINIMAL, "datacontenttype": ""},
    "EmptyDataSchema": {**MINIMAL, "dataschema": ""},
    "EmptySubject": {**MINIMAL, "subject": ""},
    "NumericId": {**MINIMAL, "id": 25},
    "ObjectId": {**MINIMAL, "id": {"xyz": "abc"}},
    "CapitalizedExtension": {**MINIMAL, "MyExtension": "bad"},
    "PunctuatedExtension": {**MINIMAL, "my.extension": "bad"},
    "NonIntegerExtensionValue": {**MINIMAL, "myextension": 1.5},
    "BothDataAndDataBase64": {**MINIMAL, "data": "text", "data_base64": "eyAieHl6IjogMTIzIH0="},
    "an array": [MINIMAL],
    "an integer beyond 32 bits": {**MINIMAL, "many": 2**31},
    "the 30th of February": {**MINIMAL, "time": "2026-02-30T00:00:00Z"},
}

VALID: dict[str, dict[str, Any]] = {
    "Minimal": MINIMAL,
    "MinimalWithNullForOptional": {
        **MINIMAL,
        "datacontenttype": None,
        "dataschema": None,
        "subject": None,
        "time": None,
    },
    "AllCoreAttributes": {
        **MINIMAL,
        "datacontenttype": "text/plain",
        "dataschema": "https://cloudevents.io/dataschema",
        "subject": "tests",
        "time": "2018-04-05T17:31:00Z",
    },
    "TimeToNanoseconds": {**MINIMAL, "time": "2018-04-05T17:31:00.000000000Z"},
    "TimePositiveOffset": {**MINIMAL, "time": "2018-04-05T18:31:00+01:00"},
    "TimeNegativeOffset": {**MINIMAL, "time": "2018-04-05T16:31:00-01:00"},
    "RelativeSource": {**MINIMAL, "source": "#fragment"},
    "SimpleTextData": {**MINIMAL, "datacontenttype": "text/plain", "data": "Simple text"},
    "AllExtensionTypes": {
        **MINIMAL,
        "extinteger": 10,
        "extboolean": True,
        "extstring": "text",
        "exturiref": "//authority/path",
        "exttimestamp": "2023-03-31T15:12:00Z",
        "extbinary": "TWE=",
    },
}


@pytest.mark.parametrize("document", INVALID.values(), ids=list(INVALID))
def test_cases_that_the_conformance_suite_calls_invalid_are_refused(document: Any) -> None:
    with pytest.raises(NoCloudEvent):
        checked(document)


@pytest.mark.parametrize("document", VALID.values(), ids=list(VALID))
def test_cases_that_it_calls_valid_are_accepted(document: dict[str, Any]) -> None:
    assert checked(document) == {name: value for name, value in document.items() if value is not None}


def only(store: Store) -> Event:
    with store.transaction() as work:
        (event,) = event_store.select(work, Selection(), limit=10)
    return event


def test_an_event_of_ours_is_a_cloud_event(store: Store) -> None:
    publish(store, stock("CHAIR", 3, 5))
    event = only(store)
    document = as_document(event, HERE)

    assert checked(document) == document
    assert document["id"] == f"1-{event.position}"
    assert (document["type"], document["partitionkey"]) == ("crossdock.stock.changed", "CHAIR")
    assert document["dataschema"] == f"{HERE}/hub/v1/event-types/crossdock.stock.changed/versions/1"
    assert document["data"]["available_quantity"] == 5


def test_an_event_of_ours_is_valid_by_the_official_schema(store: Store) -> None:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the schema is not part of the project: download cloudevents/formats/cloudevents.json of cloudevents/spec"
            " as cloudevents.schema.json and set HUB_VENDOR_SPECS to its folder"
        )
    official = json.loads(Path(folder, "cloudevents.schema.json").read_text(encoding="utf-8"))
    judge = jsonschema.validators.validator_for(official)(official, format_checker=jsonschema.FormatChecker())
    publish(store, stock("CHAIR", 3, 5))
    document = as_document(only(store), HERE)

    judge.validate(document)
    assert URI.fullmatch(document["dataschema"]), "the judge of formats may lack the one of addresses"


def test_the_protobuf_says_the_same_as_the_json(store: Store) -> None:
    publish(store, stock("CHAIR", 3, 5))
    event = only(store)
    document = as_document(event, HERE)
    message = cloudevents_pb2.CloudEvent.FromString(cloudevents_protobuf.as_message(event, HERE))

    assert (message.id, message.source, message.type) == (document["id"], document["source"], document["type"])
    assert message.spec_version == "1.0"
    assert json.loads(message.text_data) == document["data"]
    assert message.attributes["subject"].ce_string == document["subject"]
    assert message.attributes["time"].ce_timestamp.ToDatetime(event.time.tzinfo) == event.time
    assert set(message.attributes) == set(document) - {"id", "source", "type", "specversion", "data"}
    batch = cloudevents_pb2.CloudEventBatch.FromString(cloudevents_protobuf.as_batch([event] * 3, HERE))
    assert len(batch.events) == 3


def declared_fields(proto: str) -> dict[str, dict[str, tuple[int, str, str]]]:
    """Message → field → (number, type, oneof), as a .proto file declares them."""
    found: dict[str, dict[str, tuple[int, str, str]]] = {}
    inside: list[tuple[str, str]] = []
    for line in re.sub(r"//.*", "", proto).splitlines():
        if opened := re.fullmatch(r"\s*(message|oneof) (\w+) {", line):
            inside.append((opened[1], opened[2]))
        elif line.strip() == "}":
            inside.pop()
        elif declared := re.fullmatch(r"\s+(.+) (\w+) = (\d+);", line):
            message = next(name for kind, name in reversed(inside) if kind == "message")
            oneof = inside[-1][1] if inside[-1][0] == "oneof" else ""
            found.setdefault(message, {})[declared[2]] = (int(declared[3]), declared[1], oneof)
    return found


def generated_type(field: FieldDescriptor) -> str:
    if field.message_type is None:
        return {5: "int32", 8: "bool", 9: "string", 12: "bytes"}[field.type]
    if field.message_type.GetOptions().map_entry:
        key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
        return f"map<{generated_type(key)}, {generated_type(value)}>"
    name = field.message_type.full_name
    return ("repeated " if field.is_repeated else "") + (
        name if name.startswith("google.") else name.rpartition(".")[2]
    )


def test_the_generated_messages_are_those_of_the_proto_file() -> None:
    """An edit of one of the two without generating the other would send unreadable bytes."""
    declared = declared_fields(Path(cloudevents_protobuf.__file__).with_name("cloudevents.proto").read_text())
    event = cloudevents_pb2.CloudEvent.DESCRIPTOR
    generated = {
        message.name: {
            field.name: (
                field.number,
                generated_type(field),
                field.containing_oneof.name if field.containing_oneof else "",
            )
            for field in message.fields
        }
        for message in (
            event,
            event.nested_types_by_name["CloudEventAttributeValue"],
            cloudevents_pb2.CloudEventBatch.DESCRIPTOR,
        )
    }
    assert generated == declared
    assert [len(fields) for fields in declared.values()] == [7, 8, 1]


def test_a_library_that_registers_the_specification_s_messages_is_not_in_the_way() -> None:
    """Protobuf takes each full name once per process, and Airflow's providers bring libraries of their own."""
    file = FileDescriptorProto(name="cloudevents.proto", package="io.cloudevents.v1", syntax="proto3")
    file.message_type.add(name="CloudEvent")
    file.message_type.add(name="CloudEventBatch")

    pool = descriptor_pool.Default()
    pool.Add(file)

    theirs = pool.FindMessageTypeByName("io.cloudevents.v1.CloudEvent")
    assert theirs.full_name != cloudevents_pb2.CloudEvent.DESCRIPTOR.full_name
    assert cloudevents_pb2.CloudEvent.FromString(cloudevents_pb2.CloudEvent(id="1").SerializeToString()).id == "1"


def test_the_events_of_a_sync_match_their_schema(systems: Systems) -> None:
    run_id = extract(INVENTORY, systems, SyncRequest(full=True), dag_run_id="one")
    load(INVENTORY, systems, validate(INVENTORY, systems, run_id))
    with systems.store.transaction() as work:
        events = event_store.select(work, Selection(), limit=50)

    assert len(events) == 50
    for event in events:
        jsonschema.validate(json.loads(event.data), event_types().schema(event.type, event.schema_version))


@pytest.mark.parametrize(("event_type", "version"), sorted(event_types().schemas))
def test_every_schema_is_a_schema_and_names_itself(event_type: str, version: int) -> None:
    found = event_types().schema(event_type, version)
    jsonschema.Draft202012Validator.check_schema(found)

    assert found["$id"] == f"/hub/v1/event-types/{event_type}/versions/{version}"


def test_an_unknown_version_lists_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"crossdock\.stock\.changed"):
        event_types().schema("crossdock.stock.changed", 99)


def test_an_old_event_reaches_its_subscriber_in_the_newest_version(store: Store) -> None:
    """Two steps, each from one version to the next; what is stored stays as it was."""
    publish(store, stock("CHAIR", 3, 5))
    event = only(store)
    steps: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
        (event.type, 1): lambda data: {**data, "unit": "piece"},
        (event.type, 2): lambda data: {**data, "unit": data["unit"].upper()},
    }
    current = upcast(event, steps)

    assert (current.schema_version, json.loads(current.data)["unit"]) == (3, "PIECE")
    assert "unit" not in only(store).data
