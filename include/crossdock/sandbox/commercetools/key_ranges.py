"""
The range of a sorted index in which the matches of a predicate lie.

Because of it a keyset page costs its own size and not the collection's: no key outside the range can match, and
if the range is exact, every key inside matches without a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crossdock.sandbox.commercetools.predicates import And, Compare, In, Literal, Node, Or, is_instant
from crossdock.sandbox.engine import clock

#: Sorts after every ID and every instant.
HIGHEST = "\U0010ffff"

Key = tuple[str, ...]


@dataclass(frozen=True)
class KeyRange:
    """The keys from *low* up to *high*, exclusive. A short key sorts before all that begin with it."""

    low: Key = ()
    high: Key = (HIGHEST,)
    #: True if every key in the range matches; otherwise some may not.
    exact: bool = False

    @property
    def only_first(self) -> str | None:
        """The value of the first field if all keys in the range have the same; otherwise None."""
        return self.low[0] if self.low and self.high == (self.low[0], HIGHEST) else None


_UNKNOWN = KeyRange()


def key_range(node: Node | None, fields: Sequence[str]) -> KeyRange:
    """Find the range of *node* in an index whose keys are the texts of *fields*."""
    match node:
        case None:
            return KeyRange(exact=True)
        case Compare(field, sign, value) if field == fields[0]:
            return _for_comparison(sign, _key(field, value))
        case In(field, values) if field == fields[0] and values:
            return _union([_for_comparison("=", _key(field, value)) for value in values])
        case Or(parts):
            return _union([key_range(part, fields) for part in parts])
        case And(parts):
            return _intersection(parts, fields)
    return _UNKNOWN


def exact_values(node: Node | None, field: str) -> set[str] | None:
    """Find the only texts that *field* can have if *node* holds; None if it may have any."""
    match node:
        case Compare(name, "=", Literal(str(text))) if name == field:
            return {text}
        case In(name, values) if name == field and all(value.text is not None for value in values):
            return {str(value.text) for value in values}
        case And(parts):
            known = [texts for part in parts if (texts := exact_values(part, field)) is not None]
            return set.intersection(*known) if known else None
        case Or(parts):
            options = [texts for part in parts if (texts := exact_values(part, field)) is not None]
            return set().union(*options) if len(options) == len(parts) else None
    return None


def _key(field: str, value: Literal) -> str | None:
    if value.text is None:
        return None
    return clock.sort_key(value.text) if is_instant(field) else value.text


def _for_comparison(sign: str, key: str | None) -> KeyRange:
    if key is None:
        return _UNKNOWN
    at, past = (key,), (key, HIGHEST)
    ranges = {"=": (at, past), ">": (past, (HIGHEST,)), ">=": (at, (HIGHEST,)), "<": ((), at), "<=": ((), past)}
    return KeyRange(*ranges[sign], exact=True) if sign in ranges else _UNKNOWN


def _union(ranges: Sequence[KeyRange]) -> KeyRange:
    """Cover all *ranges* with one; it is exact if they are and leave no gap."""
    ordered = sorted(ranges, key=lambda r: r.low)
    whole, exact = ordered[0], all(r.exact and r.low <= r.high for r in ordered)
    for following in ordered[1:]:
        exact = exact and following.low <= whole.high
        whole = KeyRange(whole.low, max(whole.high, following.high))
    return KeyRange(whole.low, whole.high, exact)


def _intersection(parts: Sequence[Node], fields: Sequence[str]) -> KeyRange:
    """Find the range of *parts* joined by "and"."""
    ranges = [key_range(part, fields) for part in parts]
    low, high = max(r.low for r in ranges), min(r.high for r in ranges)
    inner = KeyRange(low, high, exact=all(r.exact for r in ranges))
    first = inner.only_first
    if inner.exact or first is None or len(fields) == 1:
        return inner
    # All keys begin with the same value, so the next field narrows them: the `and id > "…"` of a keyset page.
    rest = _intersection([part for part, r in zip(parts, ranges, strict=True) if not r.exact], fields[1:])
    return KeyRange(max(low, (first, *rest.low)), min(high, (first, *rest.high)), rest.exact)
