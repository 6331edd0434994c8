"""The audit trail as code reads it: what is asked for and nothing else, and a change field by field."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.observability import audit
from tests.shop import query

#: Who did what to what, one second after the other.
TRAIL = (
    ("ann", "stock.change", "stock/1"),
    ("ben", "stock.change", "stock/2"),
    ("ann", "stocktaking.begin", "stock/1"),
    ("cli:up", "stock.remove", "stock/1"),
    ("ann", "stock.change", "stock/2"),
)


@pytest.fixture
def second(store: Store) -> list[datetime]:
    """The trail's instants, a second apart."""
    began = datetime.fromisoformat("2026-11-20T08:00:00+00:00")
    at = [began + timedelta(seconds=number) for number in range(len(TRAIL))]
    with store.transaction() as work:
        for actor, act, subject in TRAIL:
            audit.add(work, actor=actor, act=act, subject=subject)
    ids = [entry_id for (entry_id,) in query(store, "SELECT entry_id FROM audit_entry ORDER BY 1")]
    for entry_id, instant in zip(ids, at, strict=True):
        query(store, "UPDATE audit_entry SET at = %s WHERE entry_id = %s RETURNING 1", instant, entry_id)
    return at


def found(store: Store, **wanted: Any) -> list[int]:
    """The places in the trail of the entries that are found."""
    with store.transaction() as work:
        first = audit.find(work, limit=100)[-1].entry_id
        return [entry.entry_id - first for entry in audit.find(work, **wanted)]


@pytest.mark.usefixtures("second")
@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({}, [4, 3, 2, 1, 0]),
        ({"actor": "ann"}, [4, 2, 0]),
        ({"subject": "stock/1"}, [3, 2, 0]),
        ({"act": "stock.change"}, [4, 1, 0]),
        ({"act": "stock"}, [4, 3, 1, 0]),
        ({"act": "stock", "subject": "stock/2", "actor": "ben"}, [1]),
        ({"limit": 2}, [4, 3]),
    ],
    ids=str,
)
def test_the_entries_that_are_asked_for_are_found_the_latest_first(
    store: Store, wanted: dict[str, Any], places: list[int]
) -> None:
    """An entry that a filter hides did not happen, for whoever asks; one too many accuses somebody."""
    assert found(store, **wanted) == places


def test_a_time_has_its_first_instant_and_not_its_last(store: Store, second: list[datetime]) -> None:
    """Two days that follow each other then have each entry once."""
    assert found(store, since=second[3]) == [4, 3]
    assert found(store, until=second[3]) == [2, 1, 0]
    assert found(store, since=second[1], until=second[3]) == [2, 1]


@pytest.mark.usefixtures("second")
def test_a_page_begins_after_the_last_entry_of_the_one_before(store: Store) -> None:
    with store.transaction() as work:
        page = audit.find(work, limit=2)
        rest = audit.find(work, before=page[-1].entry_id)

    assert [entry.act for entry in (*page, *rest)] == [act for _, act, _ in reversed(TRAIL)]


def test_a_list_without_a_limit_has_fifty_entries(store: Store) -> None:
    """Whoever calls it without one does not get a trail of years."""
    with store.transaction() as work:
        for number in range(51):
            audit.add(work, actor="ann", act="stock.change", subject=f"stock/{number}")

        assert len(audit.find(work)) == 50


@pytest.mark.usefixtures("second")
def test_the_last_act_is_that_of_a_person_on_that_very_subject(store: Store) -> None:
    """It decides whether the settings file may replace what somebody set by hand."""
    with store.transaction() as work:
        last = audit.last(work, "stock/1", ["stock.change", "stock.remove"], not_by=["cli:up"])
        assert last is not None
        assert (last.actor, last.act, last.subject) == ("ann", "stock.change", "stock/1")
        newest = audit.last(work, "stock/1", ["stock.change", "stocktaking.begin"], not_by=["cli:up"])
        assert newest is not None
        assert newest.act == "stocktaking.begin"
        assert audit.last(work, "stock/1", ["stock.remove"], not_by=["cli:up"]) is None
        assert audit.last(work, "stock/3", ["stock.change"], not_by=[]) is None


def test_a_change_names_each_field_that_differs_and_no_other() -> None:
    before = {"name": "Shop", "state": "active", "settings": {"project": "a", "scope": "x"}, "old": {"kept": 1}}
    after = {"name": "Shop", "state": "paused", "settings": {"project": "b", "scope": "x"}, "new": {"made": 2}}

    assert audit.differences(before, after) == {
        "state": {"from": "active", "to": "paused"},
        "settings.project": {"from": "a", "to": "b"},
        "old.kept": {"from": 1, "to": None},
        "new.made": {"from": None, "to": 2},
    }
    assert audit.differences(before, before) == {}


def test_an_empty_trail_is_intact(store: Store) -> None:
    with store.transaction() as work:
        assert audit.verify(work) == audit.Chain(entries=0, broken_at=None, last_hash=None)


@pytest.mark.parametrize("removed", ["first", "middle"])
def test_an_entry_that_was_removed_breaks_the_chain_where_it_was(store: Store, removed: str) -> None:
    """Whoever owns the table can delete a row, and the next one tells."""
    with store.transaction() as work:
        for actor, act, subject in TRAIL:
            audit.add(work, actor=actor, act=act, subject=subject)
    numbers = [number for (number,) in query(store, "SELECT chain_no FROM audit_entry ORDER BY 1")]
    at = 0 if removed == "first" else 2
    query(store, "DELETE FROM audit_entry WHERE chain_no = %s RETURNING 1", numbers[at])
    with store.transaction() as work:
        assert audit.verify(work).broken_at == numbers[at + 1]


def test_a_gap_is_found_also_where_the_next_entry_was_signed_anew(store: Store) -> None:
    """Whoever can write the table can compute a hash. Its number still says that one is missing."""
    with store.transaction() as work:
        for actor, act, subject in TRAIL:
            audit.add(work, actor=actor, act=act, subject=subject)
    query(store, "DELETE FROM audit_entry WHERE chain_no = 4 RETURNING 1")
    query(
        store,
        "UPDATE audit_entry AS entry SET hash = audit_hash((SELECT hash FROM audit_entry WHERE chain_no = 3), entry)"
        " WHERE chain_no = 5 RETURNING 1",
    )
    with store.transaction() as work:
        assert audit.verify(work).broken_at == 5
