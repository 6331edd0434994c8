"""
The order of a keyset: each page has to continue where the one before ended, or records between them are lost. Pure.

The order of text is the database's own. It is compared only where all orders agree; a value that comes again is the evidence
for the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from typing import Any

import msgspec


class Order(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the pages so far say of the order of the list."""

    #: 1 for ascending values, -1 for descending ones; 0 if that is not known yet.
    direction: int = 0
    #: Whether several records of the last page have the same value.
    has_ties: bool = False
    #: Digests of the values of the last page.
    values: tuple[str, ...] = ()


class OutOfOrder(Exception):
    """The next page would not begin where this one ends. The text completes `the page …`."""


def continued(order: Order, position: str | None, values: Sequence[Any], *, may_have_ties: bool) -> Order:
    """
    Check that the page with *values* continues those before, which ended with *position*.

    Raises:
        OutOfOrder: it does not; or the one before has ties, of which *position* may have cut off some.

    """
    texts, digests = [str(value) for value in values], [_digest(str(value)) for value in values]
    if order.has_ties and not may_have_ties and position not in texts:
        raise OutOfOrder(
            "begins after a value that is not unique: several records of the page before have the same one, and those that "
            "did not fit on it are lost. Declare a unique value, or read.paging.total"
        )
    directions = {order.direction, *_directions(position, values)} - {0}
    again = set(order.values) & {digest for digest, text in zip(digests, texts, strict=True) if text != position}
    if len(directions) > 1 or again:
        raise OutOfOrder(
            "is not sorted by its value: values go forwards and backwards, or come again. Have the system sort by "
            "read.paging.value, in the direction in which read.paging.parameter continues"
        )
    return Order(next(iter(directions), 0), len(set(texts)) < len(texts), tuple(digests))


def _directions(position: str | None, values: Sequence[Any]) -> Iterator[int]:
    before = [] if position is None else [position]
    for earlier, later in pairwise([*before, *values]):
        yield _compared(str(earlier), later)


def _compared(earlier: str, later: Any) -> int:
    """Compare two values: 1 if *later* is greater, -1 if it is less, 0 if they are equal or only their database knows."""
    pair = _numbers(earlier, later) if isinstance(later, int | Decimal) else _in_any_order(earlier, str(later))
    return 0 if pair is None else (pair[1] > pair[0]) - (pair[1] < pair[0])


def _numbers(earlier: str, later: int | Decimal) -> tuple[Any, Any] | None:
    try:
        pair = Decimal(earlier), Decimal(later)
    except InvalidOperation:
        return None
    return pair if all(number.is_finite() for number in pair) else None


def _in_any_order(earlier: str, later: str) -> tuple[Any, Any] | None:
    """Read two texts of which each database has the same order: whole numbers of one length, and ISO 8601 instants."""
    if earlier.isdecimal() and later.isdecimal():
        return (earlier, later) if len(earlier) == len(later) else None
    try:
        pair = datetime.fromisoformat(earlier), datetime.fromisoformat(later)
    except ValueError:
        return None
    return pair if (pair[0].tzinfo is None) == (pair[1].tzinfo is None) else None


def _digest(value: str) -> str:
    return hashlib.blake2b(value.encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
