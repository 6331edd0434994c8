"""Whether Airflow is there, as somebody outside sees it: an alert for each part, that closes by itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.maintenance.airflow_health import AirflowWatch
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from tests.shop import free_port

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


class Airflow:
    """A server with the answer of Airflow's /monitor/health, whose clock shows NOW."""

    def __init__(self) -> None:
        self.health: Any = all_well()
        self.status = 200
        opened = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None: ...

            def do_GET(self) -> None:
                body = json.dumps(opened.health).encode()
                self.send_response_only(opened.status)
                self.send_header("Date", format_datetime(NOW, usegmt=True))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def all_well(**silent_s: float) -> dict[str, Any]:
    """The answer in which each part sent its heartbeat just now, or so many seconds ago."""
    return {
        "metadatabase": {"status": "healthy"},
        **{part: beat(part, silent_s.get(part, 2)) for part in ("scheduler", "dag_processor", "triggerer")},
    }


def beat(part: str, silent_s: float) -> dict[str, Any]:
    return {"status": "healthy", f"latest_{part}_heartbeat": (NOW - timedelta(seconds=silent_s)).isoformat()}


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    opened = Airflow()
    yield opened
    opened.server.shutdown()
    opened.server.server_close()


def look(store: Store, watch: AirflowWatch) -> Mapping[str, Found]:
    """Check once, and keep the alerts as the alarms do."""
    with store.question() as work:
        found = watch(work)
    with store.transaction() as work:
        alerts.hold(work, Kind.AIRFLOW_UNREACHABLE, found)
    return found


def open_subjects(store: Store) -> set[str]:
    with store.question() as work:
        return set(alerts.open_of(work, Kind.AIRFLOW_UNREACHABLE))


@pytest.mark.parametrize(
    ("part", "name"), [("scheduler", "scheduler"), ("dag_processor", "dag-processor"), ("triggerer", "triggerer")]
)
def test_a_part_without_a_heartbeat_is_named_until_it_beats_again(
    store: Store, airflow: Airflow, part: str, name: str
) -> None:
    """Airflow calls a part healthy for as long as it is configured to; a person waits half a minute."""
    watch = AirflowWatch(airflow.url)
    airflow.health = all_well(**{part: 42})

    assert look(store, watch)[name].message == f"Airflow's {name} has sent no heartbeat for 42 s"

    airflow.health = all_well(**{part: 29})
    look(store, watch)
    assert open_subjects(store) == set()


def test_a_part_that_never_ran_is_not_missed(store: Store, airflow: Airflow) -> None:
    """Not every Airflow has a triggerer."""
    airflow.health["triggerer"] = {"status": None, "latest_triggerer_heartbeat": None}

    assert look(store, AirflowWatch(airflow.url)) == {}


def test_metadata_that_does_not_answer_is_named(store: Store, airflow: Airflow) -> None:
    airflow.health["metadatabase"]["status"] = "unhealthy"

    assert set(look(store, AirflowWatch(airflow.url))) == {"metadata database"}


def test_an_api_server_that_is_silent_is_named_after_half_a_minute(store: Store) -> None:
    """A restart takes seconds, and is no reason to wake anybody."""
    clock = [100.0]
    watch = AirflowWatch(f"http://127.0.0.1:{free_port()}", clock=lambda: clock[0])

    assert look(store, watch) == {}
    clock[0] += 29
    assert look(store, watch) == {}
    clock[0] += 13
    assert "has not answered for 42 s" in look(store, watch)["api-server"].message


@pytest.mark.parametrize(("status", "health"), [(503, {"detail": "no"}), (200, ["no health"]), (200, None)])
def test_an_answer_that_is_none_counts_as_silence(store: Store, airflow: Airflow, status: int, health: Any) -> None:
    """A proxy answers for a server that is gone."""
    clock = [100.0]
    watch = AirflowWatch(airflow.url, clock=lambda: clock[0])
    look(store, watch)
    airflow.status, airflow.health = status, health

    clock[0] += 31

    assert set(look(store, watch)) == {"api-server"}


def test_what_was_wrong_stays_open_while_nobody_can_say_that_it_is_well(store: Store, airflow: Airflow) -> None:
    """The scheduler is down, then the api-server too: an alert that closes would say that the scheduler is back."""
    clock = [100.0]
    watch = AirflowWatch(airflow.url, clock=lambda: clock[0])
    airflow.health = all_well(scheduler=42)
    look(store, watch)
    airflow.status = 503

    look(store, watch)
    assert open_subjects(store) == {"scheduler"}
    clock[0] += 31
    look(store, watch)
    assert open_subjects(store) == {"scheduler", "api-server"}


def test_a_new_sender_closes_nothing_before_it_knows(store: Store, airflow: Airflow) -> None:
    """It is restarted while Airflow is down, and waits for half a minute before it says so itself."""
    airflow.status = 503
    with store.transaction() as work:
        alerts.add(work, Kind.AIRFLOW_UNREACHABLE, "api-server", Found("It does not answer"))

    look(store, AirflowWatch(airflow.url))
    assert open_subjects(store) == {"api-server"}

    airflow.status = 200
    look(store, AirflowWatch(airflow.url))
    assert open_subjects(store) == set()
