"""Orders with their lines, from the commerce platform into the hub."""

from crossdock.commerce.orders.expectations import EXPECTATIONS
from crossdock.commerce.orders.schema import ORDERS_TABLE
from crossdock.connectors.commercetools.orders import to_sales_order
from crossdock.connectors.commercetools.records import Order
from crossdock.db.columns import Column
from crossdock.sync import Sync, row_by_row
from crossdock.sync.contract import read_contract

ORDER = Sync(
    entity="order",
    integration="commercetools",
    resource="orders",
    key_field="orderNumber",
    table=ORDERS_TABLE,
    record_type=Order,
    to_columns=row_by_row(to_sales_order),
    expectations=EXPECTATIONS,
    check_columns=(
        Column("total_gap_minor", "int8"),
        Column("lines_with_wrong_total", "int8"),
        Column("lowest_price_minor", "int8"),
        Column("lines_with_wrong_sign", "text"),
        Column("free_goods", "text"),
        Column("codes_of_no_goods", "text"),
        Column("lines_without_name", "int8"),
        Column("lines_in_other_currency", "int8"),
    ),
    lines_field="lineItems",
    contract=read_contract(__file__, "orders.schema.json"),
    # An order of a wholesaler is as long as a hundred stock levels.
    page_records=200,
    # 1,000 cost a tenth less CPU and 65 MB more memory at the peak.
    batch_records=400,
)
