"""Customers with their addresses: commercetools' customers as customers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crossdock.commerce.customers.expectations import EXPECTATIONS
from crossdock.commerce.customers.schema import Customer
from crossdock.connectors.commercetools.field_types import Instant, Int64, is_country
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.dataset import Columns
from crossdock.sync.lineage import NORMAL_FORM, TRIM, Lineage
from crossdock.sync.standard_expectations import listed


class CustomerRecord(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """The fields of a customer that we read."""

    id: str
    version: Int64
    created_at: Instant
    last_modified_at: Instant
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    company_name: str | None = None
    customer_number: str | None = None
    external_id: str | None = None
    locale: str | None = None
    is_email_verified: bool | None = None
    addresses: list[dict[str, Any]] = []


def to_customer(record: CustomerRecord) -> Customer:
    """Map a customer: names and the e-mail address trimmed, nothing invented."""
    lineage = Lineage()

    def clean(name: str, text: str | None) -> str | None:
        return None if text is None else lineage.cleansed(name, text, TRIM, NORMAL_FORM)

    return Customer(
        id=record.id,
        version=record.version,
        email=clean("email", record.email) or "",
        first_name=clean("first_name", record.first_name),
        last_name=clean("last_name", record.last_name),
        company_name=clean("company_name", record.company_name),
        customer_number=record.customer_number,
        external_id=record.external_id,
        locale=record.locale,
        email_verified=record.is_email_verified,
        addresses=msgspec.json.encode(record.addresses).decode(),
        created_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        countries_unknown=listed(_unknown_countries(record)),
    )


def _unknown_countries(record: CustomerRecord) -> list[str]:
    countries = [str(address.get("country")) for address in record.addresses]
    return [country for country in countries if not is_country(country)]


def to_columns(records: Sequence[CustomerRecord]) -> Columns:
    """Map many customers to columns."""
    return Customer.columns_of([to_customer(record) for record in records])


CUSTOMERS = Stream(
    dataset=Customer.schema,
    resource="customers",
    key_field="email",
    record_type=CustomerRecord,
    to_columns=to_columns,
    expectations=EXPECTATIONS,
    contract=read_contract(__file__, "customers.schema.json"),
    batch_records=5_000,
    schedule="20 * * * *",
)
