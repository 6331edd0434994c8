"""
The floor: the least that a loader of this source into this database must do, as a program of its own.

It fetches, decodes, copies into a temporary table and merges by id and version, with two connections. It keeps no page,
checks nothing, has no history, events, ledger or lease. What the hub costs beyond it is the price of those. It knows
nothing of the hub and has its own SQL, which is why it lives here and not in `include`.

    BENCH_DSN=… BENCH_URL=http://127.0.0.1:8090/p python floor.py --entity orders --mode full --schema floor
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import psycopg

PAGE_RECORDS = 500
BATCH_ROWS = 10_000
CONNECTIONS = 2
_COUNT = re.compile(rb'"count":(\d+)')
_DONE = None


class Ref(msgspec.Struct):
    id: str


class Stock(msgspec.Struct, rename="camel"):
    id: str
    version: int
    sku: str
    supply_channel: Ref
    quantity_on_stock: int
    available_quantity: int
    restockable_in_days: int
    created_at: datetime
    last_modified_at: datetime


class Money(msgspec.Struct, rename="camel"):
    currency_code: str
    cent_amount: int


class Price(msgspec.Struct):
    value: Money


class Variant(msgspec.Struct):
    sku: str
    prices: list[Price]


class ProductData(msgspec.Struct, rename="camel"):
    name: msgspec.Raw
    slug: msgspec.Raw
    description: msgspec.Raw
    categories: msgspec.Raw
    master_variant: msgspec.Raw
    variants: msgspec.Raw


class Catalog(msgspec.Struct, rename="camel"):
    published: bool
    current: ProductData


class Product(msgspec.Struct, rename="camel"):
    id: str
    version: int
    key: str
    product_type: Ref
    master_data: Catalog
    created_at: datetime
    last_modified_at: datetime


class Order(msgspec.Struct, rename="camel"):
    id: str
    version: int
    order_number: str
    order_state: str
    total_price: Money
    line_items: msgspec.Raw
    created_at: datetime
    last_modified_at: datetime
    payment_state: str | None = None
    customer_id: str | None = None
    customer_email: str | None = None
    shipping_address: msgspec.Raw = msgspec.Raw()


_variant = msgspec.json.Decoder(Variant).decode


def _json(raw: msgspec.Raw) -> bytes:
    """A jsonb as binary COPY wants it: version 1, then the text."""
    return b"\x01" + bytes(raw)


def stock_row(s: Stock) -> tuple[Any, ...]:
    return (
        *(s.id, s.version, s.sku, s.supply_channel.id, s.quantity_on_stock, s.available_quantity),
        *(s.restockable_in_days, s.created_at, s.last_modified_at),
    )


def product_row(p: Product) -> tuple[Any, ...]:
    data = p.master_data.current
    variant = _variant(data.master_variant)
    price = variant.prices[0].value
    return (
        *(p.id, p.version, p.key, p.product_type.id, p.master_data.published),
        *(variant.sku, price.cent_amount, price.currency_code),
        *(_json(data.name), _json(data.slug), _json(data.description), _json(data.categories)),
        *(_json(data.master_variant), _json(data.variants), p.created_at, p.last_modified_at),
    )


def order_row(o: Order) -> tuple[Any, ...]:
    return (
        *(o.id, o.version, o.order_number, o.order_state, o.payment_state, o.customer_id, o.customer_email),
        *(o.total_price.currency_code, o.total_price.cent_amount, _json(o.line_items)),
        *(_json(o.shipping_address) if bytes(o.shipping_address) else None, o.created_at, o.last_modified_at),
    )


@dataclass(frozen=True)
class Shape:
    path: str
    #: Column → type.
    columns: dict[str, str]
    record: type[msgspec.Struct]
    row: Callable[[Any], tuple[Any, ...]]


def _columns(text: str) -> dict[str, str]:
    return dict(word.split(":") for word in text.split())


_ENDS = "created_at:timestamptz last_modified_at:timestamptz"
SHAPES = {
    "inventory": Shape(
        "inventory",
        _columns(
            "id:text version:int8 sku:text supply_channel_id:text quantity_on_stock:int8 available_quantity:int8"
            f" restockable_in_days:int8 {_ENDS}"
        ),
        Stock,
        stock_row,
    ),
    "products": Shape(
        "products",
        _columns(
            "id:text version:int8 product_key:text product_type_id:text published:bool master_sku:text price_minor:int8"
            " price_currency:text name:jsonb slug:jsonb description:jsonb categories:jsonb master_variant:jsonb"
            f" variants:jsonb {_ENDS}"
        ),
        Product,
        product_row,
    ),
    "orders": Shape(
        "orders",
        _columns(
            "id:text version:int8 order_number:text order_state:text payment_state:text customer_id:text"
            f" customer_email:text currency:text total_minor:int8 lines:jsonb shipping_address:jsonb {_ENDS}"
        ),
        Order,
        order_row,
    ),
}


class Loader:
    def __init__(self, shape: Shape, dsn: str, schema: str, entity: str) -> None:
        names = ", ".join(shape.columns)
        typed = ", ".join(f"{name} {kind}" for name, kind in shape.columns.items())
        settings = ", ".join(f"{name} = excluded.{name}" for name in list(shape.columns)[1:])
        table = f"{schema}.{entity}"
        self.table = table
        self.stage = f"CREATE TEMP TABLE stage ({typed}) ON COMMIT DELETE ROWS"
        self.copy = f"COPY stage ({names}) FROM STDIN (FORMAT binary)"
        self.merge = (
            f"INSERT INTO {table} AS t SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET {settings}"
            " WHERE t.version < excluded.version"
        )
        self.types = ["bytea" if kind == "jsonb" else kind for kind in shape.columns.values()]
        self.connections = [psycopg.connect(dsn) for _ in range(CONNECTIONS)]
        first = self.connections[0]
        first.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
        first.execute(f"CREATE TABLE IF NOT EXISTS {table} ({typed}, PRIMARY KEY (id))".encode())
        first.commit()
        for connection in self.connections:
            connection.execute(self.stage.encode())
            connection.commit()
        self.changed = 0
        self._lock = threading.Lock()

    def newest(self) -> str | None:
        asked = f"""SELECT to_char(max(last_modified_at) AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM {self.table}"""
        row = self.connections[0].execute(asked.encode()).fetchone()
        return row[0] if row else None

    def load(self, connection: psycopg.Connection[Any], rows: list[tuple[Any, ...]]) -> None:
        with connection.cursor().copy(self.copy.encode()) as copy:
            copy.set_types(self.types)
            for row in rows:
                copy.write_row(row)
        written = connection.execute(self.merge.encode()).rowcount
        connection.commit()
        with self._lock:
            self.changed += written


def pages(url: str, path: str, where: str) -> Iterator[bytes]:
    """Every page in the order of change, by offset: for this source that is as cheap as by key."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    offset = 0
    while True:
        query = f"limit={PAGE_RECORDS}&offset={offset}&sort={quote('lastModifiedAt asc')}"
        connection.request("GET", f"{parts.path}/{path}?{query}" + (f"&where={quote(where)}" if where else ""))
        body = connection.getresponse().read()
        found = _COUNT.search(body, 0, 200)
        count = int(found[1]) if found else 0
        if count:
            yield body
        if count < PAGE_RECORDS:
            return
        offset += PAGE_RECORDS


def fetched(url: str, path: str, where: str) -> Iterator[bytes]:
    """The same, fetched by a thread while the last ones are worked on."""
    waiting: queue.Queue[bytes | None] = queue.Queue(8)

    def fetch() -> None:
        try:
            for page in pages(url, path, where):
                waiting.put(page)
        finally:
            waiting.put(_DONE)

    threading.Thread(target=fetch, daemon=True).start()
    while (page := waiting.get()) is not None:
        yield page


def batches(shape: Shape, bodies: Iterator[bytes]) -> Iterator[list[tuple[Any, ...]]]:
    page = msgspec.defstruct("Page", [("results", list[shape.record])])  # type: ignore[name-defined]
    decode = msgspec.json.Decoder(page).decode
    rows: list[tuple[Any, ...]] = []
    for body in bodies:
        rows += [shape.row(record) for record in decode(body).results]  # type: ignore[attr-defined]
        if len(rows) >= BATCH_ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


def run(loader: Loader, shape: Shape, url: str, where: str) -> int:
    """How many rows were read. Each connection has a thread that copies and merges what comes next."""
    waiting: queue.Queue[list[tuple[Any, ...]] | None] = queue.Queue(CONNECTIONS)
    errors: list[BaseException] = []

    def write(connection: psycopg.Connection[Any]) -> None:
        while (rows := waiting.get()) is not None:
            try:
                if not errors:
                    loader.load(connection, rows)
            except BaseException as error:  # noqa: BLE001  raised again by the main thread
                errors.append(error)

    writers = [threading.Thread(target=write, args=(connection,)) for connection in loader.connections]
    for writer in writers:
        writer.start()
    read = 0
    try:
        for rows in batches(shape, fetched(url, shape.path, where)):
            read += len(rows)
            waiting.put(rows)
    finally:  # else an error above would leave the writers waiting, and the program alive, for ever
        for _ in writers:
            waiting.put(_DONE)
        for writer in writers:
            writer.join()
    if errors:
        raise errors[0]
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", choices=list(SHAPES), default="inventory")
    parser.add_argument("--mode", choices=["full", "incr"], default="full")
    parser.add_argument("--schema", default="floor")
    asked = parser.parse_args()
    shape = SHAPES[asked.entity]
    loader = Loader(shape, os.environ["BENCH_DSN"], asked.schema, asked.entity)
    began, cpu_before = time.perf_counter(), time.process_time()
    newest = loader.newest() if asked.mode == "incr" else None
    read = run(loader, shape, os.environ["BENCH_URL"], f'lastModifiedAt > "{newest}"' if newest else "")
    document = {
        "rows": read,
        "changed": loader.changed,
        "wall_s": round(time.perf_counter() - began, 4),
        "cpu_s": round(time.process_time() - cpu_before, 4),
    }
    sys.stdout.write(json.dumps(document) + "\n")


if __name__ == "__main__":
    main()
