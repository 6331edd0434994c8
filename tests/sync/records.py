"""Inventory entries as the source sends them, good unless a test says otherwise."""

from __future__ import annotations

import json
from typing import Any

#: A sideboard in the Munich warehouse, spotless.
SIDEBOARD: dict[str, Any] = {
    "id": "0b7c1d7e-sideboard",
    "version": 3,
    "sku": "SIDEBOARD-OAK-01",
    "supplyChannel": {"typeId": "channel", "id": "munich"},
    "quantityOnStock": 12,
    "availableQuantity": 9,
    "createdAt": "2026-03-01T08:00:00.000Z",
    "lastModifiedAt": "2026-11-20T17:30:00.000Z",
}


def entry(**changes: Any) -> bytes:
    """The sideboard with *changes*; one that is None leaves the field out."""
    document = {name: value for name, value in {**SIDEBOARD, **changes}.items() if value is not None}
    return json.dumps(document).encode()


def page(*raws: bytes) -> bytes:
    return b'{"limit":500,"count":%d,"results":[%s]}' % (len(raws), b",".join(raws))
