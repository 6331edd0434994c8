"""Which warehouses an order is sent from: by declared rules, applied in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

#: Of more warehouses, the best few by the other rules are combined: every combination of six is 63.
_COMBINED = 6


class Rule(StrEnum):
    """What decides between two ways to send an order. The first rule that tells them apart decides."""

    #: As few parcels, that is, warehouses, as possible.
    FEWEST_PARCELS = "fewest_parcels"
    #: The lowest priority number.
    PRIORITY = "priority"
    #: The customer's own country first.
    DISTANCE = "distance"
    #: The lowest cost of the parcels.
    COST = "cost"


@dataclass(frozen=True)
class Place:
    """A warehouse with what it can give."""

    warehouse_id: str
    priority: int
    country: str | None
    parcel_cost_minor: int
    #: SKU → units that can be held.
    available: Mapping[str, int]


@dataclass(frozen=True, order=True)
class Part:
    """Units of a SKU from one warehouse."""

    sku: str
    warehouse_id: str
    quantity: int


def source(
    wanted: Mapping[str, int], places: Iterable[Place], rules: Sequence[Rule], *, country: str | None
) -> list[Part] | None:
    """
    Choose the parts in which *wanted* is sent; None if there is not enough of everything together.

    Between equal ways the names of the warehouses decide, so that the same stock always gives the same parts.
    """
    able = [place for place in places if any(place.available.get(sku, 0) > 0 for sku in wanted)]
    by_rules = sorted(able, key=lambda place: _rank([place], rules, country))
    ways = [
        list(way)
        for size in range(1, min(len(by_rules), _COMBINED) + 1)
        for way in combinations(by_rules[:_COMBINED], size)
        if _suffices(wanted, way)
    ]
    if ways:
        return _parts(wanted, min(ways, key=lambda way: _rank(way, rules, country)))
    return _parts(wanted, by_rules) if _suffices(wanted, by_rules) else None


def missing(wanted: Mapping[str, int], places: Iterable[Place]) -> dict[str, int]:
    """Compute how many units of each SKU are missing in all warehouses together."""
    there = list(places)
    lacking = {sku: wanted[sku] - sum(place.available.get(sku, 0) for place in there) for sku in wanted}
    return {sku: units for sku, units in lacking.items() if units > 0}


_RANKS: Mapping[Rule, Callable[[Sequence[Place], str | None], int]] = {
    Rule.FEWEST_PARCELS: lambda way, _: len(way),
    Rule.PRIORITY: lambda way, _: sum(place.priority for place in way),
    Rule.DISTANCE: lambda way, country: sum(place.country is None or place.country != country for place in way),
    Rule.COST: lambda way, _: sum(place.parcel_cost_minor for place in way),
}


def _rank(way: Sequence[Place], rules: Sequence[Rule], country: str | None) -> tuple[list[int], list[str]]:
    return [_RANKS[rule](way, country) for rule in rules], sorted(place.warehouse_id for place in way)


def _suffices(wanted: Mapping[str, int], way: Sequence[Place]) -> bool:
    return not missing(wanted, way)


def _parts(wanted: Mapping[str, int], way: Sequence[Place]) -> list[Part]:
    """Take all of each SKU from as few warehouses of *way* as possible: the fullest first."""
    parts: list[Part] = []
    for sku, units in sorted(wanted.items()):
        left = units
        whole = [place for place in way if place.available.get(sku, 0) >= units]
        for place in whole[:1] or sorted(way, key=lambda place: -place.available.get(sku, 0)):
            taken = min(left, place.available.get(sku, 0))
            if taken > 0:
                parts.append(Part(sku, place.warehouse_id, taken))
                left -= taken
    return sorted(parts)
