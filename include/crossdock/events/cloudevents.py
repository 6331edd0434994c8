"""Convert events to CloudEvents 1.0 in JSON, the format for other systems."""

from __future__ import annotations

import json
from typing import Any

from crossdock.core.instants import utc_text
from crossdock.events.model import Event


def schema_name(event_type: str, version: int) -> str:
    """Build the path of the JSON Schema of the data, as served by the API."""
    return f"/hub/v1/event-types/{event_type}/versions/{version}"


def as_document(event: Event) -> dict[str, Any]:
    """
    Convert the event to a CloudEvent, ready for JSON.

    The extensions are the specification's own: `partitionkey` (events with the same key are in order), `sequence` (the
    position in the store) and `correlationid` (the run that made the change).
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
