"""Contacts of HubSpot as customers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

import msgspec

from crossdock.commerce.customers.expectations import EXPECTATIONS
from crossdock.commerce.customers.schema import Customer
from crossdock.connectors.hubspot.contacts import PROPERTIES
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.dataset import Columns
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage

#: An instant with its time zone; without one it would be ambiguous.
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ContactRecord(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The fields of a contact that we read; `version` and `key` are those that the page adds."""

    id: str
    version: int
    created_at: Instant
    updated_at: Instant
    properties: dict[str, str | None]
    key: str | None = None


def to_customer(record: ContactRecord) -> Customer:
    """Map a contact: names and the e-mail address trimmed, nothing invented."""
    lineage = Lineage()

    def clean(field: str) -> str | None:
        text = record.properties.get(PROPERTIES[field])
        return lineage.cleansed(field, text, TRIM, NORMAL_FORM) if text else None

    email = clean("email") or ""
    return Customer(
        id=record.id,
        version=record.version,
        email=email,
        first_name=clean("first_name"),
        last_name=clean("last_name"),
        company_name=clean("company_name"),
        customer_number=None,
        # The business key, where the settings name another property than the address.
        external_id=record.key if record.key != record.properties.get("email") else None,
        locale=record.properties.get(PROPERTIES["locale"]) or None,
        email_verified=None,
        addresses=None,
        created_at=record.created_at,
        last_modified_at=record.updated_at,
        lineage=lineage.document(),
        countries_unknown=None,
    )


def to_columns(records: Sequence[ContactRecord]) -> Columns:
    """Map many contacts to columns."""
    return Customer.columns_of([to_customer(record) for record in records])


CUSTOMERS = Stream(
    dataset=Customer.schema,
    resource="contacts",
    key_field="email",
    record_type=ContactRecord,
    to_columns=to_columns,
    expectations=EXPECTATIONS,
    contract=read_contract(__file__, "customers.schema.json"),
    batch_records=5_000,
    schedule="40 * * * *",
    # The list has no ranges of IDs.
    can_be_cut=False,
    # Its version is a time.
    compares_content=True,
)
