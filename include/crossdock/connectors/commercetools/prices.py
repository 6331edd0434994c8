"""Standalone prices: commercetools' prices of a SKU that are not inside a product."""

from __future__ import annotations

import msgspec

from crossdock.commerce.prices.expectations import EXPECTATIONS
from crossdock.commerce.prices.schema import Price
from crossdock.commerce.skus import SKU
from crossdock.connectors.commercetools import price_records as amounts
from crossdock.connectors.commercetools.field_types import Instant, Int64
from crossdock.connectors.commercetools.price_records import PriceRecord
from crossdock.sync import Stream
from crossdock.sync.contract import read_contract
from crossdock.sync.lineage import Lineage
from crossdock.sync.standard_expectations import listed


class StandalonePrice(PriceRecord, frozen=True, rename="camel", kw_only=True, gc=False):
    id: str
    version: Int64
    created_at: Instant
    last_modified_at: Instant
    sku: str = ""
    active: bool = True


def to_price(record: StandalonePrice) -> Price:
    """Map a standalone price: its SKU trimmed, its amounts exact."""
    lineage = Lineage()
    tiers = amounts.tiers_of(record)
    return Price(
        id=record.id,
        version=record.version,
        sku=lineage.cleansed("sku", record.sku, *SKU),
        product_id=None,
        variant_id=None,
        **amounts.columns_of(record),
        tiers=msgspec.json.encode(tiers).decode() if tiers else None,
        active=record.active,
        created_at=record.created_at,
        last_modified_at=record.last_modified_at,
        lineage=lineage.document(),
        amounts_implausible=listed(amounts.implausible(record, "price")),
        countries_unknown=listed(amounts.in_no_country(record, "price")),
        tiers_wrong=listed(amounts.wrong_tiers(record, "price")),
        discounts_above=listed(amounts.raised_by_discount(record, "price")),
        amounts_in_other_currency=listed(amounts.of_other_currency(record, "price")),
    )


PRICES = Stream(
    dataset=Price.schema,
    resource="standalone-prices",
    key_field="sku",
    record_type=StandalonePrice,
    to_columns=lambda records: Price.columns_of([to_price(record) for record in records]),
    expectations=EXPECTATIONS,
    contract=read_contract(__file__, "prices.schema.json"),
    schedule="8 * * * *",
)
