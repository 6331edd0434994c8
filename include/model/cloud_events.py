"""Events as CloudEvents 1.0 in JSON: ours for others, and others' for us."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from include.model.errors import BadRequest
from include.model.events import Event
from include.model.instants import utc_text

#: What a subscriber may have to forward whole; larger events are refused.
LARGEST_BYTES = 64 * 1024

_REQUIRED = ("id", "source", "specversion", "type")
_OPTIONAL_TEXT = ("datacontenttype", "dataschema", "subject", "time")
_NAME = re.compile(r"[a-z0-9]+")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(\s*;.*)?")
#: RFC 3339: seconds and an offset are not optional, as they are in ISO 8601.
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)")
_INTEGERS = range(-(2**31), 2**31)


def schema_name(event_type: str, version: int) -> str:
    """Where the JSON Schema of the data is served, below `/hub/v1`."""
    return f"/hub/v1/event-types/{event_type}/versions/{version}"


def as_document(event: Event) -> dict[str, Any]:
    """
    The event as a CloudEvent, ready for JSON.

    The extensions are the specification's own: `partitionkey` (the key that keeps order), `sequence` (the place in
    the store) and `correlationid` (the run that made the change).
    """
    document = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": utc_text(event.time),
        "datacontenttype": "application/json",
        "dataschema": schema_name(event.type, event.schema_version),
        "partitionkey": event.partition_key,
        "sequence": f"{event.epoch:04d}-{event.xid:020d}-{event.position:020d}",
        "correlationid": event.correlation_id,
        "data": json.loads(event.data),
    }
    return {name: value for name, value in document.items() if value is not None}


def checked(document: Any) -> dict[str, Any]:
    """
    *document* when it is a CloudEvent 1.0 in the JSON format, without the attributes that are null.

    Raises:
        BadRequest: it is none; the message names the attribute and what was expected.

    """
    if not isinstance(document, dict):
        raise BadRequest("A CloudEvent is a JSON object")
    found = {name: value for name, value in document.items() if value is not None}
    for name in _REQUIRED:
        if name not in found:
            raise BadRequest(f"A CloudEvent has the attribute {name!r}; this one has not")
    if found["specversion"] != "1.0":
        raise BadRequest("Only specversion '1.0' of CloudEvents is known")
    if "data" in found and "data_base64" in found:
        raise BadRequest("A CloudEvent has 'data' or 'data_base64', never both")
    for name, value in found.items():
        if name not in {"data", "data_base64"}:
            _check_attribute(name, value)
    _check_forms(found)
    return found


def _check_attribute(name: str, value: Any) -> None:
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is no name of an attribute: only a to z and 0 to 9 are")
    if name in (*_REQUIRED, *_OPTIONAL_TEXT):
        if not isinstance(value, str) or not value:
            raise BadRequest(f"The attribute {name!r} is text that is not empty")
    elif isinstance(value, int) and not isinstance(value, bool):
        if value not in _INTEGERS:
            raise BadRequest(f"The attribute {name!r} is no integer of 32 bits")
    elif not isinstance(value, str | bool):
        raise BadRequest(f"The attribute {name!r} is text, an integer or a boolean")


def _check_forms(found: dict[str, Any]) -> None:
    if "time" in found:
        instant(found["time"])
    if "datacontenttype" in found and not _MEDIA_TYPE.fullmatch(found["datacontenttype"]):
        raise BadRequest("The attribute 'datacontenttype' is a media type such as application/json")


def instant(text: str) -> datetime:
    """The aware instant of an RFC 3339 time, to the microsecond. Raises BadRequest for anything else."""
    if not _RFC3339.fullmatch(text):
        raise BadRequest("The attribute 'time' is an RFC 3339 time such as 2026-11-24T15:00:00Z")
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text).upper())
    except ValueError as error:
        raise BadRequest("The attribute 'time' is no instant of the calendar") from error
