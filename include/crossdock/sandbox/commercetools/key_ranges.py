"""
Where in a sorted index the answer to a predicate lies.

They are what makes a keyset page cost its own size and not the table's: none outside the bounds can match, and
where they are exact, nothing inside needs a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from crossdock.sandbox.commercetools.predicates import And, Compare, In, Literal, Node, Or, is_instant
from crossdock.sandbox.engine import clock

#: Sorts after every id and every instant.
HIGHEST = "\U0010ffff"

Key = tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """The keys from *low* up to, not including, *high*. A short key sorts before all that begin with it."""

    low: Key = ()
    high: Key = (HIGHEST,)
    #: Whether all keys in it match; otherwise some may not.
    exact: bool = False

    def pinned(self) -> str | None:
        """The one value of the first field that is possible, where it is one."""
        return self.low[0] if self.low and self.high == (self.low[0], HIGHEST) else None


_UNKNOWN = Span()


def span(node: Node | None, fields: Sequence[str]) -> Span:
    """The bounds of *node* in an index whose keys are the texts of *fields*."""
    match node:
        case None:
            return Span(exact=True)
        case Compare(field, sign, value) if field == fields[0]:
            return _compared(sign, _key(field, value))
        case In(field, values) if field == fields[0] and values:
            return _around([_compared("=", _key(field, value)) for value in values])
        case Or(parts):
            return _around([span(part, fields) for part in parts])
        case And(parts):
            return _within(parts, fields)
    return _UNKNOWN


def pins(node: Node | None, field: str) -> set[str] | None:
    """The only texts that *field* can have where *node* holds, or None where it may have any."""
    match node:
        case Compare(name, "=", Literal(str(text))) if name == field:
            return {text}
        case In(name, values) if name == field and all(value.text is not None for value in values):
            return {str(value.text) for value in values}
        case And(parts):
            known = [texts for part in parts if (texts := pins(part, field)) is not None]
            return set.intersection(*known) if known else None
        case Or(parts):
            every = [texts for part in parts if (texts := pins(part, field)) is not None]
            return set().union(*every) if len(every) == len(parts) else None
    return None


def _key(field: str, value: Literal) -> str | None:
    if value.text is None:
        return None
    return clock.sort_key(value.text) if is_instant(field) else value.text


def _compared(sign: str, key: str | None) -> Span:
    if key is None:
        return _UNKNOWN
    at, past = (key,), (key, HIGHEST)
    bounds = {"=": (at, past), ">": (past, (HIGHEST,)), ">=": (at, (HIGHEST,)), "<": ((), at), "<=": ((), past)}
    return Span(*bounds[sign], exact=True) if sign in bounds else _UNKNOWN


def _around(spans: Sequence[Span]) -> Span:
    """The bounds of any of *spans*: exact where they leave no gap between them."""
    ordered = sorted(spans, key=lambda s: s.low)
    whole, exact = ordered[0], all(s.exact and s.low <= s.high for s in ordered)
    for following in ordered[1:]:
        exact = exact and following.low <= whole.high
        whole = Span(whole.low, max(whole.high, following.high))
    return Span(whole.low, whole.high, exact)


def _within(parts: Sequence[Node], fields: Sequence[str]) -> Span:
    """The bounds of all of *parts* at once."""
    spans = [span(part, fields) for part in parts]
    low, high = max(s.low for s in spans), min(s.high for s in spans)
    inner = Span(low, high, exact=all(s.exact for s in spans))
    first = inner.pinned()
    if inner.exact or first is None or len(fields) == 1:
        return inner
    # All keys begin alike, so the next field's bounds count: the `and id > "…"` of a keyset page.
    rest = _within([part for part, s in zip(parts, spans, strict=True) if not s.exact], fields[1:])
    return Span(max(low, (first, *rest.low)), min(high, (first, *rest.high)), rest.exact)
