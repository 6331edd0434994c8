"""Orders with their lines, from the commerce platform into the hub."""

from include.connectors.commercetools.records import Order
from include.flows.sync import Sync
from include.flows.sync.contract import read_contract
from include.flows.sync_order.expectations import EXPECTATIONS
from include.flows.sync_order.mapping import to_sales_order
from include.store.tables import SALES_ORDER, Column

ORDER = Sync(
    entity="order",
    integration="commercetools",
    resource="orders",
    key_field="orderNumber",
    table=SALES_ORDER,
    record_type=Order,
    to_row=to_sales_order,
    expectations=EXPECTATIONS,
    facts=tuple(
        Column(name, "int8")
        for name in (
            "total_gap_minor",
            "lines_with_wrong_total",
            "lines_with_wrong_sign",
            "lowest_price_minor",
            "free_lines",
            "lines_of_no_goods",
            "lines_without_name",
            "lines_in_other_currency",
        )
    ),
    lines_field="lineItems",
    contract=read_contract(__file__),
    batch_records=2_000,
)
