"""The event store itself: order, horizon, identity, partitions, and what a model of it predicts."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossdock.app.event_types import event_types
from crossdock.core.errors import SystemUnavailable
from crossdock.db.database import Store
from crossdock.events import epochs as event_epochs
from crossdock.events import partitions as event_partitions
from crossdock.events import store as event_store
from crossdock.events.delivery import PollingConfig, consumer_leases
from crossdock.events.delivery.attempt import Recipient
from crossdock.events.delivery.lease_renewal import LeaseRenewal
from crossdock.events.delivery.partition import Connections, Partition
from crossdock.events.model import ORIGIN, STOCK_CHANGED, Event, NewEvent, Position
from crossdock.events.status import unusual
from crossdock.events.store import Selection
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import alarms
from crossdock.stack.postgres import PostgresServer
from tests.events.worlds import SUBSCRIBERS, publish, stock
from tests.shop import query


def read_all(store: Store, after: Position = ORIGIN, *, limit: int = 1_000) -> tuple[list[Event], Position]:
    with store.transaction() as work:
        return event_store.read(work, after, types=[STOCK_CHANGED], partition=0, partitions=1, limit=limit, now_epoch=1)


def test_the_order_is_by_number_past_every_round_one(store: Store) -> None:
    """Sorted as text, 10000 would come before 9999: two doubled and one out of place."""
    with psycopg.connect(store.dsn, options="-c search_path=hub", autocommit=True) as other:
        for n in range(40):
            publish(store, stock("S", n + 1, n))
            for _ in range(n % 7):
                other.execute("SELECT pg_current_xact_id()")
    events, _ = read_all(store)

    assert [json.loads(event.data)["version"] for event in events] == list(range(1, 41))
    assert [event.at for event in events] == sorted(event.at for event in events)


def test_reading_in_pieces_is_reading_once(store: Store) -> None:
    publish(store, *(stock(f"S{n}", 1, n) for n in range(25)))
    seen, cursor = [], ORIGIN
    while True:
        events, cursor = read_all(store, cursor, limit=4)
        seen += events
        if len(events) < 4:
            break

    assert [event.partition_key for event in seen] == [f"S{n}" for n in range(25)]
    assert read_all(store, cursor)[0] == []


def test_the_key_partitions_are_a_partition(store: Store) -> None:
    publish(store, *(stock(f"S{n}", 1, n) for n in range(60)))
    seen = []
    for partition in range(3):
        with store.transaction() as work:
            events, _ = event_store.read(
                work, ORIGIN, types=[STOCK_CHANGED], partition=partition, partitions=3, limit=100, now_epoch=1
            )
        assert 5 < len(events) < 40
        seen += [event.partition_key for event in events]

    assert sorted(seen) == sorted(f"S{n}" for n in range(60))


def test_received_events_are_identified_by_source_and_id(store: Store) -> None:
    """The same id of another source is another event; the same id of the same source is the same, whatever it says."""

    def external(source: str, event_id: str, quantity: int) -> NewEvent:
        made = stock("CHAIR", 1, quantity)
        return NewEvent(
            source=source,
            type=made.type,
            subject=made.subject,
            time=made.time,
            partition_key="CHAIR",
            data=made.data,
            event_id=event_id,
        )

    with store.transaction() as work:
        first = event_store.receive(work, external("/a", "1", 5))
        other_source = event_store.receive(work, external("/b", "1", 5))
        again = event_store.receive(work, external("/a", "1", 99))

    assert first is not None
    assert other_source is not None
    assert again is None
    assert query(store, "SELECT source, data->>'available_quantity' FROM event ORDER BY 1") == [
        ("/a", "5"),
        ("/b", "5"),
    ]


def test_the_months_ahead_have_partitions_and_no_event_needs_the_default(store: Store) -> None:
    now = datetime.now(UTC)
    with store.transaction() as work:
        made = event_partitions.create_ahead(work, now)
        assert event_partitions.create_ahead(work, now) == []
        ends = [end for _, end in event_partitions.partitions(work) if end]
    publish(store, stock("S", 1, 1))

    assert len(made) == 2
    assert max(ends) > now + timedelta(days=57)
    assert query(store, "SELECT count(*) FROM event_default") == [(0,)]


def test_a_partition_that_comes_late_takes_its_events_out_of_the_default(store: Store) -> None:
    """Housekeeping did not run for months: events of that time went into the default partition."""
    later = datetime.now(UTC) + timedelta(days=40)
    publish(store, stock("S", 1, 1))
    query(store, "UPDATE event SET stored_at = %s RETURNING 1", later)
    assert query(store, "SELECT count(*) FROM event_default") == [(1,)]
    with store.transaction() as work:
        event_partitions.create_ahead(work, later)

    assert query(store, "SELECT count(*) FROM event_default") == [(0,)]
    assert len(read_all(store)[0]) == 1


def test_retention_drops_whole_months_that_everybody_has_read(store: Store) -> None:
    publish(store, stock("S", 1, 1))
    much_later = datetime.now(UTC) + timedelta(days=100)
    with store.transaction() as work:
        consumer_leases.register(work, "availability", 1)
        event_partitions.create_ahead(work, much_later)
        assert "event_first" not in event_partitions.drop_past(work, much_later)
    query(store, "UPDATE event_consumer SET epoch = 1, xid = '18446744073709551615' RETURNING 1")
    with store.transaction() as work:
        assert "event_first" in event_partitions.drop_past(work, much_later)
    publish(store, stock("S", 2, 2))

    assert [json.loads(event.data)["version"] for event in read_all(store)[0]] == [2]


def test_a_transaction_that_stays_open_raises_an_alarm_until_it_ends(store: Store, hub_dsn: str) -> None:
    """Nothing newer is delivered in the meantime, and without the message nobody would know why."""
    with psycopg.connect(hub_dsn) as slow:
        slow.execute("SELECT pg_current_xact_id()")
        with store.transaction() as work:
            work.execute(b"SELECT pg_sleep(0.3)")
        alarms.check(store, {}, alarms.AlarmThresholds(horizon_s=0.1))
        alarms.check(store, {}, alarms.AlarmThresholds(horizon_s=0.1))
    assert query(store, "SELECT kind, closed_at IS NULL FROM alert") == [("event_horizon", True)]

    alarms.check(store, {}, alarms.AlarmThresholds(horizon_s=0.1))
    assert query(store, "SELECT kind, closed_at IS NULL FROM alert") == [("event_horizon", False)]


def test_a_transaction_of_another_role_is_known_by_the_event_that_it_keeps_waiting(
    store: Store, hub_dsn: str, postgres: PostgresServer
) -> None:
    """A role outside pg_monitor cannot see transactions of other roles, and would report that all is well."""
    with store.transaction() as work:
        work.execute(b"DROP ROLE IF EXISTS plain")
        work.execute(b"CREATE ROLE plain LOGIN PASSWORD 'plain'")
        work.execute(b"GRANT USAGE ON SCHEMA hub TO plain; GRANT SELECT ON ALL TABLES IN SCHEMA hub TO plain")
    plain = hub_dsn.replace("postgres:test@", "plain:plain@")
    with Store(plain) as ours, psycopg.connect(postgres.dsn()) as theirs:
        theirs.execute("SELECT pg_current_xact_id()")
        with ours.question() as work:
            assert event_store.horizon_age_s(work) == 0.0, "it keeps nothing waiting"
        began = time.monotonic()
        publish(store, stock("CHAIR", 1, 1))
        time.sleep(0.3)
        with ours.question() as work:
            assert 0.3 <= event_store.horizon_age_s(work) <= time.monotonic() - began
        theirs.rollback()
        with ours.question() as work:
            assert event_store.horizon_age_s(work) == 0.0
    with store.transaction() as work:
        work.execute(b"DROP OWNED BY plain; DROP ROLE plain")


def test_a_restored_store_begins_a_new_epoch(store: Store) -> None:
    """A dump brings old transactions' numbers into a server that counts from the beginning."""
    publish(store, stock("OLD", 1, 1))
    query(store, "UPDATE event SET xid = '900000000' RETURNING 1")
    with store.transaction() as work:
        assert event_epochs.begin_after_restore(work) == 2
    publish(store, stock("NEW", 1, 1))
    with store.transaction() as work:
        assert event_epochs.begin_after_restore(work) is None
        events = event_store.select(work, Selection(), limit=10)

    assert [(event.epoch, event.partition_key) for event in events] == [(1, "OLD"), (2, "NEW")]


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        ([10, 12, 11, 9, 10, 11, 10, 10, 3], None),
        ([10, 12, 11, 9, 10, 11, 10, 200, 3], "200 in the last hour"),
        ([100, 102, 98, 101, 99, 100, 103, 0, 3], "0 in the last hour"),
        ([10, 12, 11, 9, 10, 11, 10, 10, 500], "500 in this hour already"),
        ([10, 500], None),
        ([0, 0, 0, 0, 0, 0, 0, 0, 0, 1_024], None),
    ],
)
def test_an_unusual_volume_is_reported(hours: list[int], said: str | None) -> None:
    found = unusual(hours)

    assert (found is None) == (said is None)
    assert said is None or said in (found or "")


#: A writer publishes, a reader steps, the subscriber refuses a key for a while, the consumer is replaced.
ACTS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.sampled_from("ABC"), st.integers(1, 3)),
        st.tuples(st.just("step")),
        st.tuples(st.just("break_"), st.sampled_from("ABC")),
        st.tuples(st.just("heal")),
        st.tuples(st.just("go_down")),
        st.tuples(st.just("replace")),
        st.tuples(st.just("forget")),
    ),
    max_size=25,
)


@pytest.fixture(scope="module")
def model_dsn(postgres: PostgresServer) -> Any:
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE hub_model TEMPLATE hub_template")
        yield postgres.dsn("hub_model")
        connection.execute("DROP DATABASE hub_model WITH (FORCE)")


class World:
    """The store, a reader that is replaced and set back at will, a handler that refuses keys; and the model of it all."""

    def __init__(self, store: Store, *, external: bool) -> None:
        self.store = store
        self._external, self._is_down = external, False
        self.published: dict[str, list[int]] = {}
        self.seen: dict[str, list[int]] = {}
        self._broken: set[str] = set()
        effect: dict[str, Any] = (
            {"deliver": self._deliver} if external else {"apply": lambda _, events: self._deliver(events)}
        )
        self._subscriber = Subscriber(types=(STOCK_CHANGED,), attempts=1_000, first_wait_s=0.0, **effect)
        with store.transaction() as work:
            work.execute(b"TRUNCATE event, event_inbox, event_consumer, dead_letter, source_outage")
            consumer_leases.register(work, "model", 1)
        self._reader = claimed(store, self._subscriber)

    def _deliver(self, events: Any) -> None:
        if self._is_down:
            raise SystemUnavailable("the shop", "HTTP 503")
        delivered = [(event.partition_key, int(json.loads(event.data)["version"])) for event in events]
        if any(key in self._broken for key, _ in delivered):
            raise RuntimeError("configured to refuse it")
        for key, version in delivered:
            self.seen.setdefault(key, []).append(version)

    def publish(self, key: str, many: int) -> None:
        known = self.published.setdefault(key, [])
        numbers = [len(known) + n + 1 for n in range(many)]
        known += numbers
        publish(self.store, *(stock(key, number, number) for number in numbers))

    def step(self) -> int:
        return self._reader.step()

    def break_(self, key: str) -> None:
        self._broken.add(key)

    def go_down(self) -> None:
        """Any time beyond the calendar fails in the same way; in the hub it is an ordinary error."""
        self._is_down = True

    def heal(self) -> None:
        self._broken.clear()
        self._is_down = False

    def replace(self) -> None:
        """The worker is dead; the next one looks carefully."""
        query(self.store, "UPDATE event_consumer SET expires_at = '-infinity', holder = 'dead' RETURNING 1")
        self._reader = claimed(self.store, self._subscriber)

    def forget(self) -> None:
        """The cursor is back at the beginning."""
        query(self.store, "UPDATE event_consumer SET epoch = 0, xid = '0', position = 0 RETURNING 1")
        self._reader = claimed(self.store, self._subscriber)

    def deliver_everything(self) -> None:
        self.heal()
        for _ in range(200):
            self._reader._retries.look_soon()
            at_work = query(self.store, "SELECT 1 FROM dead_letter WHERE state <> 'recovered'")
            if not self.step() and not at_work:
                return


@settings(max_examples=max(40, settings.default.max_examples // 10), suppress_health_check=list(HealthCheck))
@given(acts=ACTS, external=st.booleans())
def test_delivery_does_what_a_list_would(model_dsn: str, acts: list[tuple[Any, ...]], *, external: bool) -> None:
    """
    The model: what was published, per key, in order. Whatever happens on the way, once all is healed the subscriber
    has had exactly that: in the hub's database, and externally where no worker was killed between effect and commit.
    """
    with Store(model_dsn) as store:
        world = World(store, external=external)
        for act, *details in acts:
            getattr(world, act)(*details)
        world.deliver_everything()

    assert world.seen == world.published


def claimed(store: Store, subscriber: Subscriber) -> Partition:
    with store.transaction() as work:
        claim = consumer_leases.claim(work, "model", 0, "me", timedelta(minutes=1))
    assert claim is not None
    minute = timedelta(minutes=1)
    connections = Connections(store, store, LeaseRenewal(store.another(), lambda _: None, minute, of="model"))
    return Partition(connections, claim, Recipient("model", subscriber), PollingConfig(batch=3, lease_life=minute))


def test_every_subscriber_hears_types_that_have_a_schema() -> None:
    assert {type_ for each in SUBSCRIBERS.values() for type_ in each.types} <= set(event_types().names)


# What a person selects

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture
def shelf(store: Store) -> Store:
    """Events that were stored an hour apart from noon on: two keys, two types, and a silent one of a backfill at the end."""
    publish(store, stock("A", 1, 1), stock("B", 1, 1), stock("A", 2, 1), stock("B", 2, 1), stock("A", 3, 1))
    for hour, (position,) in enumerate(query(store, "SELECT position FROM event ORDER BY 1")):
        type_ = "crossdock.order.changed" if hour == 1 else STOCK_CHANGED
        query(
            store,
            "UPDATE event SET stored_at = %s, type = %s, silent = %s WHERE position = %s RETURNING 1",
            *(NOON + timedelta(hours=hour), type_, hour == 4, position),
        )
    return store


@pytest.mark.parametrize(
    ("selection", "hours"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(silent=True), [0, 1, 2, 3, 4]),
        (Selection(types=(STOCK_CHANGED,)), [0, 2, 3]),
        (Selection(types=(STOCK_CHANGED, "crossdock.order.changed")), [0, 1, 2, 3]),
        (Selection(key="A"), [0, 2]),
        (Selection(key="A", silent=True), [0, 2, 4]),
        (Selection(since=NOON + timedelta(hours=1)), [1, 2, 3]),
        (Selection(until=NOON + timedelta(hours=2)), [0, 1]),
        (Selection(since=NOON + timedelta(hours=1), until=NOON + timedelta(hours=3), key="B"), [1]),
    ],
    ids=str,
)
def test_a_selection_has_the_events_that_it_names_and_no_others(
    shelf: Store, selection: Selection, hours: list[int]
) -> None:
    """A replay delivers them again: one too many is an effect that nobody asked for, one too few is a loss."""
    at = [NOON + timedelta(hours=hour) for hour in hours]
    stored = dict(query(shelf, "SELECT position, stored_at FROM event"))
    with shelf.transaction() as work:
        selected = event_store.select(work, selection, limit=10)
        newest = event_store.newest(work, selection, limit=10)
        counted = event_store.count(work, selection)
        first_two = event_store.select(work, selection, limit=2)
        last_two = event_store.newest(work, selection, limit=2)

    assert [stored[event.position] for event in selected] == at
    assert newest == selected
    assert counted == len(hours)
    assert first_two == selected[:2]
    assert last_two == selected[-2:]


def test_a_selection_begins_after_its_position(shelf: Store) -> None:
    with shelf.transaction() as work:
        first, *others = event_store.select(work, Selection(), limit=10)
        assert event_store.select(work, Selection(after=first.at), limit=10) == others
        assert event_store.count(work, Selection(after=first.at)) == len(others)


def test_an_open_transaction_hides_what_comes_after_it_from_a_selection_too(store: Store) -> None:
    """A replay that passed over it would never deliver what commits behind it."""
    publish(store, stock("A", 1, 1))
    with psycopg.connect(store.dsn, options="-c search_path=hub") as slow:
        slow.execute("SELECT pg_current_xact_id()")
        publish(store, stock("A", 2, 2))
        with store.transaction() as work:
            assert event_store.count(work, Selection()) == 1
            assert len(event_store.newest(work, Selection(), limit=10)) == 1
            assert len(event_store.select(work, Selection(), limit=10)) == 1


def test_events_after_a_restore_are_delivered_after_those_before_it(store: Store) -> None:
    """Their transactions' numbers are lower, since the new server counts from the beginning."""
    publish(store, stock("OLD", 1, 1), stock("OLD", 2, 1))
    query(store, "UPDATE event SET xid = '900000000' RETURNING 1")
    with store.transaction() as work:
        event_epochs.begin_after_restore(work)
    publish(store, stock("NEW", 1, 1))
    with store.transaction() as work:
        events, _ = event_store.read(
            work, ORIGIN, types=[STOCK_CHANGED], partition=0, partitions=1, limit=10, now_epoch=event_store.epoch(work)
        )

    assert [event.partition_key for event in events] == ["OLD", "OLD", "NEW"]


def test_the_age_of_what_waits_is_that_of_the_oldest_event(
    store: Store, hub_dsn: str, postgres: PostgresServer
) -> None:
    """Counted from the newest, a busy shop would never raise the alarm."""
    with store.transaction() as work:
        work.execute(b"DROP ROLE IF EXISTS plain")
        work.execute(b"CREATE ROLE plain LOGIN PASSWORD 'plain'")
        work.execute(b"GRANT USAGE ON SCHEMA hub TO plain; GRANT SELECT ON ALL TABLES IN SCHEMA hub TO plain")
    with psycopg.connect(postgres.dsn()) as theirs:
        theirs.execute("SELECT pg_current_xact_id()")
        publish(store, stock("A", 1, 1))
        query(store, "UPDATE event SET stored_at = clock_timestamp() - interval '1 minute' RETURNING 1")
        publish(store, stock("A", 2, 1))
        with Store(hub_dsn.replace("postgres:test@", "plain:plain@")) as ours, ours.question() as work:
            assert event_store.horizon_age_s(work) > 50
    with store.transaction() as work:
        work.execute(b"DROP OWNED BY plain; DROP ROLE plain")
