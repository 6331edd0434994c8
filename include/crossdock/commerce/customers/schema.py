"""The dataset of customers."""

from __future__ import annotations

from datetime import datetime

from crossdock.sync.dataset import CheckOnly, Cleansed, Dataset, JsonList, Personal, Version


class Customer(Dataset, name="customers", event="crossdock.customer.changed", key="email"):
    """A customer of one shop, or a contact of one CRM."""

    #: The source's own id; opaque.
    id: str
    version: Version
    #: Empty if the source has none, and then the record is rejected.
    email: Personal[str]
    first_name: Personal[str | None]
    last_name: Personal[str | None]
    company_name: Personal[str | None]
    #: The number that the shop shows to people.
    customer_number: str | None
    #: The id in another system, such as the CRM.
    external_id: str | None
    #: Language tag, such as `de-DE`.
    locale: str | None
    email_verified: bool | None
    #: JSON list of addresses, as the source sent them.
    addresses: Personal[JsonList | None]
    created_at: datetime
    last_modified_at: datetime
    lineage: Cleansed | None
    #: Countries of its addresses that are not ISO 3166 alpha-2 codes, as text; empty if there are none.
    countries_unknown: CheckOnly[str | None]
