"""The audit trail says what an edit changed, place by place, whatever a source had sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.observability.audit import changes_of_document

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3}, {"b": (2, 3)}),
        ({"a": {"b": [{"c": 1}, {"c": 2}]}}, {"a": {"b": [{"c": 1}, {"c": 5}]}}, {"a.b.1.c": (2, 5)}),
        ({"a": [1]}, {"a": [1, 2]}, {"a.1": (None, 2)}),
        ({"a": 1}, {}, {"a": (1, None)}),
        ({"a": 1}, {"a": True}, {"a": (1, True)}),
        ({"a": {"b": 1}}, {"a": 5}, {"a": ({"b": 1}, 5)}),
        ({"a": "x\x00"}, {"a": "x"}, {"a": ("x\\u0000", "x")}),
        ({"a": float("inf")}, {"a": 1}, {"a": ("Infinity", 1)}),
    ],
)
def test_each_place_that_differs_is_named(before: Any, after: Any, changes: dict[str, tuple[Any, Any]]) -> None:
    found = changes_of_document(before, after, shown={"a", "b"}).places

    assert {place: (change["from"], change["to"]) for place, change in found.items()} == changes


@given(values, values)
def test_what_is_recorded_can_be_stored_and_sent(before: Any, after: Any) -> None:
    text = json.dumps(changes_of_document({"field": before}, {"field": after}, shown={"field"}).places, allow_nan=False)

    assert "\\u0000" not in text.replace("\\\\u0000", "")
    json.dumps(json.loads(text), ensure_ascii=False).encode()


@given(values)
def test_a_document_that_stays_as_it_is_has_no_changes(value: Any) -> None:
    assert changes_of_document({"a": value}, {"a": value}, shown={"a"}).places == {}


@given(values, values)
def test_of_a_field_that_may_be_about_a_person_no_value_is_kept(before: Any, after: Any) -> None:
    found = changes_of_document({"email": before}, {"email": after}, shown={"sku"}).places

    assert all(change == {"from": "***", "to": "***"} for change in found.values())


def test_of_a_large_edit_the_first_places_are_kept_and_the_others_counted() -> None:
    found = changes_of_document({"a": list(range(250))}, {"a": list(range(1, 251))}, shown={"a"})

    assert (len(found.places), found.left_out) == (100, 150)
    assert found.places["a.0"] == {"from": 0, "to": 1}
