"""
The views for analysts: a contract, in schemas of their own beside the hub's, with a comment on every column.

The schema `crossdock` has them with personal data as `***`, and `crossdock_personal` those that have any in full. A hub in
another schema than `hub` has them in `<schema>_crossdock` and `<schema>_crossdock_personal`. Only the owner may read them;
the role READER, if the server has it, may read those of `crossdock`.

A column that is here stays here, with its name, its type and its meaning; new ones are added at the end.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import psycopg
from psycopg import sql

#: May log in and read the views, and nothing else. `./hub up` makes it; elsewhere whoever runs the server does.
READER = "hub_reader"
MASK = "***"
#: Whoever makes views or grants rights on them holds it: two at once disturb each other.
LOCK = "crossdock-views"

#: Types of events whose data and keys name no person. Of all others, the masked view has neither.
IMPERSONAL_EVENTS = (
    "crossdock.mail.reported",
    "crossdock.order.cancelled",
    "crossdock.order.cancelling",
    "crossdock.order.confirmed",
    "crossdock.order.created",
    "crossdock.order.customer_checked",
    "crossdock.order.inventory_reserved",
    "crossdock.order.payment_authorised",
    "crossdock.order.payment_captured",
    "crossdock.order.progressed",
    "crossdock.order.shipment_scheduled",
    "crossdock.payment.reported",
    "crossdock.price.changed",
    "crossdock.product.changed",
    "crossdock.stock.changed",
    "crossdock.stock.ran_out",
)


class Column(NamedTuple):
    """One column of a view."""

    name: str
    comment: str
    #: SQL over the view's tables; by default the source's column of that name.
    expression: str = ""
    personal: bool = False
    #: What the masked view has in its place; by default MASK where there is a value.
    masked: str = ""


class View(NamedTuple):
    """One view."""

    name: str
    comment: str
    #: SQL: the table, or several.
    source: str
    columns: tuple[Column, ...]

    @property
    def is_personal(self) -> bool:
        return any(column.personal for column in self.columns)


_INTEGRATION = Column("integration", "The integration that the record comes from.")
_VERSION = Column("version", "The record's version at its source; it rises with each change.")
_CHANGED = Column("last_modified_at", "When the source changed the record last, UTC.")
_HELD = Column("held", "How many pieces are held for orders at the hub.", "coalesce(held, 0)")
_SOLD = Column("sold", "How many pieces the hub has sold that the source has not subtracted yet.", "coalesce(sold, 0)")


def _of_event(name: str, comment: str) -> Column:
    listed = ", ".join(f"'{event_type}'" for event_type in IMPERSONAL_EVENTS)
    masked = f"CASE WHEN type IN ({listed}) THEN {name}{'::jsonb' if name == 'data' else ''} END"
    return Column(name, comment, f"{name}::jsonb" if name == "data" else "", personal=True, masked=masked)


VIEWS = (
    View(
        "orders",
        "Orders of the commerce platforms, as they are now: one row for each.",
        "sales_order",
        (
            _INTEGRATION,
            Column("order_id", "The platform's ID of the order; unique within an integration.", "id"),
            _VERSION,
            Column("order_number", "The number that the customer knows; the ID for as long as there is none."),
            Column("order_state", "Open, Confirmed, Complete or Cancelled, in the platform's words."),
            Column("payment_state", "Where the payment is, in the platform's words."),
            Column("shipment_state", "Where the shipment is, in the platform's words."),
            Column("customer_id", "The platform's ID of the customer; null for a guest."),
            Column("customer_email", "The customer's e-mail address.", personal=True),
            Column("country", "ISO 3166-1 code of the country that the order is for."),
            Column("currency", "ISO 4217 code of all amounts of the order."),
            Column("gross_minor", "What the customer pays, tax included, in the smallest unit; null where the source does not say."),
            Column("total_minor", "What lines and shipping cost, in the smallest unit: with or without tax, as the prices are."),
            Column("net_minor", "The total without tax, in the smallest unit; null where the platform does not say."),
            Column("tax_minor", "The tax, in the smallest unit; null where the platform does not say."),
            Column("shipping_minor", "What shipping costs, in the smallest unit; it is part of the total."),
            Column("discount_minor", "The discount on the whole order, in the smallest unit."),
            Column("line_count", "How many lines the order has."),
            Column("placed_at", "When the order was placed, UTC."),
            _CHANGED,
        ),
    ),
    View(
        "order_lines",
        "Lines of the orders of the commerce platforms: one row for each line.",
        "sales_order_line",
        (
            _INTEGRATION,
            Column("order_id", "The order's ID, as in orders."),
            Column("order_number", "The order's number, as in orders."),
            Column("line_no", "The line's place in its order, from 1."),
            Column("placed_at", "When the order was placed, UTC."),
            Column("sku", "The SKU that was ordered; null where a line has none."),
            Column("name", "The product's name when it was ordered."),
            Column("kind", "goods, or what else the line is for (shipping, a fee, a discount)."),
            Column("quantity", "How many pieces; below zero for what came back."),
            Column("currency", "ISO 4217 code of the amounts."),
            Column("price_minor", "The price of one piece, in the smallest unit; rounded where the source is more exact."),
            Column("total_minor", "The price of the line, in the smallest unit."),
        ),
    ),
    View(
        "products",
        "Products of the commerce platforms, as they are now: one row for each.",
        "product",
        (
            _INTEGRATION,
            Column("product_id", "The platform's ID of the product; unique within an integration.", "id"),
            _VERSION,
            Column("key", "The key that people gave the product."),
            Column("product_type", "The kind of product, by its key or ID."),
            Column("published", "Whether customers see it; null where the platform does not say."),
            Column("name", "Language → name, JSON."),
            Column("master_sku", "The SKU of its first variant."),
            Column("categories", "The IDs of its categories, JSON."),
            Column("variants", "Its variants with their SKUs and attributes, JSON."),
            Column("created_at", "When the product was created at the platform, UTC."),
            _CHANGED,
        ),
    ),
    View(
        "prices",
        "Prices of the commerce platforms, as they are now: one row for each.",
        "prices",
        (
            _INTEGRATION,
            Column("price_id", "The platform's ID of the price; unique within an integration.", "id"),
            _VERSION,
            Column("sku", "The SKU that the price is for."),
            Column("currency", "ISO 4217 code."),
            Column("amount_minor", "The price of one piece, in the smallest unit."),
            Column("discounted_minor", "The price with its discount, in the smallest unit; null without one."),
            Column("country", "ISO 3166-1 code of the only country that it is for; null for all."),
            Column("customer_group", "The only customer group that it is for; null for all."),
            Column("channel", "The only channel that it is for; null for all."),
            Column("valid_from", "From when it counts, UTC; null for always."),
            Column("valid_until", "Until when it counts, UTC; null for always."),
            Column("active", "Whether the platform uses it."),
            _CHANGED,
        ),
    ),
    View(
        "inventory",
        "Stock levels of all integrations, as they are now: one row for each SKU and warehouse.",
        # Only declared or heard of warehouses are there, and each has one row. The stock is of the entry that was made last.
        "inventory LEFT JOIN (SELECT warehouse_id, name AS warehouse_name, same_as FROM warehouse) AS named"
        " ON named.warehouse_id = '/integrations/' || inventory.integration || coalesce(':' || nullif(supply_channel, ''), '')"
        " LEFT JOIN (SELECT warehouse_id, sku AS sold_sku, entry_id, available - missing AS left_over, held, sold FROM stock) AS stock"
        " ON stock.warehouse_id = named.warehouse_id AND sold_sku = inventory.sku"
        " AND coalesce(entry_id, inventory.id) = inventory.id"
        " LEFT JOIN removed_integration ON removed_integration.integration_id = inventory.integration",
        (
            _INTEGRATION,
            Column("entry_id", "The source's ID of the entry; unique within an integration.", "id"),
            _VERSION,
            Column("sku", "The SKU that is in stock."),
            Column("warehouse", "The warehouse, by the source's ID of it; null where there is one stock for all.", "supply_channel"),
            Column("quantity_on_stock", "How many pieces are in the warehouse, reserved ones included."),
            Column(
                "available_quantity",
                "How many pieces can be sold, without what the hub holds or sold; below zero where more was sold than there is.",
                "CASE WHEN same_as IS NOT NULL OR integration_id IS NOT NULL THEN 0"
                " ELSE coalesce(left_over, inventory.available_quantity) END",
            ),
            Column("restockable_in_days", "After how many days more can come; null where nobody knows."),
            Column("expected_delivery_at", "When more is expected, UTC; null where nobody knows."),
            _CHANGED,
            Column("warehouse_name", "The name that people gave the warehouse; null without one."),
            Column(
                "available_at_source", "How many pieces can be sold, as the source counts them.", "inventory.available_quantity"
            ),
            _HELD,
            _SOLD,
            Column(
                "warehouse_id",
                "The warehouse, by the ID under which it is declared and orders name it.",
                "inventory.integration || coalesce(':' || nullif(supply_channel, ''), '')",
            ),
        ),
    ),
    View(
        "availability",
        "What can be sold of each SKU, without what is held for the hub's orders or sold to them: one row for each SKU.",
        "sku_availability",
        (
            Column("sku", "The SKU."),
            Column("available", "How many pieces can be sold, over all warehouses; a warehouse that is oversold counts as 0."),
            Column("warehouses", "How many warehouses have a level of it."),
            Column("as_of", "When the latest of these levels was changed at its source, UTC."),
            Column("waiting", "How many newer levels wait in quarantine; the lower figure counts meanwhile."),
            Column("available_at_source", "How many pieces can be sold, over all warehouses, as their sources count them; at least 0."),
            _HELD,
            _SOLD,
        ),
    ),
    View(
        "customers",
        "Customers of the commerce platforms, as they are now: one row for each.",
        "customers",
        (
            _INTEGRATION,
            Column("customer_id", "The platform's ID of the customer; unique within an integration.", "id"),
            _VERSION,
            Column("customer_number", "The number that people gave the customer."),
            Column("email", "The e-mail address.", personal=True),
            Column("first_name", "The first name.", personal=True),
            Column("last_name", "The last name.", personal=True),
            Column("company_name", "The company.", personal=True),
            Column("locale", "The language that the customer reads."),
            Column("email_verified", "Whether the address was confirmed; null where the platform does not say."),
            Column("created_at", "When the customer was created at the platform, UTC."),
            _CHANGED,
        ),
    ),
    View(
        "placed_orders",
        "Orders placed at the hub, which carries out their steps: one row for each.",
        "placed_order",
        (
            Column("order_id", "The hub's ID of the order."),
            Column("reference", "The number by which whoever placed it knows it; unique."),
            Column("state", "open, confirmed, cancelling or cancelled."),
            Column("currency", "ISO 4217 code of its amounts."),
            Column("total_minor", "What the customer pays, in the smallest unit."),
            Column("country", "ISO 3166-1 code of the country that it goes to."),
            Column("email", "The customer's e-mail address; null once its retention is over.", personal=True),
            Column("customer_name", "The customer's name; null once its retention is over.", personal=True),
            Column("platform", "The integration of the platform that it was placed at; null for none."),
            Column("created_at", "When the hub took it, UTC."),
            Column("changed_at", "When its state changed last, UTC."),
        ),
    ),
    View(
        "postings",
        "The books of the hub's payments, double entry: the amounts of one entry add up to 0.",
        "posting JOIN payment USING (payment_id)",
        (
            Column("entry_id", "The entry."),
            Column("payment_id", "The payment."),
            Column("account", "gateway, pending, revenue, refunds or chargebacks."),
            Column("gateway", "The gateway that has the money; null where none has."),
            Column("currency", "ISO 4217 code."),
            Column("amount_minor", "Debit above 0, credit below, in the smallest unit.", "posting.amount_minor"),
            Column("posted_at", "When it was posted, UTC."),
        ),
    ),
    View(
        "events",
        "All events of the hub, for as long as they are kept: one row for each.",
        "event",
        (
            Column("event_id", "The hub's ID of the event; unique within a source."),
            Column("source", "The integration or the part of the hub that it comes from."),
            Column("type", "What happened, with its version."),
            _of_event("subject", "What it happened to."),
            Column("time", "When it happened at its source, UTC."),
            _of_event("partition_key", "Events with one key are delivered in order."),
            Column("correlation_id", "The same for all events of one cause, such as a sync run."),
            Column("schema_version", "The version of the schema of its data."),
            _of_event("data", "What the event says, JSON."),
            Column("stored_at", "When the hub stored it, UTC."),
        ),
    ),
    View(
        "sync_runs",
        "Runs of the syncs, with what became of each record that they read: one row for each run.",
        "sync_run",
        (
            Column("run_id", "The run's ID."),
            Column("integration", "The integration whose records the run read."),
            Column("dataset", "What was synced."),
            Column("mode", "full, delta, window (a backfill), keys or replay."),
            Column("state", "running, done, partial, held or failed."),
            Column("read", "Records that were read; the sum of the next six."),
            Column("inserted", "New records."),
            Column("updated", "Changed records."),
            Column("unchanged", "Records that the hub had already."),
            Column("stale", "Records that are older than what the hub has."),
            Column("rejected", "Records that failed a rule and are in quarantine."),
            Column("held", "Records that were not loaded: the source shrank, or they were locked and the next run reads them again."),
            Column("started_at", "When it began, UTC."),
            Column("finished_at", "When it ended, UTC; null while it is open."),
        ),
    ),
    View(
        "rejected_records",
        "Records that failed a rule: one row for each item of the quarantine, without the record itself.",
        "quarantine_item",
        (
            Column("item_id", "The item of the quarantine."),
            _INTEGRATION,
            Column("dataset", "What the record is."),
            Column("state", "open, replayed, superseded or discarded."),
            Column("cause", "The rule that failed."),
            Column("times_seen", "How often the record came and failed."),
            Column("first_seen_at", "When it first failed, UTC."),
            Column("last_seen_at", "When it last failed, UTC."),
            Column("closed_at", "When it was closed, UTC; null while it is open."),
        ),
    ),
)  # fmt: skip


_MADE = b"""
SELECT obj_description(oid, 'pg_namespace'), (SELECT count(*) FROM pg_views WHERE schemaname = nspname)
  FROM pg_namespace WHERE nspname = %s
"""


def schema_of(hub_schema: str, *, personal: bool = False) -> str:
    """Name the schema that has the views of the hub in *hub_schema*."""
    return ("" if hub_schema == "hub" else f"{hub_schema}_") + ("crossdock_personal" if personal else "crossdock")


def make(dsn: str, *, schema: str = "hub") -> None:
    """Make the views as they are declared here, if they are not. Idempotent; views that others built on them are kept."""
    with psycopg.connect(dsn, connect_timeout=5, options=f"-c search_path={schema}") as transaction:
        # Two hubs that start at once must not both make them.
        transaction.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [LOCK])
        for personal in (False, True):
            _make_schema(transaction, schema, personal=personal)


def _make_schema(transaction: psycopg.Connection, hub_schema: str, *, personal: bool) -> None:
    name = schema_of(hub_schema, personal=personal)
    about = "The hub's views with personal data in full" if personal else "The hub's views, personal data masked"
    statements = [_create(name, view, personal=personal) for view in VIEWS if view.is_personal or not personal]
    digest = hashlib.sha256("".join(s.as_string() for s in statements).encode()).hexdigest()[:16]
    comment = f"{about}. Made by the hub ({digest})."
    transaction.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(name)))
    # The views go with the hub's tables, and their schema stays.
    made = transaction.execute(_MADE, [name]).fetchone()
    if made != (comment, len(statements)):
        for statement in statements:
            transaction.execute(statement)
        transaction.execute(sql.SQL("COMMENT ON SCHEMA {} IS {}").format(sql.Identifier(name), sql.Literal(comment)))
    if not personal and transaction.execute("SELECT FROM pg_roles WHERE rolname = %s", [READER]).fetchone() is not None:
        grant(transaction, READER, name)


def grant(transaction: psycopg.Connection, role: str, schema: str) -> None:
    """Let *role* read the views of *schema*."""
    names = {"role": sql.Identifier(role), "schema": sql.Identifier(schema)}
    transaction.execute(sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}").format(**names))
    transaction.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}").format(**names))


def described(column: Column, *, personal: bool) -> str:
    """Say what *column* is, as its comment in the database does."""
    if not column.personal or personal:
        return column.comment
    if column.masked:
        return f"{column.comment} Null where it may name a person."
    return f"{column.comment} Personal: {MASK} if there is one."


def _create(schema: str, view: View, *, personal: bool) -> sql.Composed:
    place = sql.Identifier(schema, view.name)
    columns = sql.SQL(", ").join(
        sql.SQL("{} AS {}").format(sql.SQL(_expression(column, personal=personal)), sql.Identifier(column.name))
        for column in view.columns
    )
    parts = [
        sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT {} FROM {}").format(place, columns, sql.SQL(view.source)),
        sql.SQL("COMMENT ON VIEW {} IS {}").format(place, sql.Literal(view.comment)),
        *(
            sql.SQL("COMMENT ON COLUMN {} IS {}").format(
                sql.Identifier(schema, view.name, column.name), sql.Literal(described(column, personal=personal))
            )
            for column in view.columns
        ),
    ]
    return sql.SQL("; ").join(parts) + sql.SQL(";\n")


def _expression(column: Column, *, personal: bool) -> str:
    full = column.expression or f'"{column.name}"'
    if not column.personal or personal:
        return full
    return column.masked or f"CASE WHEN {full} <> '' THEN '{MASK}' ELSE {full} END"
