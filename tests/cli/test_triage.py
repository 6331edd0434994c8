"""./hub quarantine and ./hub dead-letters: what a person types at either desk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from crossdock.cli import consent
from crossdock.db.database import Store
from crossdock.sync.quarantine import service as quarantine_desk

from tests.cli.conftest import Hub
from tests.events.dead_letters.test_service import dead
from tests.shop import query
from tests.sync.quarantine.test_service import Desk
from tests.sync.records import entry


def rejected(store: Store, number: int) -> list[str]:
    Desk(store).sync(*(entry(id=f"id-{n:02}", sku="") for n in range(number)))
    return [str(item.item_id) for item in Desk(store).items()]


def test_some_items_are_discarded_by_their_numbers(hub: Hub, store: Store) -> None:
    first, second, _ = rejected(store, 3)

    ended = hub("quarantine", "discard", first, second, "--reason", "no longer sold")

    assert ended.code == 0
    assert "2 of 2 items are discarded" in ended.said
    assert Desk(store).states() == ["discarded", "discarded", "open"]


def test_many_are_counted_first_and_need_a_yes(hub: Hub, store: Store) -> None:
    rejected(store, 11)
    words = ("quarantine", "discard", "--cause", "sku_is_present", "--reason", "no longer sold")

    asked = hub(*words)
    unchanged = set(Desk(store).states())
    done = hub(*words, "--yes", "--json")

    assert (asked.code, unchanged) == (2, {"open"})
    assert "11 items would be discarded. Add --yes to confirm" in asked.said
    assert (done.code, done.document["chosen"], len(done.document["closed"])) == (0, 11, 11)
    assert set(Desk(store).states()) == {"discarded"}


def test_at_a_terminal_a_person_is_asked_and_no_means_no(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(store, 11)
    monkeypatch.setattr(consent.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", _declined)

    ended = hub("quarantine", "discard", "--all", "--reason", "a test", "--json")

    assert (ended.code, ended.document["error"]["message"]) == (1, "Nothing was done")
    assert set(Desk(store).states()) == {"open"}


def _declined(*_: object, **__: object) -> bool:
    import typer  # noqa: PLC0415

    raise typer.Abort


def test_letters_are_discarded_by_their_cause(hub: Hub, store: Store, hub_dsn: str) -> None:
    letter_ids = dead(store, hub_dsn, 3)

    ended = hub("dead-letters", "discard", "--cause", "BadEvent", "--reason", "a test", "--json")

    assert (ended.code, ended.document["closed"]) == (0, letter_ids)
    assert query(store, "SELECT DISTINCT detail->>'reason' FROM audit_entry WHERE act = 'letter.discard'") == [
        ("a test",)
    ]


@pytest.mark.parametrize("desk", ["dead-letters", "quarantine"])
@pytest.mark.parametrize("words", [["discard", "--reason", "x"], ["replay"], ["replay", "1", "--all"]])
def test_a_choice_that_names_nothing_or_twice_says_how_to_choose(hub: Hub, desk: str, words: list[str]) -> None:
    ended = hub(desk, *words)

    assert ended.code == 2
    assert "numbers such as 11 12, or --cause CAUSE, or --all" in ended.said


@pytest.mark.parametrize("desk", ["dead-letters", "quarantine"])
def test_a_mend_is_said_in_one_way(hub: Hub, desk: str, tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text("{")

    assert "--set FIELD=VALUE (may be repeated), or --file" in hub(desk, "fix", "1").said
    assert "'5' is not FIELD=VALUE" in hub(desk, "fix", "1", "--set", "5").said
    assert "cut.json is not JSON" in hub(desk, "fix", "1", "--file", str(tmp_path / "cut.json")).said


def test_a_mend_that_is_taken_back_is_said_to_be(hub: Hub, store: Store) -> None:
    (item_id,) = rejected(store, 1)
    hub("quarantine", "fix", item_id, "--set", "sku=SIDEBOARD")
    mended = Desk(store).items()[0].mended

    ended = hub("quarantine", "fix", item_id, "--set", 'sku=""')

    assert quarantine_desk.readable(mended or b"")["sku"] == "SIDEBOARD"
    assert ended.code == 3
    assert "again as it came" in ended.said
    assert Desk(store).items()[0].mended is None


def test_a_mended_letter_is_shown_as_it_will_be_told(hub: Hub, store: Store, hub_dsn: str) -> None:
    (letter_id,) = dead(store, hub_dsn)

    fixed = hub("dead-letters", "fix", str(letter_id), "--set", "available_quantity=5", "--json")
    back = hub("dead-letters", "fix", str(letter_id), "--set", 'available_quantity="five"')

    assert fixed.document["mended"]["available_quantity"] == 5
    assert "there is no mend any more" in back.said
    assert json.loads(hub("dead-letters", "show", str(letter_id), "--json").out)["mended"] is None
