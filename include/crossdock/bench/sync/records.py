"""What the benchmark's source serves: stock levels and products in the platform's shape, made quickly, and real orders."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from crossdock.core.instants import utc_text
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.state import RetailerState, Size

ENTITIES = ("inventory", "products", "orders")
#: The platform's path of each entity.
PATHS = {"inventory": "inventory", "products": "product-projections", "orders": "orders"}
#: How many there are when nobody says.
DEFAULT_ROWS = {"inventory": 100_000, "products": 20_000, "orders": 28_816}

_WORDS = ("anchor", "birch", "cobalt", "dune", "ember", "flint", "grove", "harbour", "ivory", "juniper", "kelp", "loom")
_TICK = timedelta(milliseconds=20)


class Record(NamedTuple):
    """One record, as the bytes that are sent and what its place in the answers depends on."""

    id: str
    version: int
    modified_at: str
    #: Units on the shelf; 0 where the entity has none.
    quantity: int
    raw: bytes


def records_of(entity: str, rows: int, *, dataset: Path | None = None, ids: str = "random") -> Iterator[Record]:
    """
    *rows* records of *entity*, the same each time but for their instants, which end a day before now.

    Orders are those of the shop in *dataset*, at most *rows*, or made up. Of made-up records *ids* are `random`, as the
    platform's are, or `ascending`, which is kind to an index.
    """
    if entity == "orders":
        return _orders(rows, dataset)
    make = {"inventory": _stock_level, "products": _product}[entity]
    return _made(make, rows, ids)


def _made(make: Any, rows: int, ids: str) -> Iterator[Record]:
    chance = random.Random(7)  # noqa: S311  made-up data, not secrets
    start = datetime.now(UTC) - timedelta(days=1) - rows * _TICK
    created = utc_text(start - timedelta(days=1))
    for number in range(rows):
        record_id = _uuid(chance.getrandbits(128) if ids == "random" else number << 64)
        modified = utc_text(start + number * _TICK)
        yield make(number, record_id, created, modified, chance)


def _uuid(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


_STOCK_LEVEL = (
    '{"id":"%s","version":1,"key":"key-of-stock-%011d","createdAt":"%s","lastModifiedAt":"%s","sku":"SKU-%08d",'
    '"supplyChannel":{"typeId":"channel","id":"%s"},"quantityOnStock":%d,"availableQuantity":%d,"restockableInDays":%d}'
)


def _stock_level(number: int, record_id: str, created: str, modified: str, chance: random.Random) -> Record:
    units = chance.randrange(5_000)
    channel = _uuid(9 << 96 | number % 40)
    available = max(0, units - number % 6)
    raw = _STOCK_LEVEL % (record_id, number, created, modified, number, channel, units, available, number % 30)
    return Record(record_id, 1, modified, units, raw.encode())


def _product(number: int, record_id: str, created: str, modified: str, chance: random.Random) -> Record:
    name = " ".join(chance.choices(_WORDS, k=3))
    document = {
        "id": record_id,
        "version": 1,
        "productType": {"typeId": "product-type", "id": _uuid(8 << 96 | number % 12)},
        "key": f"product-{number}",
        "name": {"en": name, "de": f"{name} de", "fr": f"{name} fr"},
        "description": {"en": f"{name}, {name}"},
        "slug": {"en": f"{name.replace(' ', '-')}-{number}"},
        "categories": [{"typeId": "category", "id": _uuid(7 << 96 | number % 200)}],
        "published": number % 5 > 0,
        "masterVariant": _variant(number, 1, chance),
        "variants": [_variant(number, 2, chance)],
        "createdAt": created,
        "lastModifiedAt": modified,
    }
    return Record(record_id, 1, modified, 0, msgspec.json.encode(document))


def _variant(number: int, variant: int, chance: random.Random) -> dict[str, Any]:
    prices = [
        {
            "id": _uuid(5 << 96 | number << 8 | variant << 4 | at),
            "country": country,
            "value": {
                "type": "centPrecision",
                "currencyCode": currency,
                "centAmount": chance.randrange(100, 100_000),
                "fractionDigits": 2,
            },
        }
        for at, (country, currency) in enumerate((("DE", "EUR"), ("US", "USD")))
    ]
    return {
        "id": variant,
        "sku": f"SKU-{number:06d}-{variant}",
        "key": f"variant-{number}-{variant}",
        "prices": prices,
        "images": [{"url": f"https://images.example/{number}/{variant}.jpg", "dimensions": {"w": 800, "h": 600}}],
        "attributes": [
            {"name": "colour", "value": {"key": "red", "label": {"en": "red", "de": "rot"}}},
            {"name": "size", "value": chance.choice("SML")},
            {"name": "weight", "value": chance.randrange(10, 9_000)},
        ],
    }


def _orders(rows: int, dataset: Path | None) -> Iterator[Record]:
    if dataset is not None:
        found: Iterable[Any] = Dataset.read(dataset).rows["orders"]
    else:
        found = (
            RetailerState(Size(inventory=0, products=300, orders=rows, customers=500, flaws=0))
            .collection("orders")
            .rows()
        )
    for row in list(found)[:rows]:
        yield Record(row.id, row.version, row.modified_at, 0, row.raw)
