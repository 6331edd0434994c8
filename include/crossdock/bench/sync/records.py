"""The records of the benchmark's source: made-up stock levels and products in commercetools' shape, and real orders."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from crossdock.core.instants import utc_text
from crossdock.sandbox.commercetools.dataset import Dataset
from crossdock.sandbox.commercetools.state import RetailerState, Size

#: Entity → commercetools' path of it.
PATHS = {"inventory": "inventory", "products": "products", "orders": "orders"}
DEFAULT_ROWS = {"inventory": 100_000, "products": 20_000, "orders": 28_816}

_WORDS = ("anchor", "birch", "cobalt", "dune", "ember", "flint", "grove", "harbour", "ivory", "juniper", "kelp", "loom")
_MARKETS = (("DE", "EUR"), ("US", "USD"))
_TICK = timedelta(milliseconds=20)

_STOCK_LEVEL = (
    '{"id":"%s","version":1,"key":"key-of-stock-%011d","createdAt":"%s","lastModifiedAt":"%s","sku":"SKU-%08d",'
    '"supplyChannel":{"typeId":"channel","id":"%s"},"quantityOnStock":%d,"availableQuantity":%d,"restockableInDays":%d}'
)
_PRODUCT = (
    '{{"id":"{id}","version":1,"productType":{{"typeId":"product-type","id":"{kind}"}},"key":"product-{number}",'
    '"masterData":{{"published":{published},"hasStagedChanges":false,"current":{data},"staged":{data}}},'
    '"createdAt":"{created}","lastModifiedAt":"{modified}"}}'
)
#: What a product has twice: as customers see it, and as staged.
_PRODUCT_DATA = (
    '{{"name":{{"en":"{name}","de":"{name} de","fr":"{name} fr"}},"description":{{"en":"{name}, {name}"}},'
    '"slug":{{"en":"{slug}-{number}"}},"categories":[{{"typeId":"category","id":"{category}"}}],'
    '"masterVariant":{master},"variants":[{other}]}}'
)
_VARIANT = (
    '{"id":%d,"sku":"SKU-%06d-%d","key":"variant-%d-%d","prices":[%s],'
    '"images":[{"url":"https://images.example/%d/%d.jpg","dimensions":{"w":800,"h":600}}],'
    '"attributes":[{"name":"colour","value":{"key":"red","label":{"en":"red","de":"rot"}}},'
    '{"name":"size","value":"%s"},{"name":"weight","value":%d}]}'
)
_PRICE = (
    '{"id":"%s","country":"%s","value":{"type":"centPrecision","currencyCode":"%s","centAmount":%d,"fractionDigits":2}}'
)


class Record(NamedTuple):
    """One record as the bytes that are sent, and what its place in the answers depends on."""

    id: str
    version: int
    modified_at: str
    #: Units in stock; 0 where the entity has none.
    quantity: int
    raw: bytes


def records_of(entity: str, rows: int, *, dataset: Path | None = None, ids: str = "random") -> Iterator[Record]:
    """
    Make *rows* records of *entity*, the same each time but for their instants, which end a day before now.

    Orders are those of the shop in *dataset*, at most *rows*, or made up. The *ids* of other records are `random`, as
    commercetools' are, or `ascending`, which is kind to an index.
    """
    if entity == "orders":
        return _orders(rows, dataset)
    return _made_up(_stock_level if entity == "inventory" else _product, rows, ids)


def _made_up(make: Any, rows: int, ids: str) -> Iterator[Record]:
    chance = random.Random(7)  # noqa: S311  made-up data, not secrets
    start = datetime.now(UTC) - timedelta(days=1) - rows * _TICK
    created = utc_text(start - timedelta(days=1))
    for number in range(rows):
        record_id = _uuid(chance.getrandbits(128) if ids == "random" else number << 64)
        yield make(number, record_id, created, utc_text(start + number * _TICK), chance)


def _uuid(number: int) -> str:
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _stock_level(number: int, record_id: str, created: str, modified: str, chance: random.Random) -> Record:
    units = chance.randrange(5_000)
    channel, available = _uuid(9 << 96 | number % 40), max(0, units - number % 6)
    raw = _STOCK_LEVEL % (record_id, number, created, modified, number, channel, units, available, number % 30)
    return Record(record_id, 1, modified, units, raw.encode())


def _product(number: int, record_id: str, created: str, modified: str, chance: random.Random) -> Record:
    name = " ".join(chance.choices(_WORDS, k=3))
    data = _PRODUCT_DATA.format(
        number=number,
        name=name,
        slug=name.replace(" ", "-"),
        category=_uuid(7 << 96 | number % 200),
        master=_variant(number, 1, chance),
        other=_variant(number, 2, chance),
    )
    raw = _PRODUCT.format(
        id=record_id,
        number=number,
        created=created,
        modified=modified,
        published=str(number % 5 > 0).lower(),
        kind=_uuid(8 << 96 | number % 12),
        data=data,
    )
    return Record(record_id, 1, modified, 0, raw.encode())


def _variant(number: int, variant: int, chance: random.Random) -> str:
    prices = ",".join(
        _PRICE % (_uuid(5 << 96 | number << 8 | variant << 4 | at), country, currency, chance.randrange(100, 100_000))
        for at, (country, currency) in enumerate(_MARKETS)
    )
    names = (variant, number, variant, number, variant, prices, number, variant)
    return _VARIANT % (*names, chance.choice("SML"), chance.randrange(10, 9_000))


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
