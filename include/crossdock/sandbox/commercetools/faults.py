"""The faults that only this retailer can apply: wrong pages, and data that changes while it is read."""

from typing import Any

from crossdock.sandbox.commercetools.simulation import CHANGES
from crossdock.sandbox.engine.faults import Check, check_share, check_true, is_number


def _check_changes(value: Any) -> str | None:
    counts = {name: value[name] for name in value if name != "only_good"} if isinstance(value, dict) else {"": None}
    right = counts.keys() <= set(CHANGES) and all(type(count) is int and count >= 0 for count in counts.values())
    return None if right else f"an object of whole numbers: {', '.join(CHANGES)}"


def _check_lateness(value: Any) -> str | None:
    right = isinstance(value, dict) and value.keys() == {"seconds"} and is_number(value["seconds"])
    return None if right else '{"seconds": 120}'


FAULT_KINDS: dict[str, Check] = {
    "duplicate_page": check_true,
    "empty": check_true,
    "shrink": check_share,
    "mutate_during": _check_changes,
    "late_update": _check_lateness,
}
