"""./hub audit: who changed what, read over the API; the chain itself, verified where the database is."""

from __future__ import annotations

from crossdock.db.database import Store
from crossdock.observability import audit
from tests.cli.conftest import Hub
from tests.cli.test_triage import rejected


def add(store: Store, act: str, detail: dict[str, object]) -> None:
    with store.transaction() as work:
        audit.add(work, actor="airflow:ann", act=act, subject="integration/shop_eu", detail=detail)


def test_a_change_is_shown_from_what_to_what(hub: Hub, store: Store) -> None:
    add(store, "integration.change", {"changed": {"name": {"from": "Shop", "to": "Shop EU"}}, "kind": "commercetools"})

    shown = hub("audit", "list", "--actor", "airflow:ann")

    assert 'name: "Shop" → "Shop EU"; {"kind": "commercetools"}' in shown.text
    assert hub("audit", "list", "--act", "integration", "--json").document["entries"][0]["act"] == "integration.change"
    assert hub("audit", "list", "--actor", "airflow:ben").text == "No entries."


def test_an_entry_of_an_earlier_version_is_shown_as_it_is(hub: Hub, store: Store) -> None:
    """It names the changed fields only, and the trail is never rewritten."""
    add(store, "integration.change", {"changed": ["settings"]})

    assert '{"changed": ["settings"]}' in hub("audit", "list").text


def test_what_somebody_did_with_a_command_is_read_with_another(hub: Hub, store: Store) -> None:
    """Also that it was looked at: what a source sends may name a person."""
    (item_id,) = rejected(store, 1)
    hub("quarantine", "show", item_id)
    hub("quarantine", "discard", item_id, "--reason", "no longer sold")

    looked, entry = sorted(hub("audit", "list", "--json").document["entries"], key=lambda each: each["entry_id"])
    assert (looked["actor"], looked["act"]) == ("airflow:otto", "personal_data.reveal")
    assert (entry["actor"], entry["act"], entry["detail"]) == (
        "airflow:otto",
        "quarantine.discard",
        {"reason": "no longer sold"},
    )


def test_a_time_is_read_in_the_words_of_every_command(hub: Hub) -> None:
    assert "Cannot read 'yesterday' as a time" in hub("audit", "list", "--since", "yesterday").text
