"""./hub run rows, ./hub events list --run, ./hub quarantine list --run: what became of each record of a run."""

from __future__ import annotations

import pytest

from crossdock.db.database import Store
from tests.cli.conftest import Hub
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


@pytest.fixture
def run_id(store: Store) -> str:
    """The second of two runs: one record is unchanged, one inserted, one rejected."""
    Triage(store).sync(entry(id="a", sku="CHEST"))
    Triage(store).sync(entry(id="a", sku="CHEST"), entry(id="b", sku="BENCH"), entry(id="c", sku=""))
    return str(query(store, "SELECT run_id FROM sync_run ORDER BY started_at DESC LIMIT 1")[0][0])


def test_a_run_names_the_command_that_lists_its_rows(hub: Hub, run_id: str) -> None:
    shown = hub("run", "show", run_id)
    listed = hub("run", "rows", run_id)

    assert f"Record by record: ./hub run rows {run_id}" in shown.text
    assert f"./hub quarantine list --run {run_id}" in shown.text
    assert "inserted" in listed.out
    assert "BENCH" in listed.out
    assert "sku_is_present" in listed.out
    assert "CHEST" not in listed.out
    assert "Only counted, not listed: 1 unchanged." in listed.text


def test_rows_are_chosen_by_outcome_and_are_one_document(hub: Hub, run_id: str) -> None:
    found = hub("run", "rows", run_id, "--outcome", "rejected", "--json").document

    assert [(row["record_id"], row["cause"]) for row in found["rows"]] == [("c", "sku_is_present")]
    assert found["has_more"] is False
    assert found["counts"]["unchanged"] == 1


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (
            "unchanged",
            "The hub only counts unchanged records and does not keep which ones they were. It lists: inserted",
        ),
        ("rejcted", "There is no outcome 'rejcted'. Outcomes: inserted, updated, rejected, held"),
    ],
)
def test_an_outcome_that_is_not_listed_is_refused(stackless_hub: Hub, outcome: str, says: str) -> None:
    ended = stackless_hub("run", "rows", "r", "--outcome", outcome)

    assert ended.code == 2
    assert says in ended.text


def test_the_items_of_a_run_stand_without_the_causes_of_all_others(hub: Hub, run_id: str) -> None:
    """The causes are of all streams and runs: above the items of one, they read as its own."""
    assert "Open, by cause" in hub("quarantine", "list").text
    assert "Open, by cause" not in hub("quarantine", "list", "--run", run_id).text
    assert "No open item has the cause nope" in hub("quarantine", "list", "--cause", "nope").text


def test_events_and_items_of_a_run_are_listed(hub: Hub, run_id: str) -> None:
    events = hub("events", "list", "--run", run_id)
    items = hub("quarantine", "list", "--run", run_id, "--json").document["items"]

    assert "crossdock.stock.changed" in events.out
    assert "BENCH" in events.out
    assert "CHEST" not in events.out
    assert [item["record_id"] for item in items] == ["c"]
    assert hub("events", "list", "--run", "nope").code == 1
