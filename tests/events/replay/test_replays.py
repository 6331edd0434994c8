"""Replays whose effects are slow, whose worker is lost, or which a person stops: nothing is left out, and they end soon."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from crossdock.core.errors import SystemUnavailable
from crossdock.db.database import Store, StoreRefused, Work
from crossdock.events.dead_letters import service as dead_letter_service
from crossdock.events.model import STOCK_CHANGED, Event
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay import service as replay_service
from crossdock.events.replay import slice as replay_slice
from crossdock.events.replay.repository import Replay
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from tests.chaos import children
from tests.events.worlds import ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

ADA = "cli:ada"


@pytest.fixture
def external() -> ExternalSystem:
    return ExternalSystem()


@pytest.fixture
def short_claims(monkeypatch: pytest.MonkeyPatch) -> None:
    """A claim that runs out long before the effects below are over."""
    for module in (replay_slice, replay_service):
        monkeypatch.setattr(module, "WORKER_LIFE", timedelta(seconds=2))
    monkeypatch.setattr(replay_slice, "_LOOK_EVERY_S", 0.1)


def dead(store: Store, dsn: str, external: ExternalSystem, number: int) -> None:
    """Make *number* dead letters of the external system, which accepts them from now on."""
    external.refuses = lambda _: ValueError("not yet")
    publish(store, *(stock(f"S{n}", 1, n) for n in range(number)))
    with delivery(dsn, external.subscribers(attempts=1)):
        eventually(lambda: states(store), [("dead", number)])
    external.refuses = lambda _: None
    external.calls.clear()


def states(store: Store) -> list[tuple[Any, ...]]:
    return query(store, "SELECT state, count(*) FROM dead_letter GROUP BY 1 ORDER BY 1")


def requested(store: Store) -> int:
    return replay_service.request_dead_letters(store, [], everything=True, rate=None, actor=ADA).replay_id


def all_events(store: Store, total: int) -> int:
    request = {"selection": {}, "subscribers": ["external"], "cursor": [0, 0, 0]}
    return replay_service._request(store, "events", request, rate=None, total=total, actor=ADA).replay_id


def run_replay(dsn: str, replay_id: int, external: ExternalSystem) -> Replay:
    with Store(dsn) as own:
        ended = replay_service.run_replay(own, replay_id, subscribers=external.subscribers())
        assert ended is not None
        return ended


def test_the_selection_of_a_replay_is_stored_once(store: Store, hub_dsn: str, external: ExternalSystem) -> None:
    """Kept in the request, a hundred thousand ids were written with each slice."""
    dead(store, hub_dsn, external, 30)
    replay_id = requested(store)
    assert query(store, "SELECT request::text FROM event_replay") == [('{"next": 0}',)]

    ended = run_replay(hub_dsn, replay_id, external)

    assert (ended.state, ended.done, ended.failed) == ("done", 30, 0)
    assert query(store, "SELECT count(*), max(nth) FROM event_replay_chosen") == [(30, 29)]
    assert states(store) == [("replayed", 30)]


@pytest.mark.usefixtures("short_claims")
@pytest.mark.parametrize("what", ["dead_letters", "events"])
def test_a_worker_keeps_its_replay_while_effects_are_slow(
    store: Store, hub_dsn: str, external: ExternalSystem, what: str
) -> None:
    """Another worker that took it over would have every effect twice."""
    dead(store, hub_dsn, external, 2)
    external.takes_s = 4
    replay_id = requested(store) if what == "dead_letters" else all_events(store, 2)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(run_replay, hub_dsn, replay_id, external)
        eventually(lambda: len(external.calls), 1)
        taken = 0
        while not first.done():
            with store.transaction() as work:
                taken += replay_repository.claim(work, "another", timedelta(seconds=1)) is not None
            time.sleep(0.05)

    assert taken == 0
    assert (first.result().state, first.result().done) == ("done", 2)
    assert sorted(external.delivered) == [("S0", 1), ("S1", 1)]


@pytest.mark.usefixtures("short_claims")
@pytest.mark.parametrize("what", ["dead_letters", "events"])
def test_a_replay_that_another_worker_has_taken_is_not_noted_by_the_first(
    store: Store, hub_dsn: str, external: ExternalSystem, what: str
) -> None:
    """It slept through its claim in an effect; its counts would be added to those of the other."""
    dead(store, hub_dsn, external, 3)
    external.until = threading.Event()
    subscribers = external.subscribers(effect_timeout_s=0.2)
    replay_id = requested(store) if what == "dead_letters" else all_events(store, 3)
    with ThreadPoolExecutor(1) as threads, Store(hub_dsn) as own:
        first = threads.submit(replay_service.run_replay, own, replay_id, subscribers=subscribers)
        eventually(lambda: len(external.calls), 1)
        sound = ExternalSystem()
        eventually(lambda: query(store, "SELECT worker_until < now() FROM event_replay"), [(True,)])
        ended = run_replay(hub_dsn, replay_id, sound)
        external.until.set()
        first.result(120)

    assert (ended.state, ended.done, ended.failed) == ("done", 3, 0)
    assert query(store, "SELECT done, failed FROM event_replay") == [(3, 0)]
    assert sorted(sound.delivered) == [(f"S{n}", 1) for n in range(3)]
    assert len(external.calls) == 1, "it found out before its next effect"


@pytest.mark.usefixtures("short_claims")
def test_a_replay_that_is_stopped_ends_with_the_call_that_is_under_way(
    store: Store, hub_dsn: str, external: ExternalSystem
) -> None:
    dead(store, hub_dsn, external, 40)
    external.takes_s = 0.3
    replay_id = requested(store)
    with ThreadPoolExecutor(1) as threads:
        worker = threads.submit(run_replay, hub_dsn, replay_id, external)
        eventually(lambda: len(external.calls), 2)
        stopped = replay_service.stop(store, replay_id, actor=ADA)
        called = len(external.calls)
        ended = worker.result(120)

    assert len(external.calls) <= called + 1 < 40
    assert (ended.state, ended.done) == ("stopped", stopped.done)
    assert states(store) == [("dead", 40 - stopped.done), *([("replayed", stopped.done)] if stopped.done else [])]
    assert query(store, "SELECT count(*) FROM event_inbox") == [(stopped.done,)]


def test_a_replay_waits_for_a_source_outage_and_makes_no_dead_letter_of_it(
    store: Store, hub_dsn: str, external: ExternalSystem
) -> None:
    """Three are delivered before it goes down; the others neither fail again nor are left out."""
    dead(store, hub_dsn, external, 8)
    external.refuses = lambda _: SystemUnavailable("shop", "HTTP 503") if len(external.calls) > 3 else None
    replay_id = requested(store)

    waiting = run_replay(hub_dsn, replay_id, external)
    assert (waiting.state, waiting.done, waiting.failed) == ("open", 3, 0)
    assert (states(store), len(external.calls)) == ([("dead", 5), ("replayed", 3)], 5)
    external.refuses = lambda _: None
    query(store, "UPDATE event_replay SET worker_until = now() RETURNING 1")

    assert run_replay(hub_dsn, replay_id, external).done == 8
    assert sorted(external.delivered) == [(f"S{n}", 1) for n in range(8)]


def test_a_dead_letter_that_is_deleted_before_its_turn_does_not_stop_the_others(
    store: Store, hub_dsn: str, external: ExternalSystem
) -> None:
    """Retention deletes closed dead letters, and they may have been chosen before."""
    dead(store, hub_dsn, external, 3)
    replay_id = requested(store)
    query(store, "DELETE FROM dead_letter WHERE position = (SELECT min(position) FROM dead_letter) RETURNING 1")

    ended = run_replay(hub_dsn, replay_id, external)

    assert (ended.state, ended.done, ended.failed) == ("done", 2, 1)


def test_a_replay_that_a_defect_of_ours_ends_each_time_keeps_no_other_waiting(
    store: Store, hub_dsn: str, external: ExternalSystem
) -> None:
    """The oldest comes first, and would come first each time."""
    dead(store, hub_dsn, external, 1)
    request = {"selection": {}, "subscribers": ["external"], "cursor": [0, "no number", 0]}
    broken = replay_service._request(store, "events", request, rate=None, total=1, actor=ADA)
    with pytest.raises(StoreRefused):
        replay_service.run_replay(store, subscribers=external.subscribers())
    whole = requested(store)

    worked_off = replay_service.run_replay(store, subscribers=external.subscribers())
    assert worked_off is not None
    assert (worked_off.replay_id, worked_off.state) == (whole, "done")
    assert whole > broken.replay_id


@pytest.mark.crash
@pytest.mark.parametrize("what", ["dead_letters", "events"])
@pytest.mark.parametrize("point", ["replay.delivered", "replay.before_commit", "replay.committed"])
def test_a_replay_killed_at_any_boundary_leaves_nothing_out(
    store: Store, hub_dsn: str, external: ExternalSystem, what: str, point: str
) -> None:
    """An external effect may come twice; it is recorded once."""
    dead(store, hub_dsn, external, 5)
    replay_id = requested(store) if what == "dead_letters" else all_events(store, 5)

    assert children.run(lambda: run_replay(hub_dsn, replay_id, external), crash_at=point) == children.KILLED
    query(store, "UPDATE event_replay SET worker_until = now() RETURNING 1")
    ended = run_replay(hub_dsn, replay_id, external) if open_still(store) else None

    assert query(store, "SELECT state, done, failed FROM event_replay") == [("done", 5, 0)]
    assert ended is None or {key for key, _ in external.delivered} <= {f"S{n}" for n in range(5)}
    assert query(store, "SELECT count(*) FROM event_inbox") == [(5,)]


def open_still(store: Store) -> bool:
    return query(store, "SELECT state FROM event_replay") == [("open",)]


def test_in_a_replay_the_next_events_of_a_failed_key_are_delivered(store: Store) -> None:
    """It is not retried automatically, so nothing may wait for it."""
    delivered: list[tuple[str, int]] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        seen = [(event.partition_key, event.time.second) for event in events]
        if ("A", 1) in seen:
            raise ValueError("this one")
        delivered.extend(seen)

    publish(store, stock("A", 1, 1), stock("A", 2, 2), stock("B", 1, 1), stock("A", 3, 3))
    request = {"selection": {}, "subscribers": ["availability"], "cursor": [0, 0, 0]}
    replay = replay_service._request(store, "events", request, rate=None, total=4, actor=ADA)
    subscribers = {"availability": Subscriber(types=(STOCK_CHANGED,), apply=apply)}
    ended = replay_service.run_replay(store, replay.replay_id, subscribers=subscribers)

    assert ended is not None
    assert (ended.done, ended.failed) == (3, 1)
    assert [version for key, version in delivered if key == "A"] == [2, 3]
    assert states(store) == [("dead", 1)]


def test_a_dead_letter_that_is_closed_after_the_replay_was_requested_stays_closed(
    store: Store, hub_dsn: str, external: ExternalSystem
) -> None:
    """At a slow rate it is delivered hours later: the discard of the meantime stands. One chosen as closed is delivered."""
    dead(store, hub_dsn, external, 3)
    closed, gone, _ = (
        number for (number,) in query(store, "SELECT dead_letter_id FROM dead_letter ORDER BY dead_letter_id")
    )
    dead_letter_service.discard(store, closed, "a mistake: it was wanted", actor=ADA)
    dead_letter_ids = [number for (number,) in query(store, "SELECT dead_letter_id FROM dead_letter")]
    replay_id = replay_service.request_dead_letters(store, dead_letter_ids, rate=None, actor=ADA).replay_id
    dead_letter_service.discard(store, gone, "nobody wants it", actor=ADA)

    ended = run_replay(hub_dsn, replay_id, external)

    assert (ended.state, ended.done, ended.failed) == ("done", 3, 0)
    assert sorted(external.delivered) == [("S0", 1), ("S2", 1)]
    assert states(store) == [("discarded", 1), ("replayed", 2)]


def test_a_replay_at_a_slow_rate_ends_with_its_worker_and_keeps_its_rate(
    store: Store, external: ExternalSystem
) -> None:
    """It slept for the whole pause: a worker that ends waited a minute for it, and another went on at once."""
    publish(store, *(stock(f"S{n}", 1, n) for n in range(3)))
    request = {"selection": {}, "subscribers": ["external"], "cursor": [0, 0, 0]}
    turn_s = 3_600
    requested = replay_service._request(store, "events", request, rate=1 / turn_s, total=3, actor=ADA)
    looks = 0

    def is_over() -> bool:
        nonlocal looks
        looks += bool(external.delivered)
        return looks > 2

    # Else it sleeps for an hour, which is longer than this test may take.
    replay_service.run_replay(store, requested.replay_id, subscribers=external.subscribers(), until=is_over)

    assert len(external.delivered) == 1
    with store.transaction() as work:
        assert replay_repository.claim(work, "another", timedelta(seconds=1)) is None, "its time has not come"


def test_a_replay_takes_progress_from_the_worker_that_has_it_alone(store: Store) -> None:
    """Each kind of replay relies on it: counted by two workers, a replay would be done before its end."""
    life = timedelta(minutes=1)
    replay_id = all_events(store, 10)

    def progress(worker: str) -> bool:
        with store.transaction() as work:
            replay = replay_repository.get(work, replay_id)
            return replay_repository.progress(work, replay, worker, {}, done=1, failed=0, life=life)

    with store.transaction() as work:
        assert replay_repository.claim(work, "slept", timedelta(0)) is not None
    with store.transaction() as work:
        assert replay_repository.claim(work, "heir", life) is not None

    assert not progress("slept")
    assert progress("heir")
    with store.transaction() as work:
        replay_repository.end(work, replay_id, "stopped")
    assert not progress("heir")
    assert query(store, "SELECT done FROM event_replay") == [(1,)]


def test_a_replay_ends_at_what_was_there_when_it_was_asked_for(store: Store) -> None:
    """Slower than the events that come in, it would never end, and deliver twice all that is new."""
    publish(store, *(stock(f"S{n}", 1, n) for n in range(3)))
    seen: list[str] = []

    def apply(_: Work, events: Sequence[Event]) -> None:
        seen.extend(event.partition_key for event in events)
        publish(store_of_others, stock(f"LATER-{len(seen)}", 1, 1))

    subscribers = {"one": Subscriber(types=(STOCK_CHANGED,), apply=apply)}
    with store.another() as store_of_others:
        replay = replay_service.request_events(store, Selection(), subscribers, rate=None, actor=ADA)
        publish(store, stock("AFTER", 1, 1))
        ended = replay_service.run_replay(store, subscribers=subscribers)

    assert seen == ["S0", "S1", "S2"]
    assert ended is not None
    assert (replay.total, ended.done, ended.state) == (3, 3, "done")
