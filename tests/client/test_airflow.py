"""The client of Airflow's REST API, against a stand-in that answers as Airflow 3.3 does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from crossdock.cli.exit_codes import Exit, exit_of_error
from crossdock.client import dag_runs
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused, AirflowUnreachable, DagPaused, LoginRefused
from crossdock.core.errors import NotFound
from crossdock.stack.ports import free_port


class StandIn(ThreadingHTTPServer):
    """Answers by a script and records the requests."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, Any]] = []
        self.answers: dict[str, list[tuple[int, Any]]] = {"POST /auth/token": [(201, {"access_token": "t"})]}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: StandIn

    def answer(self) -> None:
        request = f"{self.command} {self.path}"
        length = int(self.headers.get("Content-Length") or 0)
        self.server.requests.append((request, json.loads(self.rfile.read(length)) if length else None))
        script = self.server.answers.get(request) or [(404, {"detail": "not here"})]
        status, body = script.pop(0) if len(script) > 1 else script[0]
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def airflow() -> Iterator[StandIn]:
    stand_in = StandIn()
    thread = threading.Thread(target=stand_in.serve_forever, args=(0.01,))
    thread.start()
    yield stand_in
    stand_in.shutdown()
    thread.join()
    stand_in.server_close()


@pytest.fixture
def api(airflow: StandIn) -> AirflowApi:
    return AirflowApi(airflow.url, "admin", "made up")


def test_an_expired_token_is_renewed_once(airflow: StandIn, api: AirflowApi) -> None:
    """`./hub sync --watch` may run longer than a token lives."""
    airflow.answers["GET /api/v2/dags/probe"] = [(401, {"detail": "expired"}), (200, {"dag_id": "probe"})]

    assert api.get("/dags/probe") == {"dag_id": "probe"}
    assert [request for request, _ in airflow.requests].count("POST /auth/token") == 2


def test_a_wrong_password_is_not_retried_forever(airflow: StandIn, api: AirflowApi) -> None:
    airflow.answers["POST /auth/token"] = [(401, {"detail": "Invalid credentials"})]

    with pytest.raises(LoginRefused, match="with this password"):
        api.get("/dags")


def test_a_refusal_has_airflows_message(airflow: StandIn, api: AirflowApi) -> None:
    """A bad conf is explained by Airflow; the person should read exactly that."""
    airflow.answers["POST /api/v2/dags/sync_commercetools_inventory/dagRuns"] = [
        (400, {"detail": "'x' is not of type 'integer'"})
    ]

    with pytest.raises(AirflowRefused, match="HTTP 400: 'x' is not of type 'integer'"):
        api.trigger("sync_commercetools_inventory", {"limit": "x"})


def test_a_trigger_starts_a_run_of_its_own(airflow: StandIn, api: AirflowApi) -> None:
    """Without a logical date two triggers in one second are two runs."""
    airflow.answers["POST /api/v2/dags/sync_commercetools_inventory/dagRuns"] = [(200, {"dag_run_id": "manual__1"})]

    assert api.trigger("sync_commercetools_inventory", {"full": True}) == "manual__1"
    assert airflow.requests[-1][1] == {"logical_date": None, "conf": {"full": True}}


def test_a_connection_is_updated_or_created(airflow: StandIn, api: AirflowApi) -> None:
    """A second `./hub up` has other ports."""
    airflow.answers["POST /api/v2/connections"] = [(201, {})]
    document = {"connection_id": "hub_db", "conn_type": "postgres"}

    api.put_connection(document)

    assert airflow.requests[-2:] == [
        ("PATCH /api/v2/connections/hub_db", document),
        ("POST /api/v2/connections", document),
    ]


def test_a_run_id_is_quoted_in_the_path(airflow: StandIn, api: AirflowApi) -> None:
    """Run ids hold plus signs and colons."""
    airflow.answers["GET /api/v2/dags/d/dagRuns/manual__2026-01-01T00%3A00%3A00%2B00%3A00"] = [
        (200, {"state": "queued"})
    ]

    assert api.dag_run("d", "manual__2026-01-01T00:00:00+00:00")["state"] == "queued"


def test_an_unreachable_airflow_is_reported() -> None:
    with pytest.raises(AirflowUnreachable, match="hub up"):
        AirflowApi(f"http://127.0.0.1:{free_port()}", "admin", "made up").get("/dags")


def test_a_run_of_a_paused_dag_is_refused(airflow: StandIn, api: AirflowApi) -> None:
    """Its run would stay queued until somebody looks, and the command with it."""
    airflow.answers["GET /api/v2/dags/sync_order"] = [(200, {"is_paused": True})]

    with pytest.raises(DagPaused, match="sync_order is paused in Airflow") as refused:
        dag_runs.trigger(api, "order", {"full": True})

    assert exit_of_error(refused.value) is Exit.PERSON_NEEDED
    assert not [request for request, _ in airflow.requests if request.endswith("dagRuns")]


def test_a_declaration_that_airflow_has_not_read_yet_is_explained(api: AirflowApi) -> None:
    with pytest.raises(NotFound, match=r"has no DAG sync_shelf\. It reads a new declaration within a minute"):
        dag_runs.trigger(api, "shelf", {})
