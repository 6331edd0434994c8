"""What alarms watch outside the hub's database: schedules, declarations, credentials and volumes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crossdock.app import watched
from crossdock.connectors.declarative import files
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.maintenance.alarms import Condition
from crossdock.observability import restarts
from crossdock.observability.alerts import Found, Kind
from crossdock.observability.restarts import Restart, Restarts
from tests.shop import query
from tests.streams import define_shop

EXAMPLE = Path(__file__).parents[2] / "dags" / "integrations" / "examples"


@pytest.fixture(autouse=True)
def declarations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A hub with one shop, and an empty folder of declarations."""
    folder = tmp_path / "declarations"
    folder.mkdir()
    monkeypatch.setenv("HUB_DECLARATIONS", str(folder))
    monkeypatch.setenv("HUB_DEFINITIONS_URL", define_shop(tmp_path / "definitions"))
    monkeypatch.setenv("HUB_LANDING_URL", "s3://bucket/landing")
    settings.cache_clear()
    yield folder
    settings.cache_clear()


def found(store: Store, conditions: Mapping[Kind, Condition], kind: Kind) -> Mapping[str, Found]:
    with store.question() as work:
        return conditions[kind](work)


def test_every_stream_with_a_schedule_is_watched_by_the_leases_of_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disabled schedule is nobody's promise."""
    monkeypatch.setenv(
        "HUB_STREAMS",
        '{"commercetools.orders": {"schedule": ""}, "commercetools.inventory": {"schedule": "*/5 * * * *", "shards": 2}}',
    )
    settings.cache_clear()

    streams = {one.stream: one for one in watched.scheduled_streams()}

    assert "commercetools.orders" not in streams
    assert streams["commercetools.inventory"].schedule == "*/5 * * * *"
    assert streams["commercetools.inventory"].shards == ("shard:1/2", "shard:2/2")
    assert streams["commercetools.products"].shards == ("all",)


def test_a_stream_that_never_ended_well_is_found(store: Store) -> None:
    """With the streams and the schedules of this hub."""
    conditions = watched.conditions()
    assert found(store, conditions, Kind.STREAM_STALE) == {}
    query(store, "UPDATE scheduled_stream SET since = now() - interval '30 days' RETURNING 1")

    assert "commercetools.inventory" in found(store, conditions, Kind.STREAM_STALE)


def test_a_declaration_with_a_mistake_is_an_alert_until_it_is_corrected(store: Store, declarations: Path) -> None:
    """With the places of its mistakes, and not what stands there: somebody may have written a secret."""
    conditions = watched.conditions()
    source = next(EXAMPLE.glob("*.yaml"))
    file = declarations / source.name
    shutil.copy(source, file)
    assert found(store, conditions, Kind.DECLARATION_INVALID) == {}

    file.write_text("token: hunter2\n" + source.read_text())
    ((name, what),) = found(store, conditions, Kind.DECLARATION_INVALID).items()
    assert (name, what.records, what.examples) == (source.stem, 1, ("line 1: /token",))
    assert what.message == (
        f"The declaration {source.name} is not valid; its first mistake is in line 1. "
        "Its last valid version runs on, if it had one"
    )
    assert "hunter2" not in repr(what)

    shutil.copy(source, file)
    assert found(store, conditions, Kind.DECLARATION_INVALID) == {}


def test_declarations_are_read_again_only_when_a_file_changes(
    store: Store, declarations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of them take seconds, and alarms are checked every half minute."""
    (declarations / "wms.yaml").write_text("title: 1\n")
    conditions, read = watched.conditions(), []
    monkeypatch.setattr(files, "read", lambda path, *_, of=files.read: read.append(path) or of(path, *_))

    for _ in range(3):
        assert list(found(store, conditions, Kind.DECLARATION_INVALID)) == ["wms"]

    assert len(read) == 1


def test_credentials_that_end_soon_are_an_alert_that_names_the_field(store: Store) -> None:
    """Never the value."""
    query(
        store,
        "INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by)"
        " VALUES ('crm', 'hubspot', 'CRM', '{}', 'crm_connection', 'ada', 'ada'),"
        " ('shop', 'commercetools', 'Shop', '{}', 'gone', 'ada', 'ada') RETURNING 1",
    )
    end = datetime.now(UTC) + timedelta(days=3)

    def connection_of(connection_id: str) -> Connection | None:
        if connection_id == "gone":
            return None
        return Connection(
            connection_id=connection_id, conn_type="hubspot", password="hunter2", extra={"expires_at": end.isoformat()}
        )

    conditions = watched.conditions(connection_of=connection_of)
    for _ in range(2):
        ((name, what),) = found(store, conditions, Kind.SECRET_EXPIRES).items()

    assert (name, what.message) == ("crm", f"The credentials of crm end on {end:%Y-%m-%d %H:%M} UTC (expires_at)")
    assert "hunter2" not in repr(what)
    end += timedelta(days=60)
    assert found(store, watched.conditions(connection_of=connection_of), Kind.SECRET_EXPIRES) == {}


def test_credentials_that_are_entered_are_read_at_the_next_look_and_the_others_in_turn(store: Store) -> None:
    """Each connection is a request to Airflow, and there may be hundreds; but an alert must not take an hour."""
    query(
        store,
        "INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by)"
        " SELECT 'crm_' || number, 'hubspot', 'CRM', '{}', 'crm_' || number, 'ada', 'ada'"
        "   FROM generate_series(1, 45) AS number RETURNING 1",
    )
    asked: list[str] = []

    def connection_of(connection_id: str) -> Connection | None:
        asked.append(connection_id)
        return None

    conditions = watched.conditions(connection_of=connection_of)

    def look() -> list[str]:
        asked.clear()
        assert found(store, conditions, Kind.SECRET_EXPIRES) == {}
        return list(asked)

    assert len(look()) == 45
    turns = [look() for _ in range(3)]
    assert [len(turn) for turn in turns] == [20, 20, 20]
    assert len({name for turn in turns for name in turn}) == 45

    last = turns[-1][-1]
    query(store, "UPDATE integration SET version = version + 1 WHERE integration_id = %s RETURNING 1", last)
    assert last in look()


def test_the_folders_that_are_on_this_machine_are_watched(tmp_path: Path) -> None:
    """An object store has no end that a hub could see."""
    assert watched.folders() == [tmp_path / "definitions"]


def test_a_process_that_does_not_stay_up_is_found(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back each time, so that nobody would look. On a machine without a local stack nobody restarts anything."""
    thrice = Restarts()
    for seconds in (90, 40, 5):
        thrice = thrice.with_one(Restart(datetime.now(UTC) - timedelta(seconds=seconds), "ended"))
    once = Restarts().with_one(Restart(datetime.now(UTC), "ended"))
    restarts.file_in(tmp_path).write_text(json.dumps(restarts.as_json({"scheduler": thrice, "sandbox": once})))
    conditions = watched.conditions()

    monkeypatch.delenv("HUB_HOME", raising=False)
    assert found(store, conditions, Kind.PROCESS_RESTARTING) == {}
    monkeypatch.setenv("HUB_HOME", str(tmp_path))
    alarm = found(store, conditions, Kind.PROCESS_RESTARTING)

    assert list(alarm) == ["scheduler"]
    assert alarm["scheduler"].message == (
        "scheduler does not stay up: it was started anew 3 times within 10 minutes, the last time because it ended"
    )
    assert (alarm["scheduler"].records, len(alarm["scheduler"].examples)) == (3, 3)
