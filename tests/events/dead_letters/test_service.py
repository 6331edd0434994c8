"""Use cases of dead letters and replays; each action is in the audit trail."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from typer.testing import CliRunner

from crossdock.app.event_types import event_types
from crossdock.cli.app import app
from crossdock.commerce.inventory import service as inventory_service
from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.dead_letters import service as dead_letter_service
from crossdock.events.delivery import PartitionAssignment
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay import service as replay_service
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.observability import audit
from tests.events.worlds import SUBSCRIBERS, ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query
from tests.sync.quarantine.test_service import Meanwhile

ADA = "cli:ada"


def dead(store: Store, hub_dsn: str, number: int = 1) -> list[int]:
    """Make *number* dead letters, of S0, S1 …, whose quantity is not a number; return their ids."""
    publish(store, *(stock(f"S{n}", 1, 5, available_quantity="five") for n in range(number)))
    with delivery(hub_dsn):
        eventually(lambda: len(found(store)), number)
    return [dead_letter.dead_letter_id for dead_letter in found(store)]


def found(store: Store, state: str | None = "dead") -> list[dead_letter_repository.DeadLetter]:
    with store.transaction() as work:
        return dead_letter_repository.find(work, state=state, limit=10_000)


def available(store: Store) -> dict[str, int]:
    return dict(query(store, "SELECT sku, available FROM sku_availability"))


def replayed(store: Store, *dead_letter_ids: int, **how: Any) -> replay_repository.Replay:
    requested = replay_service.request_dead_letters(store, dead_letter_ids, actor=ADA, **{"rate": None, **how})
    ended = replay_service.run_replay(store, requested.replay_id, subscribers=SUBSCRIBERS)
    assert ended is not None
    return ended


def acts(store: Store) -> list[tuple[str, str]]:
    return query(store, "SELECT act, subject FROM audit_entry WHERE actor = 'cli:ada' ORDER BY entry_id")


def test_a_dead_letter_has_all_that_a_person_needs(store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)
    with store.transaction() as work:
        document = dead_letter_service.document(dead_letter_repository.get(work, dead_letter_id))
        (group,) = dead_letter_repository.causes(work)

    assert document["event"]["data"]["available_quantity"] == "five"
    assert document["event"]["subject"] == "inventory/id-S0"
    assert (document["cause"], document["attempts"], document["subscriber"]) == ("BadEvent", 1, "availability")
    assert "available_quantity" in document["reason"]
    assert document["first_seen_at"] <= document["last_seen_at"]
    assert (group.cause, group.dead_letters) == ("BadEvent", 1)


def test_an_edited_dead_letter_is_replayed_and_its_original_is_kept(store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)
    dead_letter_service.edit_fields(
        store, dead_letter_id, {"available_quantity": 5}, event_types=event_types(), actor=ADA
    )
    ended = replayed(store, dead_letter_id)

    assert (ended.state, ended.done, ended.failed) == ("done", 1, 0)
    assert available(store) == {"S0": 5}
    (dead_letter,) = found(store, "replayed")
    assert json.loads(dead_letter.event.data)["available_quantity"] == "five"
    assert acts(store) == [
        ("dead_letter.fix", f"dead-letters/{dead_letter_id}"),
        ("replay.dead_letters", f"replay/{ended.replay_id}"),
        ("dead_letter.replay", f"dead-letters/{dead_letter_id}"),
    ]


def test_of_two_edits_at_the_same_moment_the_second_is_refused(store: Store, hub_dsn: str) -> None:
    """It would undo what the first one saved, and nobody would notice."""
    (dead_letter_id,) = dead(store, hub_dsn)

    def edit(changes: Mapping[str, Any]) -> None:
        dead_letter_service.edit_fields(store, dead_letter_id, changes, event_types=event_types(), actor=ADA)

    with pytest.raises(Conflict, match="at the same moment"):
        edit(Meanwhile(lambda: edit({"available_quantity": 5}), quantity_on_stock=9))
    (dead_letter,) = found(store)
    assert json.loads(dead_letter.edited_data or "")["available_quantity"] == 5


def test_a_replay_with_the_cause_unfixed_is_dead_again_with_one_try_more(store: Store, hub_dsn: str) -> None:
    """It does not loop: each chosen dead letter is tried once."""
    dead_letter_ids = dead(store, hub_dsn, 30)
    ended = replayed(store, everything=True)

    assert (ended.state, ended.done, ended.failed) == ("done", 0, 30)
    assert [dead_letter.attempts for dead_letter in found(store)] == [2] * 30
    assert [dead_letter.dead_letter_id for dead_letter in found(store)] == dead_letter_ids


def test_a_closed_dead_letter_can_be_replayed(store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)
    dead_letter_service.edit_fields(
        store, dead_letter_id, {"available_quantity": 5}, event_types=event_types(), actor=ADA
    )
    dead_letter_service.discard(store, dead_letter_id, "a test", actor=ADA)

    assert replayed(store, dead_letter_id).done == 1
    assert available(store) == {"S0": 5}


def test_a_discard_needs_a_reason_and_a_dead_letter(store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)

    with pytest.raises(BadRequest, match="why"):
        dead_letter_service.discard(store, dead_letter_id, " ", actor=ADA)
    dead_letter_service.discard(store, dead_letter_id, "not ours", actor=ADA)
    with pytest.raises(Conflict, match="discarded"):
        dead_letter_service.discard(store, dead_letter_id, "again", actor=ADA)
    with pytest.raises(NotFound, match="There is no dead letter 4711"):
        dead_letter_service.discard(store, 4711, "not there", actor=ADA)


def test_dead_letters_of_a_cause_are_discarded_together_each_with_its_reason(store: Store, hub_dsn: str) -> None:
    dead_letter_ids = dead(store, hub_dsn, 3)
    chosen = dead_letter_service.choose(store, [], cause="BadEvent", everything=False)
    dead_letter_service.discard(store, dead_letter_ids[0], "seen alone", actor="cli:ben")

    done = dead_letter_service.discard_all(store, chosen, "a test", actor=ADA)

    assert (chosen, done.chosen, list(done.closed)) == (dead_letter_ids, 3, dead_letter_ids[1:])
    assert len(found(store, "discarded")) == 3
    assert acts(store) == [
        ("dead_letter.discard", f"dead-letters/{dead_letter_id}") for dead_letter_id in dead_letter_ids[1:]
    ]
    with pytest.raises(NotFound, match="cause"):
        dead_letter_service.choose(store, [], cause="BadEvent", everything=False)
    with pytest.raises(Conflict, match="discarded"):
        dead_letter_service.choose(store, dead_letter_ids, cause=None, everything=False)
    with pytest.raises(BadRequest, match="in exactly one way"):
        dead_letter_service.choose(store, dead_letter_ids, cause="BadEvent", everything=False)


def test_an_unknown_field_is_refused_and_unchanged_data_are_not_an_edit(store: Store, hub_dsn: str) -> None:
    (dead_letter_id,) = dead(store, hub_dsn)

    with pytest.raises(BadRequest, match=r"'available_quantiy' is not a field of .* Did you mean available_quantity"):
        dead_letter_service.edit_fields(
            store, dead_letter_id, {"available_quantiy": 5}, event_types=event_types(), actor=ADA
        )
    assert dead_letter_service.edit_fields(
        store, dead_letter_id, {"available_quantity": 5}, event_types=event_types(), actor=ADA
    ).edited_data
    assert (
        dead_letter_service.edit_fields(
            store, dead_letter_id, {"available_quantity": "five"}, event_types=event_types(), actor=ADA
        ).edited_data
        is None
    )


@pytest.mark.parametrize("ends_well", [True, False])
def test_a_discard_while_a_try_is_under_way_stands(store: Store, hub_dsn: str, *, ends_well: bool) -> None:
    """The outcome of the attempt comes after the person's decision; it must not reopen the dead letter."""
    external = ExternalSystem()
    external.refuses = lambda _: ValueError("not yet") if len(external.calls) == 1 or not ends_well else None
    publish(store, stock("A", 1, 1))
    with delivery(hub_dsn, external.subscribers(attempts=9, first_wait_s=1.0)):
        eventually(lambda: len(found(store, "retrying")), 1)
        external.until = threading.Event()
        eventually(lambda: len(external.calls), 2)
        dead_letter_service.discard(store, found(store, "retrying")[0].dead_letter_id, "not wanted", actor=ADA)
        external.until.set()
        publish(store, stock("A", 2, 2))
        eventually(lambda: external.delivered[-1:], [("A", 2)] if ends_well else [])
        time.sleep(0.8)

    (dead_letter, *others) = found(store, None)
    assert (dead_letter.state, dead_letter.closed_by) == ("discarded", ADA)
    assert len(others) == (not ends_well)


def test_a_replay_keeps_to_its_rate_and_can_be_stopped(store: Store, hub_dsn: str) -> None:
    dead(store, hub_dsn, 40)
    requested = replay_service.request_dead_letters(store, [], everything=True, rate=10, actor=ADA)
    began = time.monotonic()
    with Store(hub_dsn) as own:
        worker = threading.Thread(
            target=replay_service.run_replay, args=(own, requested.replay_id), kwargs={"subscribers": SUBSCRIBERS}
        )
        worker.start()
        eventually(lambda: query(store, "SELECT failed >= 10 FROM event_replay"), [(True,)])
        stopped = replay_service.stop(store, requested.replay_id, actor=ADA)
        worker.join()

    assert time.monotonic() - began >= 10 / 10 - 0.2
    assert stopped.failed < 40
    assert query(store, "SELECT count(*) FROM dead_letter WHERE attempts = 2") == [(stopped.failed,)]
    with pytest.raises(Conflict, match="stopped already"):
        replay_service.stop(store, requested.replay_id, actor=ADA)


def test_a_delivery_worker_runs_a_requested_replay(store: Store, hub_dsn: str) -> None:
    """A REST client has no process to run the replay in."""
    (dead_letter_id,) = dead(store, hub_dsn)
    dead_letter_service.edit_fields(
        store, dead_letter_id, {"available_quantity": 5}, event_types=event_types(), actor=ADA
    )
    replay_service.request_dead_letters(store, [dead_letter_id], rate=None, actor=ADA)

    with delivery(hub_dsn):
        eventually(lambda: available(store), {"S0": 5})


def test_events_are_counted_before_they_are_replayed(store: Store, hub_dsn: str) -> None:
    delivered: list[str] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        delivered.extend(event.partition_key for event in events)

    publish(store, *(stock(f"S{n}", 1, n) for n in range(10)))
    subscribers = {"availability": Subscriber(types=(STOCK_CHANGED,), apply=apply)}
    with delivery(hub_dsn, subscribers, assignment=PartitionAssignment(partitions=1)):
        eventually(lambda: len(delivered), 10)
    wanted = Selection(key="S3")

    assert replay_service.count(store, Selection(), {"availability": SUBSCRIBERS["availability"]}) == {
        "availability": 10
    }
    assert replay_service.count(store, wanted, {"availability": SUBSCRIBERS["availability"]}) == {"availability": 1}
    requested = replay_service.request_events(
        store, wanted, {"availability": SUBSCRIBERS["availability"]}, rate=None, actor=ADA
    )
    ended = replay_service.run_replay(store, requested.replay_id, subscribers=subscribers)

    assert ended is not None
    assert (ended.state, ended.done, delivered[10:]) == ("done", 1, ["S3"])


def test_a_read_model_is_rebuilt_byte_for_byte(store: Store, hub_dsn: str) -> None:
    publish(store, *(stock(f"S{n % 50}", 1 + n // 50, n) for n in range(300)))
    with delivery(hub_dsn):
        eventually(lambda: query(store, "SELECT sum(version) FROM stock_availability"), [(300,)])
        before = query(store, "SELECT stock_availability::text FROM stock_availability ORDER BY 1")
        same = inventory_service.rebuild(store, replace=False, actor=ADA)
        query(store, "UPDATE stock_availability SET available = 999 WHERE sku = 'S1' RETURNING 1")
        broken = inventory_service.rebuild(store, replace=True, actor=ADA)

    assert (same.events, same.differences, same.replaced) == (300, 0, False)
    assert (broken.differences, broken.replaced) == (2, True)
    assert query(store, "SELECT stock_availability::text FROM stock_availability ORDER BY 1") == before


def test_a_rebuild_and_a_replay_use_edited_data(store: Store, hub_dsn: str) -> None:
    """The event in the store is as it came, and would fail again; a dead letter that nobody fixed is left out."""
    dead_letter_id, unfixed = dead(store, hub_dsn, 2)
    dead_letter_service.edit_fields(
        store, dead_letter_id, {"available_quantity": 5}, event_types=event_types(), actor=ADA
    )
    replayed(store, dead_letter_id)
    rebuilt = inventory_service.rebuild(store, replace=True, actor=ADA)
    requested = replay_service.request_events(
        store, Selection(), {"availability": SUBSCRIBERS["availability"]}, rate=None, actor=ADA
    )
    ended = replay_service.run_replay(store, requested.replay_id, subscribers=SUBSCRIBERS)

    assert (rebuilt.events, rebuilt.differences) == (2, 0)
    assert available(store) == {"S0": 5}
    assert ended is not None
    assert (ended.done, ended.failed) == (1, 1)
    assert [dead_letter.dead_letter_id for dead_letter in found(store)] == [unfixed]


def test_the_audit_trail_is_a_chain(store: Store, hub_dsn: str) -> None:
    """A changed or removed entry breaks every hash after it."""
    dead_letter_ids = dead(store, hub_dsn, 3)
    for dead_letter_id in dead_letter_ids:
        dead_letter_service.discard(store, dead_letter_id, "a test", actor=ADA)
    with store.transaction() as work:
        chain = audit.verify(work)
    assert (chain.entries, chain.broken_at) == (3, None)
    assert query(store, "SELECT encode(hash, 'hex') FROM audit_entry WHERE chain_no = 3") == [(chain.last_hash,)]

    query(store, "UPDATE audit_entry SET actor = 'cli:eve' WHERE chain_no = 2 RETURNING 1")
    with store.transaction() as work:
        assert audit.verify(work).broken_at == 2
    query(store, "UPDATE audit_entry SET actor = 'cli:ada' WHERE chain_no = 2 RETURNING 1")
    query(store, "DELETE FROM audit_entry WHERE chain_no = 1 RETURNING 1")
    with store.transaction() as work:
        assert audit.verify(work).broken_at == 2


def test_the_command_says_whether_the_audit_trail_holds(
    store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0 or 1 for a script, the last hash to be stored in another place, and where to look when the chain is broken."""
    monkeypatch.setenv("AIRFLOW_CONN_HUB_DB", hub_dsn)
    for act in ("first", "second"):
        with store.transaction() as work:
            audit.add(work, actor=ADA, act=act, subject="test")

    held = CliRunner().invoke(app, ["audit", "verify", "--json"])
    query(store, "UPDATE audit_entry SET act = 'another' WHERE chain_no = 2 RETURNING 1")
    broken = CliRunner().invoke(app, ["audit", "verify"])

    assert (held.exit_code, broken.exit_code) == (0, 1)
    assert json.loads(held.stdout)["entries"] == 2
    assert "entry 2" in broken.output


def test_audit_entries_of_many_writers_are_one_chain(store: Store, hub_dsn: str) -> None:
    def write(name: str) -> None:
        with Store(hub_dsn) as own:
            for number in range(20):
                with own.transaction() as work:
                    audit.add(work, actor=name, act="test", subject=str(number))
                    audit.add(work, actor=name, act="test twice", subject=str(number))

    threads = [threading.Thread(target=write, args=(f"cli:{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert query(store, "SELECT count(*), max(chain_no), min(chain_no) FROM audit_entry") == [(160, 160, 1)]
    with store.transaction() as work:
        assert audit.verify(work).broken_at is None


def test_every_subscriber_is_named_by_its_reaction() -> None:
    # An execution that failed is no event to be tried again: a person fixes it.
    assert SUBSCRIBERS["failed_executions"].attempts == 1
    others = [subscriber for name, subscriber in SUBSCRIBERS.items() if name != "failed_executions"]
    assert all(subscriber.types and subscriber.attempts > 1 for subscriber in others)
