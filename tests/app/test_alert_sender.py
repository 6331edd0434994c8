"""The process that sends alerts: nothing of Airflow runs, and a real receiver verifies what arrives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from crossdock.app import alert_sender
from crossdock.app.alert_sender import WriteTest
from crossdock.app.database import migrate
from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.outage import DatabaseWatch
from crossdock.maintenance.alerting.repository import save_route
from crossdock.maintenance.alerting.routes import Route
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sandbox.signed_webhook.verifier import FakeReceiver
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer
from tests.events.worlds import eventually
from tests.shop import free_port, query
from tests.streams import define_shop

pytestmark = pytest.mark.crash

HOOK = "ops_hook"


@pytest.fixture
def receiver() -> Iterator[FakeReceiver]:
    with FakeReceiver() as opened:
        yield opened


def uri(dsn: str) -> str:
    """A DSN as Airflow has it in a variable."""
    return re.sub(r"^postgresql://", "postgres://", dsn.partition("?")[0])


def environment(folder: Path, dsn: str, receiver: FakeReceiver) -> dict[str, str]:
    """Airflow's database is not there: connections come from the environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "HUB_"))}
    connection = {
        "conn_type": "signed_webhook",
        "host": f"{receiver.url}/alerts",
        "password": receiver.secret,
        "extra": {"allowed_networks": ["127.0.0.0/8"]},
    }
    return {
        **kept,
        "AIRFLOW_HOME": str(folder / "airflow"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/none.db",
        "AIRFLOW_CONN_HUB_DB": uri(dsn),
        f"AIRFLOW_CONN_{HOOK.upper()}": json.dumps(connection),
        "HUB_DEFINITIONS_URL": define_shop(folder / "definitions"),
        "HUB_LANDING_URL": f"file://{folder / 'landing'}",
        "HUB_NAME": "the test hub",
        "TMPDIR": str(folder),
    }


@contextmanager
def running(variables: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "crossdock.app.alert_sender"],
            env=variables,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(30)


def prepare(store: Store) -> None:
    with store.transaction() as work:
        integrations.add(
            work,
            integration_id=HOOK,
            kind="signed_webhook",
            name=HOOK,
            settings={},
            connection_id=HOOK,
            actor="test",
            with_credentials=False,
            tested=False,
        )
        route = Route.model_validate({"name": "ops", "integration": HOOK, "digest_over": None})
        save_route(work, route, declared_in=None)


def fail(store: Store, subject: str) -> None:
    with store.transaction() as work:
        alerts.add(work, Kind.RUN_FAILED, subject, Found("HTTP 503"))


def subjects(receiver: FakeReceiver) -> list[str]:
    return [json.dumps(message["body"]) for message in receiver.inbox]


def arrived(receiver: FakeReceiver, subject: str) -> Callable[[], bool]:
    return lambda: any(subject in body for body in subjects(receiver))


def test_a_disk_that_takes_no_file_keeps_no_alert_from_being_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_dsn: str
) -> None:
    """A full or read-only disk is what alerts are for: the health check's file is not worth one."""
    monkeypatch.setattr(alert_sender, "ALIVE", tmp_path / "no_folder" / "alive")
    with Store(hub_dsn) as store:
        alert_sender.note_answer(DatabaseWatch("the hub", None), WriteTest(store))

    assert not alert_sender.ALIVE.exists()


def test_a_database_that_takes_no_writes_does_not_count_as_one_that_answers(hub_dsn: str) -> None:
    """Its volume is full: no alert can be stored, so the last resort has to tell of it."""
    told: list[AlertMessage] = []
    now_s = [0.0]
    watch = DatabaseWatch("the hub", told.append, clock=lambda: now_s[0])

    with Store(hub_dsn) as store:  # the first connection notes where the server's events begin
        assert WriteTest(store).refusal() is None
    with Store(hub_dsn, session="-c default_transaction_read_only=on") as store:
        for now_s[0] in (10.0, 20.0, 40.0):
            alert_sender.note_answer(watch, WriteTest(store))
            watch.look()

    assert [message.title for message in told] != []
    assert "takes no writes" in told[0].title
    assert "read-only" in told[0].title


def test_an_alert_arrives_once_also_after_the_process_was_killed_and_ends_by_a_signal(
    store: Store, hub_dsn: str, tmp_path: Path, receiver: FakeReceiver
) -> None:
    """No scheduler, api-server, broker, delivery or database of Airflow's is there."""
    prepare(store)
    variables, log = environment(tmp_path, hub_dsn, receiver), tmp_path / "log"
    fail(store, "shop.a")
    with running(variables, log) as process:
        eventually(arrived(receiver, "shop.a"))
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    fail(store, "shop.b")
    with store.transaction() as work:
        alerts.close(work, Kind.RUN_FAILED, subject="shop.a")
    query(store, "UPDATE lease SET expires_at = clock_timestamp() RETURNING 1")
    with running(variables, log) as process:
        eventually(arrived(receiver, "shop.b"))
        eventually(lambda: len(receiver.inbox) == 3)
        process.terminate()
        assert process.wait(60) == 0

    assert len(receiver.times) == 3, "what had arrived before the kill came with its ID, if it came again"
    assert query(store, "SELECT expires_at <= clock_timestamp() FROM lease WHERE dataset = 'alerts'") == [(True,)]
    assert receiver.secret not in log.read_text()


def test_the_conditions_of_alarms_are_checked_without_the_delivery_of_events(
    store: Store, hub_dsn: str, tmp_path: Path, receiver: FakeReceiver
) -> None:
    """Housekeeping, which checks them otherwise, is a thread of a delivery worker."""
    prepare(store)
    query(
        store,
        "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
        " schema_version, data, state, cause, reason) SELECT 'availability', 1, '1', 1, 's', 't', now(), 'k', 0, 1,"
        " '{}', 'dead', 'KeyError', 'r' RETURNING 1",
    )
    with running(environment(tmp_path, hub_dsn, receiver), tmp_path / "log"):
        eventually(arrived(receiver, "1 dead letter"))


def test_while_the_hub_s_database_is_down_the_last_resort_gets_a_message_and_one_when_it_is_back(
    tmp_path: Path, receiver: FakeReceiver
) -> None:
    server = PostgresServer(tmp_path / "pg", free_port(), "test", options={**HUB_OPTIONS, "fsync": "off"})
    server.initialise()
    server.start()
    server.create_database("hub", owner="hub", password="made-up")
    dsn = f"postgresql://hub:made-up@127.0.0.1:{server.port}/hub"
    migrate(dsn)
    url = receiver.url.replace("http://", f"http://{quote(receiver.secret, safe='')}@")
    variables = {**environment(tmp_path, dsn, receiver), "HUB_ALERT_LAST_RESORT": f"{url}/last"}
    log = tmp_path / "log"
    try:
        with running(variables, log):
            with Store(dsn) as store:
                eventually(lambda: query(store, "SELECT count(*) FROM lease WHERE dataset = 'alerts'") == [(1,)])
            server.stop("immediate")
            eventually(arrived(receiver, "hub_database_down"))
            server.start()
            eventually(lambda: len(receiver.inbox) == 2)
    finally:
        server.stop("immediate")
        server.remove()

    assert [message["body"]["data"]["occasion"] for message in receiver.inbox] == ["opened", "closed"]
    assert "has not answered since" in log.read_text()
    assert receiver.secret not in log.read_text()
