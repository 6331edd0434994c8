"""A hub whose event tables were renamed under it works on: open replays, dead letters, cursors and source outages."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from alembic import command

from crossdock.app.database import migrate
from crossdock.app.event_types import event_types
from crossdock.commerce.inventory import repository as inventory_repository
from crossdock.db.database import Store
from crossdock.db.migrate import _config
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.dead_letters import service as dead_letter_service
from crossdock.events.delivery import PartitionAssignment, source_outages
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay import service as replay_service
from crossdock.stack.postgres import PostgresServer
from tests.events.worlds import SUBSCRIBERS, delivery, eventually
from tests.shop import query

#: A hub at revision 0015: the first event failed and is a dead letter, the consumer's cursor is past it, an open replay
#: waits for a worker. Written as it was then: a function of ours would write what it writes today.
_AS_IT_WAS = (
    """
    INSERT INTO event (source, type, subject, time, partition_key, data) VALUES
        ('/integrations/shop', 'crossdock.stock.changed', 'inventory/id-1', '2026-01-01T00:00:00Z', 'CHAIR',
         '{"id": "id-1", "version": 1, "sku": "CHAIR", "available_quantity": "seven"}'),
        ('/integrations/shop', 'crossdock.stock.changed', 'inventory/id-2', '2026-01-01T00:00:01Z', 'RUG',
         '{"id": "id-2", "version": 1, "sku": "RUG", "available_quantity": 3}')
    """,
    """
    INSERT INTO event_reader (subscriber, partition, partitions, epoch, xid, position, delivered)
    SELECT 'availability', 0, 1, epoch, xid, position, 4711 FROM event WHERE partition_key = 'CHAIR'
    """,
    """
    INSERT INTO failed_delivery (subscriber, epoch, xid, position, source, type, subject, time, partition_key,
                                 partition, schema_version, data, mended, state, attempts, next_try_at, cause, reason)
    SELECT 'availability', epoch, xid, position, source, type, subject, time, partition_key, 0, schema_version, data,
           NULL, 'dead', 1, '2026-01-01T00:00:02Z', 'BadEvent', 'Expected `int`, got `str`'
      FROM event WHERE partition_key = 'CHAIR'
    """,
    """
    INSERT INTO event_outage (subscriber, source, cause, reason, probes, next_probe_at)
    VALUES ('changed_record', '/webhooks/shop', 'SystemUnavailable', 'HTTP 503', 3, '2026-01-01T00:00:03Z')
    """,
    """
    INSERT INTO event_replay (what, request, total, actor, asked_at)
    VALUES ('letters', '{"next": 0}', 1, 'ada', '2026-01-01T00:00:04Z'),
           ('events', '{"selection": {}, "subscribers": [], "cursor": [0, 0, 0]}', 2, 'ada', '2026-01-01T00:00:05Z'),
           ('quarantine', '{"next": 0}', 1, 'ada', '2026-01-01T00:00:06Z')
    """,
    """
    INSERT INTO event_replay_chosen (replay_id, nth, chosen_id)
    SELECT replay_id, 0, letter_id FROM event_replay, failed_delivery WHERE what = 'letters'
    """,
    """
    INSERT INTO refused_webhook (integration, hour, why, times, bytes)
    VALUES ('shop', '2026-01-01T00:00:00Z', 'the timestamp is too old', 2, 17)
    """,
)
_OLD_TABLES = {"failed_delivery": "dead_letter", "event_reader": "event_consumer", "event_outage": "source_outage"}
#: Where each row lies, which transaction wrote it, and its values.
_IN_PLACE = "(SELECT ctid, xmin::text, row::text FROM {} AS row) AS written"


@pytest.fixture
def before(postgres: PostgresServer) -> Iterator[str]:
    """The address of a database at revision 0015, with rows in every table that is renamed."""
    with psycopg.connect(postgres.dsn(), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS hub_event_words WITH (FORCE)")
        connection.execute("CREATE DATABASE hub_event_words")
        dsn = postgres.dsn("hub_event_words")
        command.upgrade(_config(dsn, "hub"), "0015")
        with psycopg.connect(dsn, options="-c search_path=hub") as hub:
            for statement in _AS_IT_WAS:
                hub.execute(statement.encode())
        yield dsn
        connection.execute("DROP DATABASE hub_event_words WITH (FORCE)")


def rows(dsn: str, table: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn, options="-c search_path=hub") as hub:
        return hub.execute(f"SELECT * FROM {table} ORDER BY 1, 2".encode()).fetchall()


def test_rows_stay_where_they_are(before: str) -> None:
    """Renamed in place: the same values, and the same place on the disk."""
    tables = (*_OLD_TABLES, "refused_webhook")
    was = {table: rows(before, _IN_PLACE.format(table)) for table in tables}
    migrate(before)

    for table, written in was.items():
        assert written
        assert rows(before, _IN_PLACE.format(_OLD_TABLES.get(table, table))) == written, table


def test_no_old_name_is_left(before: str) -> None:
    """Tables, columns, constraints, indexes and sequences: each name has one word for one thing."""
    migrate(before)

    with psycopg.connect(before, options="-c search_path=hub") as hub:
        names = {
            str(name)
            for (name,) in hub.execute(
                "SELECT relname FROM pg_class WHERE relnamespace = 'hub'::regnamespace UNION ALL"
                " SELECT conname FROM pg_constraint WHERE connamespace = 'hub'::regnamespace UNION ALL"
                " SELECT attname FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid"
                "  WHERE relnamespace = 'hub'::regnamespace AND NOT attisdropped"
                "    AND relname IN ('dead_letter', 'source_outage', 'event_consumer', 'event_replay', 'refused_webhook')"
            )
        }
    old = (
        "failed_delivery",
        "event_outage",
        "event_reader",
        "letter_letter",
        "mended",
        "next_try",
        "what",
        "asked",
        "why",
    )
    assert {name for name in names if any(word in name for word in old) or name == "letter_id"} == set()
    assert {
        "dead_letter_pkey",
        "dead_letter_dead_letter_id_seq",
        "dead_letter_subscriber_epoch_position_key",
        "dead_letter_state_check",
        "dead_letter_at_work",
        "dead_letter_dead",
        "dead_letter_closed",
        "event_consumer_pkey",
        "source_outage_pkey",
        "event_replay_kind_check",
    } <= names


def test_a_new_database_and_an_upgraded_one_have_the_same_names(before: str, hub_dsn: str) -> None:
    """What differs would be found by the next migration that names a constraint."""
    migrate(before)
    names = (
        "(SELECT relname, relkind FROM pg_class WHERE relnamespace = 'hub'::regnamespace AND relname !~ '^event_2' UNION ALL"
        " SELECT conname, contype FROM pg_constraint WHERE connamespace = 'hub'::regnamespace AND conname !~ '^event_2')"
        " AS name"
    )
    assert rows(before, names) == rows(hub_dsn, names)


def test_an_old_dead_letter_can_be_edited_and_its_open_replay_continues(before: str) -> None:
    migrate(before)
    with Store(before) as store:
        with store.transaction() as work:
            (dead_letter,) = dead_letter_repository.find(work)
            _, events, dead_letters = replay_repository.newest(work)
        assert (dead_letters.kind, events.kind) == ("dead_letters", "events")
        dead_letter_service.edit_fields(
            store, dead_letter.dead_letter_id, {"available_quantity": 7}, event_types=event_types(), actor="cli:ada"
        )

        ended = replay_service.run_replay(store, subscribers=SUBSCRIBERS)

        assert ended is not None
        assert (ended.replay_id, ended.state, ended.done, ended.failed) == (dead_letters.replay_id, "done", 1, 0)
        with store.transaction() as work:
            assert inventory_repository.get(work, "CHAIR").available == 7
            assert dead_letter_repository.get(work, dead_letter.dead_letter_id).state == "replayed"


def test_a_consumer_continues_after_its_cursor(before: str) -> None:
    """From the start it would call the handler with the event that is a dead letter already, which a person may have closed."""
    migrate(before)
    with Store(before) as store:
        # Otherwise the worker would continue the open replays.
        query(store, "UPDATE event_replay SET state = 'stopped' RETURNING 1")
    with delivery(before, assignment=PartitionAssignment(partitions=1)), Store(before) as store:
        counted = "SELECT delivered FROM event_consumer WHERE subscriber = 'availability'"
        eventually(lambda: query(store, counted), [(4712,)])
        assert query(store, "SELECT sku, available FROM sku_availability") == [("RUG", 3)]
        assert query(store, "SELECT attempts FROM dead_letter") == [(1,)]


def test_an_old_source_outage_is_still_known(before: str) -> None:
    migrate(before)
    with Store(before) as store, store.transaction() as work:
        ((subscriber, (outage,)),) = source_outages.list_all(work).items()
    assert (subscriber, outage.source, outage.cause) == ("changed_record", "/webhooks/shop", "SystemUnavailable")
