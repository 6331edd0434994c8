"""
Records as commercetools sends them, as far as the hub reads them.

Only types are checked here (a number is a number, a date is one, both fit the database); what a value
should be is for the expectations of the flow. Source: the vendor's OpenAPI, schema InventoryEntry.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

#: What a PostgreSQL bigint holds.
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
#: An instant with its zone; one without is nobody's time.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Reference(msgspec.Struct, frozen=True):
    id: str


class InventoryEntry(msgspec.Struct, frozen=True, rename="camel"):
    id: str
    version: Int64
    quantity_on_stock: Int64
    available_quantity: Int64
    created_at: Instant
    last_modified_at: Instant
    sku: str | None = None
    supply_channel: Reference | None = None
    restockable_in_days: Int64 | None = None
    expected_delivery: Instant | None = None
