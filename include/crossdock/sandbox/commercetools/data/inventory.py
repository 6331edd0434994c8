"""Inventory: one entry for each stock keeping unit in each warehouse, and the flaws that real feeds have."""

import random
from collections.abc import Callable, Iterator

from crossdock.sandbox.commercetools.data.building_blocks import Json, SharedReferences, base, later, reference, sku_of


def entries(rng: random.Random, size: int, references: SharedReferences) -> Iterator[Json]:
    """Generate *size* entries without flaws."""
    channels = len(references.channels)
    for number in range(size):
        sku, (channel, channel_id) = sku_of(number // channels), references.channels[number % channels]
        entry = _entry(rng, sku, channel, channel_id)
        if form := _FORMS.get(number % _PERIOD):
            form(entry)
        yield entry


def _entry(rng: random.Random, sku: str, channel: str, channel_id: str) -> Json:
    on_stock = 0 if rng.random() < 0.1 else rng.randrange(1, 400)  # noqa: PLR2004 - a tenth is sold out
    reserved = rng.randrange(0, on_stock + 1) // 8
    entry = base(rng) | {
        "key": f"{sku}_{channel}",
        "sku": sku,
        "supplyChannel": reference("channel", channel_id),
        "quantityOnStock": on_stock,
        "availableQuantity": on_stock - reserved,
    }
    if rng.random() < 0.3:  # noqa: PLR2004
        entry["restockableInDays"] = rng.randrange(1, 60)
    if rng.random() < 0.2:  # noqa: PLR2004
        entry["expectedDelivery"] = later(entry["lastModifiedAt"], rng.randrange(1, 40))
    return entry


def _backorder(entry: Json) -> None:
    entry["quantityOnStock"] = entry["availableQuantity"] = -1 - entry["quantityOnStock"] % 20


def _not_before_further_notice(entry: Json) -> None:
    entry["restockableInDays"] = 9999


def _of_all_channels(entry: Json) -> None:
    del entry["supplyChannel"]


def _long_sku(entry: Json) -> None:
    entry["sku"] = entry["sku"] + "-" + "X" * 140


def _without_key(entry: Json) -> None:
    del entry["key"]


#: What is legal and less frequent: place in each hundred entries → form.
_PERIOD = 100
_FORMS: dict[int, Callable[[Json], None]] = {
    13: _backorder,
    27: _not_before_further_notice,
    41: _of_all_channels,
    58: _long_sku,
    72: _without_key,
}


def _empty_sku(entry: Json) -> None:
    entry["sku"] = ""


def _blanks_around_sku(entry: Json) -> None:
    entry["sku"] = f"  {entry['sku']} "


def _missing_sku(entry: Json) -> None:
    del entry["sku"]


def _nul_in_sku(entry: Json) -> None:
    entry["sku"] = entry["sku"][:4] + "\x00" + entry["sku"][4:]


def _lone_surrogate_in_sku(entry: Json) -> None:
    entry["sku"] = entry["sku"][:4] + "\ud83d" + entry["sku"][4:]


def _negative_restock_days(entry: Json) -> None:
    entry["restockableInDays"] = -1


def _available_above_stock(entry: Json) -> None:
    entry["availableQuantity"] = entry["quantityOnStock"] + 25


def _absurd_quantity(entry: Json) -> None:
    entry["quantityOnStock"] = entry["availableQuantity"] = 10**12


def _quantity_as_text(entry: Json) -> None:
    entry["quantityOnStock"] = str(entry["quantityOnStock"])


def _created_after_modified(entry: Json) -> None:
    entry["createdAt"] = later(entry["lastModifiedAt"], 3)


def _impossible_date(entry: Json) -> None:
    entry["expectedDelivery"] = "2026-02-30T08:00:00.000Z"


#: `blanks_around_sku` can be corrected; all others are wrong.
FLAWS: dict[str, Callable[[Json], None]] = {
    "empty_sku": _empty_sku,
    "blanks_around_sku": _blanks_around_sku,
    "missing_sku": _missing_sku,
    "nul_in_sku": _nul_in_sku,
    "lone_surrogate_in_sku": _lone_surrogate_in_sku,
    "negative_restock_days": _negative_restock_days,
    "available_above_stock": _available_above_stock,
    "absurd_quantity": _absurd_quantity,
    "quantity_as_text": _quantity_as_text,
    "created_after_modified": _created_after_modified,
    "impossible_date": _impossible_date,
}
