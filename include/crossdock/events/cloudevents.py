"""
Convert events to CloudEvents 1.0 for other systems: structured, in batches, or in binary mode.

Sources: https://github.com/cloudevents/spec, v1.0.2: spec.md, formats/json-format.md, bindings/http-protocol-binding.md.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from crossdock.core.instants import utc_text
from crossdock.events.model import Event

MEDIA_TYPE = "application/cloudevents+json"
BATCH_MEDIA_TYPE = "application/cloudevents-batch+json"
#: The media type of the data of every event.
DATA_MEDIA_TYPE = "application/json"
#: What a header keeps as it is: printable ASCII but the space, the double quote and the percent sign.
_SAFE_IN_HEADER = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


def schema_path(event_type: str, version: int) -> str:
    """Build the path of the JSON Schema of the data, as served by the API."""
    return f"/hub/v1/event-types/{event_type}/versions/{version}"


def as_document(event: Event, base_url: str) -> dict[str, Any]:
    """
    Convert the event to a CloudEvent, ready for JSON.

    The extensions are the specification's own, `partitionkey` (events with the same key are in order), `sequence` (the
    position in the store) and `correlationid` (the run that made the change), and `senderid`, the ID that the sender
    of an event from outside gave it.

    Args:
        event: As the store has it.
        base_url: Where the reader finds the API, without a trailing slash: the specification wants `dataschema` absolute.

    """
    document = {**_attributes(event, base_url), "data": json.loads(event.data)}
    return {name: value for name, value in document.items() if value is not None}


def as_headers(event: Event, base_url: str) -> dict[str, str]:
    """Convert the attributes of the event to the headers of the binary mode; the body is `event.data`."""
    attributes = _attributes(event, base_url)
    media_type = attributes.pop("datacontenttype")
    headers = {
        f"ce-{name}": quote(value, safe=_SAFE_IN_HEADER) for name, value in attributes.items() if value is not None
    }
    return {"content-type": str(media_type), **headers}


def _attributes(event: Event, base_url: str) -> dict[str, str | None]:
    return {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "subject": event.subject,
        "time": utc_text(event.time),
        "datacontenttype": DATA_MEDIA_TYPE,
        "dataschema": base_url + schema_path(event.type, event.schema_version),
        "partitionkey": event.partition_key,
        "sequence": f"{event.epoch:04d}-{event.xid:020d}-{event.position:020d}",
        "correlationid": event.correlation_id,
        "senderid": event.event_id,
    }
