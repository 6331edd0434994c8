"""The parts that all generated documents share: IDs, timestamps, SKUs, the retailer's warehouses."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any

from crossdock.sandbox.engine.clock import text_of

Json = dict[str, Any]

#: Fixed, so that the same seed gives the same bytes every day.
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_DAYS = 150
#: Bulk imports, which write many rows in the same millisecond as a retailer's nightly job does.
_IMPORTS = [EPOCH + timedelta(days=day, hours=3) for day in (20, 55, 90, 125)]
_IMPORTED = 0.05

LANGUAGES = ("en", "de")
COUNTRIES = ("DE", "FR", "GB", "US")
CHANNELS = ("berlin", "lyon", "leeds", "newark")
_KINDS = ("TSH", "JEA", "SNK", "BAG", "CAP", "SCK", "HOD", "BLT", "GLV", "SCF", "WTC", "MUG")
_COLOURS = ("BLK", "WHT", "RED", "BLU", "GRN")
_SIZES = ("XS", "S", "M", "L", "XL")


def random_for(seed: int, name: str) -> random.Random:
    """Make the random numbers for one purpose; drawing from them does not change those for others."""
    return random.Random(f"crossdock/{seed}/{name}")


def uuid(rng: random.Random) -> str:
    """Draw a random UUID (version 4) from *rng*."""
    h = f"{rng.getrandbits(128):032x}"
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-{'89ab'[int(h[16], 16) % 4]}{h[17:20]}-{h[20:]}"


def sku_of(number: int) -> str:
    """Make the *number*th stock keeping unit; products and inventory use the same series."""
    kind, colour, size = _KINDS[number % 12], _COLOURS[number // 12 % 5], _SIZES[number // 60 % 5]
    return f"{kind}-{number:06d}-{colour}-{size}"


def draw_lifetime(rng: random.Random) -> tuple[str, str]:
    """Draw when a resource was created and when it was last modified."""
    if rng.random() < _IMPORTED:
        modified = rng.choice(_IMPORTS)
    else:
        modified = EPOCH + timedelta(milliseconds=rng.randrange(1, _DAYS * 86_400_000))
    age = (modified - EPOCH) * rng.random()
    return text_of(modified - age), text_of(modified)


def later(text: str, days: float) -> str:
    return text_of(datetime.fromisoformat(text) + timedelta(days=days))


def base(rng: random.Random) -> Json:
    """Make the fields that every resource has."""
    created, modified = draw_lifetime(rng)
    return {
        "id": uuid(rng),
        "version": 1 + int(rng.expovariate(0.4)),
        "createdAt": created,
        "lastModifiedAt": modified,
    }


def reference(kind: str, resource_id: str) -> Json:
    return {"typeId": kind, "id": resource_id}


def cents(amount: int, currency: str) -> Json:
    return {"type": "centPrecision", "currencyCode": currency, "centAmount": amount, "fractionDigits": 2}


#: Key and ID of the channel with the role OrderExport, by which a hub notes on orders what it wrote.
EXPORT_CHANNEL = ("crossdock", "c9055d0c-0000-4000-8000-000000000001")


@dataclass(frozen=True)
class SharedReferences:
    """The IDs that many documents refer to."""

    channels: tuple[tuple[str, str], ...]
    product_type: str
    categories: tuple[str, ...]
    tax_category: str
    state: str


def shared_references(seed: int) -> SharedReferences:
    rng = random_for(seed, "retailer")
    return SharedReferences(
        channels=tuple((name, uuid(rng)) for name in CHANNELS),
        product_type=uuid(rng),
        categories=tuple(uuid(rng) for _ in range(12)),
        tax_category=uuid(rng),
        state=uuid(rng),
    )


def choose_flaws(rng: random.Random, kinds: list[str], size: int, rate: float) -> dict[int, str]:
    """
    Choose which of *size* rows get a flaw, and which one: row number → kind.

    About one row in a hundred times *rate*; with a hundred rows or more, each kind at least once.
    """
    if rate <= 0 or not kinds:
        return {}
    count = round(size * 0.01 * rate)
    if size >= 100:  # noqa: PLR2004 - with fewer rows, one of each kind would be most of them
        count = max(count, len(kinds))
    at = rng.sample(range(size), min(size, count))
    return dict(zip(at, cycle(kinds), strict=False))
