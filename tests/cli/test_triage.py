"""./hub quarantine and ./hub dead-letters: what a person types in either group."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from crossdock.cli import consent, console
from crossdock.db.database import Store
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Write
from crossdock.sync.quarantine import service as quarantine_service
from tests.cli.conftest import Hub
from tests.events.dead_letters.test_service import dead
from tests.events.worlds import delivery, publish, stock
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


def rejected(store: Store, number: int) -> list[str]:
    Triage(store).sync(*(entry(id=f"id-{n:02}", sku="") for n in range(number)))
    return [str(item.item_id) for item in Triage(store).items()]


def test_some_items_are_discarded_by_id(hub: Hub, store: Store) -> None:
    first, second, _ = rejected(store, 3)

    ended = hub("quarantine", "discard", first, second, "--reason", "no longer sold")

    assert ended.code == 0
    assert "Discarded 2 of 2 items" in ended.text
    assert Triage(store).states() == ["discarded", "discarded", "open"]


def test_all_like_one_are_discarded_and_it_is_said_once(hub: Hub, store: Store) -> None:
    first, *_ = rejected(store, 3)
    Triage(store).sync(entry(id="other", quantityOnStock=-3))
    ended = hub("quarantine", "discard", "--all-like", first, "--reason", "no longer sold")

    assert ended.text.count("Discarded 3 of 3 items") == 1
    assert sorted(Triage(store).states()) == ["discarded"] * 3 + ["open"]


def test_many_are_counted_first_and_need_a_yes(hub: Hub, store: Store) -> None:
    rejected(store, 11)
    words = ("quarantine", "discard", "--cause", "sku_is_present", "--reason", "no longer sold")

    unconfirmed = hub(*words)
    unchanged = set(Triage(store).states())
    done = hub(*words, "--yes", "--json")

    assert (unconfirmed.code, unchanged) == (2, {"open"})
    assert "11 items would be discarded. Add --yes to confirm" in unconfirmed.text
    assert (done.code, done.document["chosen"], len(done.document["closed"])) == (0, 11, 11)
    assert set(Triage(store).states()) == {"discarded"}


def test_at_a_terminal_the_command_prompts_and_no_means_no(
    hub: Hub, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected(store, 11)
    monkeypatch.setattr(consent.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", _declined)

    ended = hub("quarantine", "discard", "--all", "--reason", "a test", "--json")

    assert (ended.code, ended.document["error"]["message"]) == (1, "Nothing was done")
    assert set(Triage(store).states()) == {"open"}


def _declined(*_: object, **__: object) -> bool:
    import typer  # noqa: PLC0415

    raise typer.Abort


def test_dead_letters_are_discarded_by_their_cause(hub: Hub, store: Store, hub_dsn: str) -> None:
    dead_letter_ids = dead(store, hub_dsn, 3)

    ended = hub("dead-letters", "discard", "--cause", "BadEvent", "--reason", "a test", "--json")

    assert (ended.code, ended.document["closed"]) == (0, dead_letter_ids)
    assert query(store, "SELECT DISTINCT detail->>'reason' FROM audit_entry WHERE act = 'dead_letter.discard'") == [
        ("a test",)
    ]


@pytest.mark.parametrize("group", ["dead-letters", "quarantine"])
@pytest.mark.parametrize("words", [["discard", "--reason", "x"], ["replay"], ["replay", "1", "--all"]])
def test_a_choice_that_names_nothing_or_twice_says_how_to_choose(hub: Hub, group: str, words: list[str]) -> None:
    ended = hub(group, *words)

    assert ended.code == 2
    assert "IDs such as 11 12, or --cause CAUSE, or --all" in ended.text


@pytest.mark.parametrize("group", ["dead-letters", "quarantine"])
def test_an_edit_is_given_in_one_way(hub: Hub, group: str, tmp_path: Path) -> None:
    (tmp_path / "cut.json").write_text("{")

    assert "--set FIELD=VALUE (may be repeated), or --file" in hub(group, "fix", "1").text
    assert "'5' is not FIELD=VALUE" in hub(group, "fix", "1", "--set", "5").text
    assert "cut.json is not JSON" in hub(group, "fix", "1", "--file", str(tmp_path / "cut.json")).text


def test_a_record_says_what_was_received_and_what_was_done_with_it(hub: Hub, store: Store) -> None:
    (item_id,) = rejected(store, 1)
    hub("quarantine", "fix", item_id, "--set", "sku=SIDEBOARD")
    shown = hub("quarantine", "show", item_id).text

    assert 'received as sku: ""' in shown
    assert "fixed by" in shown
    assert 'sku: "" → "SIDEBOARD"' in shown
    assert "Fields of its source: " in shown


def test_a_fix_that_is_taken_back_is_reported(hub: Hub, store: Store) -> None:
    (item_id,) = rejected(store, 1)
    hub("quarantine", "fix", item_id, "--set", "sku=SIDEBOARD")
    edited = Triage(store).items()[0].edited

    ended = hub("quarantine", "fix", item_id, "--set", 'sku=""')

    assert quarantine_service.readable(edited or b"")["sku"] == "SIDEBOARD"
    assert ended.code == 3
    assert "back to its original" in ended.text
    assert Triage(store).items()[0].edited is None


def test_all_like_one_are_previewed_fixed_and_named_for_the_replay(hub: Hub, store: Store) -> None:
    first, *_ = rejected(store, 11)
    words = ("quarantine", "fix", "--all-like", first, "--set", "sku=SIDEBOARD")

    preview = hub("quarantine", "preview", "--all-like", first, "--set", "sku=SIDEBOARD")
    unconfirmed = hub(*words)
    untouched = {item.edited for item in Triage(store).items()}
    done = hub(*words, "--yes")

    assert (preview.code, "Would load 11, still bad 0." in preview.text) == (0, True)
    assert "11 records would be edited. Add --yes to confirm" in unconfirmed.text
    assert untouched == {None}
    assert (done.code, "Edited 11 of 11 records." in done.text) == (0, True)
    assert f"./hub quarantine replay --all-like {first}" in done.text
    assert all(item.edited for item in Triage(store).items())


def test_a_change_that_does_not_help_all_is_partial(hub: Hub, store: Store) -> None:
    first, *_ = rejected(store, 2)

    ended = hub("quarantine", "fix", "--all-like", first, "--set", "quantityOnStock=5", "--json")

    assert (ended.code, ended.document["preview"]["still_bad"]) == (3, [{"cause": "sku_is_present", "items": 2}])


def test_what_is_fixed_is_named_in_one_way(hub: Hub) -> None:
    for words in ((), ("1", "--all-like", "1")):
        assert "one item ID such as 11, or --all-like 11" in hub("quarantine", "fix", *words, "--set", "a=1").text
    assert "--file replaces one record" in hub("quarantine", "fix", "--all-like", "1", "--file", __file__).text


def test_an_edited_dead_letter_is_shown_as_it_will_be_delivered(hub: Hub, store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)

    fixed = hub("dead-letters", "fix", str(dead_letter_id), "--set", "available_quantity=5", "--json")
    back = hub("dead-letters", "fix", str(dead_letter_id), "--set", 'available_quantity="five"')

    assert fixed.document["edited_data"]["available_quantity"] == 5
    assert "the edit is removed" in back.text
    assert json.loads(hub("dead-letters", "show", str(dead_letter_id), "--json").out)["edited_data"] is None


def test_a_replay_is_followed_to_its_end_and_recorded_as_the_user_of_the_api(
    hub: Hub, store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery worker runs it. The audit trail has the name that Airflow checked, whatever the shell says."""
    monkeypatch.setenv("USER", "eve")
    first, _ = rejected(store, 2)
    hub("quarantine", "fix", first, "--set", "sku=SIDEBOARD")

    with delivery(hub_dsn):
        ended = hub("quarantine", "replay", "--all", "--json")

    assert (ended.code, ended.document["state"]) == (3, "done")
    assert (ended.document["done"], ended.document["failed"]) == (1, 1)
    assert "./hub quarantine list" in ended.err
    assert query(store, "SELECT DISTINCT actor FROM audit_entry") == [("airflow:otto",)]


def test_dead_letters_are_replayed_by_a_worker(hub: Hub, store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)
    hub("dead-letters", "fix", str(dead_letter_id), "--set", "available_quantity=5")

    with delivery(hub_dsn):
        ended = hub("dead-letters", "replay", str(dead_letter_id))

    assert ended.code == 0
    assert "✓ Replay 1 has ended: 1 of 1 delivered, 0 failed again" in ended.text
    assert query(store, "SELECT available FROM sku_availability") == [(5,)]


def test_a_replay_of_which_none_passed_has_failed(hub: Hub, store: Store, hub_dsn: str) -> None:
    """It said ✓ and 3: a script took nothing for a part."""
    (dead_letter_id,) = dead(store, hub_dsn)

    with delivery(hub_dsn):
        ended = hub("dead-letters", "replay", str(dead_letter_id))

    assert ended.code == 1
    assert "Replaying 1 dead letter" in ended.text
    assert "✗ Replay 1 has ended: 0 of 1 delivered, 1 failed again" in ended.text


def test_a_replay_of_no_event_has_failed(hub: Hub, store: Store, hub_dsn: str) -> None:
    publish(store, stock("A", 1, 1))

    with delivery(hub_dsn):
        ended = hub("events", "replay", "--key", "B", "--yes")

    assert ended.code == 1
    assert "Nothing matches the selection" in ended.text


@pytest.mark.parametrize(
    ("shown", "most", "said"),
    [
        (20, 1000, "To see them: --limit 1000"),
        (200, 1000, "To see them: --limit 1000"),
        (1000, 1000, "which is the maximum"),
        (200, 1_000_000, "To see them: --limit 2000"),
    ],
)
def test_a_cut_list_suggests_no_limit_that_is_refused(
    capsys: pytest.CaptureFixture[str], shown: int, most: int, said: str
) -> None:
    """`./hub runs --limit 200` suggested 2000, and took 1000 at most."""
    console.say_if_cut(shown, has_more=True, most=most)

    assert said in " ".join(capsys.readouterr().err.split())


def test_a_list_that_is_cut_says_so(hub: Hub, store: Store) -> None:
    """50 of 990 looked like all."""
    rejected(store, 3)

    cut, whole = (hub("quarantine", "list", "--limit", limit) for limit in ("2", "3"))

    assert "Only 2 are shown; there are more. To see them: --limit 1000" in cut.text
    assert "there are more" not in whole.text
    assert hub("quarantine", "list", "--limit", "2", "--json").document["has_more"] is True
    assert hub("quarantine", "list", "--limit", "3", "--json").document["has_more"] is False


@pytest.mark.parametrize(
    "words",
    [
        ["dead-letters", "list"],
        ["runs"],
        ["mail", "list"],
        ["alerts", "list"],
        ["alerts", "messages"],
        ["order", "list"],
        ["payments", "list"],
        ["audit", "list"],
        ["attempts", "list"],
        ["decisions", "list"],
    ],
)
def test_every_list_says_whether_there_are_more(hub: Hub, words: list[str]) -> None:
    assert hub(*words, "--json").document["has_more"] is False


def test_the_advice_on_an_unknown_outcome_makes_no_second_call(hub: Hub, store: Store) -> None:
    """The listed key is not the one that a person gave: a command with it, as it was named here, had another effect."""
    refund = Write(integration="stripe", action="refund", key="f00d" * 16, method="POST", path="/v1/refunds")
    with store.transaction() as work:
        attempt, _ = attempts.begin(work, refund, longest=timedelta(0))

    shown = hub("attempts", "list").text

    assert f"./hub attempts resolve {attempt.attempt_id} done --reason" in shown
    assert "--key" not in shown


def test_ctrl_c_stops_a_replay(hub: Hub, store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker runs it here: it would wait for one."""
    dead(store, hub_dsn, 2)

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("crossdock.cli.replays.time.sleep", interrupted)
    ended = hub("dead-letters", "replay", "--all", "--json")

    assert (ended.code, ended.document["state"]) == (1, "stopped")
    assert query(store, "SELECT state FROM event_replay") == [("stopped",)]


def test_a_list_longer_than_a_page_of_the_api_is_whole(hub: Hub, store: Store) -> None:
    rejected(store, 510)

    assert len(hub("quarantine", "list", "--limit", "505", "--json").document["items"]) == 505
    assert len(hub("quarantine", "list", "--limit", "1000", "--json").document["items"]) == 510


def test_more_than_one_request_may_discard_are_discarded_by_one_command(hub: Hub, store: Store) -> None:
    """The API closes a bounded number at a time: a long transaction would hold back every event."""
    rejected(store, 1_005)

    ended = hub("quarantine", "discard", "--all", "--reason", "a test", "--yes", "--json")

    assert (ended.code, ended.document["chosen"], len(set(ended.document["closed"]))) == (0, 1_005, 1_005)
    assert set(Triage(store).states()) == {"discarded"}
