"""Keyset predicates, held against the sandbox's own reading of the query language."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.connectors.commercetools.predicates import quoted, sort, where
from crossdock.core.errors import BadRequest
from crossdock.core.instants import from_utc_text, utc_text
from crossdock.sandbox.commercetools.predicates import compile_predicate, parse
from crossdock.sync.source import Axis, Cursor, Range

T0 = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
#: What breaks a quoted text, and what sorts oddly.
SIGNS = st.sampled_from("ab01\"\\' ()=:-\n\t\0é\u0301\u200f😀\U0010fffe")
KEYS = st.text(SIGNS, min_size=1, max_size=5) | st.text(
    st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5
)
#: Few instants, so that many rows share one.
INSTANTS = st.integers(0, 4).map(lambda step: T0 + timedelta(milliseconds=step))
ROWS = st.lists(st.tuples(INSTANTS, KEYS), max_size=12, unique_by=lambda row: row[1])
BOUNDS = st.none() | INSTANTS.map(utc_text)


def selected(part: Range, after: Cursor | None, rows: list[Any]) -> list[tuple[datetime, str]]:
    """The rows that the predicate leaves, in its order."""
    predicate = where(part, after)
    holds = compile_predicate(parse(predicate)) if predicate else lambda _: True
    documents = [{"id": key, "sku": key, "lastModifiedAt": utc_text(at)} for at, key in rows]
    by = (lambda row: row) if part.axis is Axis.TIME else (lambda row: row[1])
    found = [(from_utc_text(row["lastModifiedAt"]), row["id"]) for row in documents if holds(row)]
    return sorted(found, key=by)


@given(rows=ROWS, cursor=st.tuples(INSTANTS, KEYS), low=BOUNDS, high=BOUNDS, pick=st.none() | st.integers(0, 11))
def test_a_page_by_time_is_what_comes_strictly_after_the_cursor(
    rows: list[tuple[datetime, str]], cursor: tuple[datetime, str], low: str | None, high: str | None, pick: int | None
) -> None:
    """One row too few is lost permanently, one too many is read for ever."""
    part = Range(range_no=0, axis=Axis.TIME, low=low, high=high)
    after = Cursor(*rows[pick]) if pick is not None and pick < len(rows) else Cursor(*cursor)
    below = [row for row in sorted(rows) if high is None or row[0] < from_utc_text(high)]

    assert selected(part, after, rows) == [row for row in below if row > after]
    assert selected(part, None, rows) == [row for row in below if low is None or row[0] >= from_utc_text(low)]


@given(rows=ROWS, key=KEYS, low=st.none() | KEYS, high=st.none() | KEYS)
def test_a_page_by_id_is_what_comes_strictly_after_the_cursor(
    rows: list[tuple[datetime, str]], key: str, low: str | None, high: str | None
) -> None:
    part = Range(range_no=0, axis=Axis.ID, low=low, high=high)
    below = [row for row in sorted(rows, key=lambda row: row[1]) if high is None or row[1] <= high]

    assert selected(part, Cursor(T0, key), rows) == [row for row in below if row[1] > key]
    assert selected(part, None, rows) == [row for row in below if low is None or row[1] > low]


@given(rows=ROWS, keys=st.lists(KEYS, min_size=1, max_size=4), after=st.none() | KEYS)
def test_a_page_by_keys_is_the_rows_of_these_keys(
    rows: list[tuple[datetime, str]], keys: list[str], after: str | None
) -> None:
    """Keys come from people: a quote in one must neither fail nor find another's row."""
    keys += [key for _, key in rows[::2]]
    part = Range(range_no=0, axis=Axis.KEYS, field="sku", keys=tuple(keys))
    expected = sorted(key for _, key in rows if key in keys and (after is None or key > after))

    found = selected(part, Cursor(T0, after) if after is not None else None, rows)

    assert [key for _, key in found] == expected


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_quoted_text_is_one_text(text: str) -> None:
    """No text can end the string and continue as a condition of its own."""
    node: Any = parse(f"sku = {quoted(text)}")

    assert node.value.text == text


def test_a_key_that_tries_to_be_a_condition_stays_a_key() -> None:
    part = Range(range_no=0, axis=Axis.KEYS, field="sku", keys=('x") or sku != ("y',))

    assert selected(part, None, [(T0, "a"), (T0, "b")]) == []


@pytest.mark.parametrize("key", ["\ud800", "SKU-\udfff-1"])
def test_half_a_character_is_refused_by_name(key: str) -> None:
    """It cannot be encoded: the HTTP library would end the run with an error of its own."""
    with pytest.raises(BadRequest, match="half a character"):
        quoted(key)


def test_no_bounds_are_no_predicate() -> None:
    """An empty `where` would be refused."""
    assert where(Range(range_no=0, axis=Axis.ID), None) is None
    assert where(Range(range_no=0, axis=Axis.TIME), None) is None


def test_pages_by_time_break_ties_by_id() -> None:
    """Without the id in the order, rows that share a page's last instant come in any order and are lost."""
    assert sort(Range(range_no=0, axis=Axis.TIME)) == ["lastModifiedAt asc", "id asc"]
    assert sort(Range(range_no=0, axis=Axis.ID)) == ["id asc"]


def test_bounds_may_be_written_in_any_zone() -> None:
    part = Range(range_no=0, axis=Axis.TIME, low="2026-11-21T13:00:00+01:00")

    assert where(part, None) == 'lastModifiedAt >= "2026-11-21T12:00:00.000Z"'
