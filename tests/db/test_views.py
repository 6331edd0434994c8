"""The views for analysts: a contract with comments, personal data masked, and read by a role that can do nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import yaml
from psycopg.types.json import Jsonb

from crossdock.app.streams import all_datasets
from crossdock.commerce.event_types import event_types
from crossdock.db import views
from crossdock.db.database import Store, StoreUnavailable
from crossdock.events import partitions
from crossdock.stack.postgres import PostgresServer

PROJECT = Path(__file__).parents[2]
QUERIES = re.findall(r"```sql\n(.*?)```", (PROJECT / "docs/how-to/query-the-data.md").read_text(), re.DOTALL)

#: Of each view of records, the dataset whose declaration says what is personal.
DATASETS = {
    "orders": "orders",
    "products": "products",
    "prices": "prices",
    "inventory": "inventory",
    "customers": "customers",
}


@pytest.fixture
def owner(hub_dsn: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(hub_dsn, autocommit=True, options="-c search_path=hub") as connection:
        yield connection


@pytest.fixture
def analyst(hub_dsn: str, postgres: PostgresServer) -> Iterator[psycopg.Connection]:
    """A connection of the role that reads the views."""
    database = psycopg.conninfo.conninfo_to_dict(hub_dsn)["dbname"]
    postgres.create_reader(views.READER, "read", database=str(database), schema="crossdock")
    views.make(hub_dsn)
    with psycopg.connect(hub_dsn, user=views.READER, password="read", autocommit=True) as connection:
        yield connection
    with psycopg.connect(hub_dsn, autocommit=True) as superuser:
        superuser.execute(f"DROP OWNED BY {views.READER}".encode())
    with psycopg.connect(postgres.dsn(), autocommit=True) as superuser:
        superuser.execute(f"DROP ROLE {views.READER}".encode())


def _add_customer(owner: psycopg.Connection) -> None:
    owner.execute(
        "INSERT INTO customers (integration, id, version, email, first_name, last_name, company_name, addresses,"
        "                       created_at, last_modified_at, batch_id)"
        " VALUES ('commercetools', 'c-1', 1, 'ada@example.com', 'Ada', '', NULL, '[]', now(), now(), 1)"
    )


def test_every_column_of_every_view_has_a_comment(owner: psycopg.Connection) -> None:
    without = owner.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace::regnamespace::text IN ('crossdock', 'crossdock_personal') AND attnum > 0"
        "   AND coalesce(col_description(attrelid, attnum), '') = ''"
    ).fetchall()
    known = owner.execute("SELECT count(*) FROM pg_views WHERE schemaname = 'crossdock'").fetchone()

    assert without == []
    assert known == (len(views.VIEWS),)


def test_the_sources_for_dbt_are_the_views_as_the_database_has_them(owner: psycopg.Connection) -> None:
    sources = yaml.safe_load((PROJECT / "docs/reference/dbt-sources.yml").read_text())["sources"]
    found = owner.execute(
        "SELECT relname, attname, col_description(attrelid, attnum) FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace::regnamespace::text = %s AND attnum > 0 ORDER BY relname, attnum",
        [sources[0]["schema"]],
    ).fetchall()

    assert found == [
        (table["name"], column["name"], column["description"])
        for table in sorted(sources[0]["tables"], key=lambda table: table["name"])
        for column in table["columns"]
    ]


def test_what_is_personal_is_what_the_datasets_declare() -> None:
    """A personal field that a view forgets to mask would be read by everybody."""
    declared = {dataset.name: dataset.personal_fields for dataset in all_datasets()}
    for view in views.VIEWS:
        if view.name in DATASETS:
            names = {column.name for column in view.columns}
            masked = {column.name for column in view.columns if column.personal}
            assert masked == declared[DATASETS[view.name]] & names, view.name


def test_events_that_may_name_a_person_are_masked() -> None:
    declared = {name for name, event_type in event_types().items() if event_type.personal == frozenset()}
    of_records = {d.event_type for d in all_datasets() if d.personal_fields == frozenset() and d.name != "records"}

    assert set(views.IMPERSONAL_EVENTS) == declared | of_records


def test_personal_data_is_masked_and_the_other_schema_has_it(owner: psycopg.Connection) -> None:
    _add_customer(owner)
    asked = "SELECT email, first_name, last_name, company_name FROM {}.customers"

    assert owner.execute(asked.format("crossdock").encode()).fetchall() == [("***", "***", "", None)]
    assert owner.execute(asked.format("crossdock_personal").encode()).fetchall() == [
        ("ada@example.com", "Ada", "", None)
    ]


def test_stock_has_the_name_of_its_warehouse(owner: psycopg.Connection) -> None:
    for entry_id, channel in (("e-1", "4f1c"), ("e-2", None), ("e-3", "nameless")):
        owner.execute(
            "INSERT INTO inventory (integration, id, version, sku, supply_channel, quantity_on_stock, available_quantity,"
            "                       created_at, last_modified_at, batch_id)"
            " VALUES ('shop_eu', %s, 1, 'CHEST', %s, 5, 5, now(), now(), 1)",
            [entry_id, channel],
        )
    owner.execute("INSERT INTO warehouse (warehouse_id, name) VALUES ('/integrations/shop_eu:4f1c', 'Lyon')")
    owner.execute("INSERT INTO warehouse (warehouse_id, name) VALUES ('/integrations/shop_eu', 'Newark')")
    shown = owner.execute(
        "SELECT entry_id, warehouse_id, warehouse_name FROM crossdock.inventory ORDER BY entry_id"
    ).fetchall()

    assert shown == [("e-1", "shop_eu:4f1c", "Lyon"), ("e-2", "shop_eu", "Newark"), ("e-3", "shop_eu:nameless", None)]


def test_what_is_available_is_without_what_the_hub_holds_or_sold(owner: psycopg.Connection) -> None:
    """Ten at the source, of which the hub holds two and sold three; the double of the warehouse is not sold from."""
    for integration in ("shop_eu", "wms"):
        owner.execute(
            "INSERT INTO inventory (integration, id, version, sku, quantity_on_stock, available_quantity,"
            "                       created_at, last_modified_at, batch_id) VALUES (%s, 'e', 1, 'CHEST', 12, 10, now(), now(), 1)",
            [integration],
        )
        owner.execute("INSERT INTO warehouse (warehouse_id) VALUES ('/integrations/' || %s)", [integration])
        owner.execute(
            "INSERT INTO stock (warehouse_id, sku, on_hand, available, held, sold, version, as_of, entry_id)"
            " SELECT '/integrations/' || %s, 'CHEST', 10, 10 - held - sold, held, sold, 1, now(), 'e'"
            " FROM (SELECT 2 * is_ours AS held, 3 * is_ours AS sold FROM (SELECT %s::int AS is_ours) ours) of_orders",
            [integration, int(integration == "shop_eu")],
        )
        owner.execute(
            "INSERT INTO stock_availability (source, id, sku, available, version, as_of)"
            " VALUES ('/integrations/' || %s, 'e', 'CHEST', 10, 1, now())",
            [integration],
        )
    owner.execute("UPDATE warehouse SET same_as = '/integrations/shop_eu' WHERE warehouse_id = '/integrations/wms'")
    by_warehouse = owner.execute(
        "SELECT integration, quantity_on_stock, available_at_source, held, sold, available_quantity"
        " FROM crossdock.inventory ORDER BY integration"
    ).fetchall()
    by_sku = owner.execute("SELECT available_at_source, held, sold, available FROM crossdock.availability").fetchall()

    assert by_warehouse == [("shop_eu", 12, 10, 2, 3, 5), ("wms", 12, 10, 0, 0, 0)]
    assert by_sku == [(10, 2, 3, 5)]


def test_a_stock_level_that_waits_in_quarantine_counts_without_what_the_hub_sold(owner: psycopg.Connection) -> None:
    owner.execute("INSERT INTO warehouse (warehouse_id) VALUES ('/integrations/shop_eu')")
    owner.execute(
        "INSERT INTO stock (warehouse_id, sku, on_hand, available, sold, version, as_of, entry_id)"
        " VALUES ('/integrations/shop_eu', 'CHEST', 10, 7, 3, 1, now(), 'e')"
    )
    owner.execute(
        "INSERT INTO stock_availability (source, id, sku, available, version, as_of)"
        " VALUES ('/integrations/shop_eu', 'e', 'CHEST', 10, 1, now())"
    )
    owner.execute(
        "INSERT INTO quarantine_item (integration, dataset, record_id, version, cause, failures, raw, first_run_id, last_run_id, mapped)"
        " VALUES ('shop_eu', 'inventory', 'e', 2, 'rule', '[]', ''::bytea, 'r', 'r', '{\"available_quantity\": 4}')"
    )

    assert owner.execute("SELECT available, waiting FROM crossdock.availability").fetchall() == [(1, 1)]


def test_an_event_about_a_person_has_neither_key_nor_data(owner: psycopg.Connection) -> None:
    for number, event_type in enumerate(("crossdock.stock.changed", "crossdock.customer.changed", "unheard.of")):
        owner.execute(
            "INSERT INTO event (event_id, source, type, subject, time, partition_key, schema_version, data)"
            " VALUES (%s, '/x', %s, 'subject', now(), 'key', 1, %s)",
            [str(number), event_type, Jsonb({"email": "ada@example.com"})],
        )
    shown = owner.execute("SELECT subject, partition_key, data FROM crossdock.events ORDER BY event_id").fetchall()

    assert shown == [("subject", "key", {"email": "ada@example.com"}), (None, None, None), (None, None, None)]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM hub.customers",
        "SELECT * FROM hub.audit_entry",
        "SELECT * FROM crossdock_personal.customers",
        "DELETE FROM crossdock.orders",
        "CREATE TABLE crossdock.of_mine (a int)",
        "CREATE SCHEMA of_mine",
    ],
)
def test_the_role_reads_the_views_and_can_do_nothing_else(analyst: psycopg.Connection, statement: str) -> None:
    analyst.execute("SET default_transaction_read_only = off")  # it may: the rights are what counts
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute(statement.encode())


def test_the_page_has_ten_queries() -> None:
    assert len(QUERIES) == 10


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_a_query_of_the_page_works_as_it_is_written(analyst: psycopg.Connection, number: int) -> None:
    analyst.execute(QUERIES[number].encode())


def test_a_view_that_others_built_on_ours_is_kept(hub_dsn: str, owner: psycopg.Connection) -> None:
    owner.execute("CREATE SCHEMA ours")
    owner.execute("CREATE VIEW ours.open_orders AS SELECT order_id FROM crossdock.orders")
    owner.execute("COMMENT ON SCHEMA crossdock IS 'of an earlier version'")
    views.make(hub_dsn)

    assert owner.execute("SELECT * FROM ours.open_orders").fetchall() == []
    assert owner.execute("SELECT obj_description('crossdock'::regnamespace)").fetchone() != ("of an earlier version",)


def test_views_that_went_with_their_tables_are_made_again(hub_dsn: str, owner: psycopg.Connection) -> None:
    owner.execute("DROP VIEW crossdock.orders")
    views.make(hub_dsn)

    assert owner.execute("SELECT * FROM crossdock.orders").fetchall() == []


def test_a_long_query_of_an_analyst_does_not_hold_up_those_who_write_events(store: Store, hub_dsn: str) -> None:
    """Dropping a month waits for the query, and every writer would wait behind it."""
    with store.transaction() as work:
        partitions.create_ahead(work, datetime(2031, 1, 1, tzinfo=UTC))
    with psycopg.connect(hub_dsn) as analyst:
        analyst.execute("SELECT count(*) FROM crossdock.events")
        with pytest.raises(StoreUnavailable) as gave_up, store.transaction() as work:
            partitions.drop_past(work, datetime(2031, 1, 1, tzinfo=UTC))

    assert isinstance(gave_up.value.__cause__, psycopg.errors.LockNotAvailable)


def test_two_hubs_of_one_database_have_views_of_their_own() -> None:
    assert views.schema_of("hub") == "crossdock"
    assert views.schema_of("lyon", personal=True) == "lyon_crossdock_personal"
