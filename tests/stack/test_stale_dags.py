"""Stale DAGs are removed from Airflow; DAGs of others, and DAGs that a file still defines, stay."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.stack import stale_dags
from crossdock.stack.stale_dags import is_ours, remove_stale_dags


class Airflow(ThreadingHTTPServer):
    """GET /dags and DELETE /dags/{id}, as Airflow 3.3.2 answers them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.dags: dict[str, dict[str, Any]] = {}
        #: Status by id, of a DELETE that is refused.
        self.refused: dict[str, int] = {}
        #: How often the list is asked for until the processor has marked the DAGs of deleted files.
        self.asked_until_stale = 0

    def add(self, dag_id: str, *tags: str, stale: bool = True, fileloc: str = __file__) -> None:
        named = [{"name": tag, "dag_id": dag_id} for tag in tags]
        self.dags[dag_id] = {"dag_id": dag_id, "tags": named, "is_stale": stale, "fileloc": fileloc}

    def page(self, query: dict[str, list[str]]) -> dict[str, Any]:
        self.asked_until_stale -= 1
        if self.asked_until_stale == 0:
            for dag in self.dags.values():
                dag["is_stale"] = dag["is_stale"] or not Path(dag["fileloc"]).exists()
        shown = [dag for dag in self.dags.values() if query["exclude_stale"] == ["false"] or not dag["is_stale"]]
        offset, limit = int(query["offset"][0]), int(query["limit"][0])
        return {"dags": shown[offset : offset + limit], "total_entries": len(shown)}


class Handler(BaseHTTPRequestHandler):
    server: Airflow

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, {"access_token": "t"})

    def do_GET(self) -> None:
        self._answer(200, self.server.page(parse_qs(urlsplit(self.path).query)))

    def do_DELETE(self) -> None:
        dag_id = self.path.rpartition("/")[2]
        if status := self.server.refused.get(dag_id):
            self._answer(status, {"detail": "refused"})
            return
        del self.server.dags[dag_id]
        self._answer(204, None)

    def _answer(self, status: int, document: Any) -> None:
        content = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    monkeypatch.setattr(stale_dags, "_POLL_S", 0.0)
    with Airflow() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def api(airflow: Airflow) -> AirflowApi:
    return AirflowApi(f"http://127.0.0.1:{airflow.server_address[1]}", "admin", "made up")


def test_stale_dags_of_ours_are_removed_and_named(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_inventory", "sync", "inventory")
    airflow.add("backfill_order", "backfill", "order")
    airflow.add("deliver_events_2", "events")
    airflow.add("sync_shop_eu_orders", "sync", "shop_eu", "orders")
    airflow.add("declared_syncs", "declared")

    found = remove_stale_dags(api)

    assert found.removed == (
        "sync_inventory",
        "backfill_order",
        "deliver_events_2",
        "sync_shop_eu_orders",
        "declared_syncs",
    )
    assert (found.running, airflow.dags) == ((), {})


def test_a_dag_that_a_file_still_defines_stays(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_product", "sync", "product", stale=False)

    assert remove_stale_dags(api).removed == ()
    assert set(airflow.dags) == {"sync_product"}


@pytest.mark.parametrize(
    ("dag_id", "tags"),
    [
        ("sync_order", ["shop"]),
        ("sync_order", ["sync"]),
        ("sync_order", ["sync", "product"]),
        ("backfill_order", ["sync", "order"]),
        ("deliver_events", []),
        ("deliver_events_now", ["events"]),
        ("events", ["events"]),
        ("nightly", ["sync", "order"]),
        ("sync_shop_eu_orders", ["sync", "shop_eu"]),
        ("sync_shop_eu_orders", ["shop_eu", "orders"]),
        ("declared_syncs", ["theirs"]),
    ],
)
def test_a_dag_that_is_not_ours_stays(airflow: Airflow, api: AirflowApi, dag_id: str, tags: list[str]) -> None:
    """A company's own Airflow may have a `sync_order` of its own."""
    airflow.add(dag_id, *tags)

    assert not is_ours(dag_id, tags)
    assert remove_stale_dags(api).removed == ()
    assert set(airflow.dags) == {dag_id}


def test_airflow_is_given_time_to_notice_that_a_file_is_gone(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_inventory", "sync", "inventory", stale=False, fileloc="/nowhere/sync_inventory.py")
    airflow.asked_until_stale = 3

    assert remove_stale_dags(api).removed == ("sync_inventory",)


def test_a_dag_that_airflow_never_marks_as_stale_stays(
    airflow: Airflow, api: AirflowApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files may be in a bundle that Airflow reads and the hub does not."""
    monkeypatch.setattr(stale_dags, "_STALE_TIMEOUT_S", 0.0)
    airflow.add("sync_inventory", "sync", "inventory", stale=False, fileloc="/nowhere/sync_inventory.py")

    assert remove_stale_dags(api).removed == ()
    assert set(airflow.dags) == {"sync_inventory"}


def test_a_dag_with_a_running_task_is_left_for_the_next_time(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_inventory", "sync", "inventory")
    airflow.refused["sync_inventory"] = 409

    found = remove_stale_dags(api)

    assert (found.removed, found.running) == ((), ("sync_inventory",))


def test_a_dag_that_another_process_removed_is_no_error(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_inventory", "sync", "inventory")
    airflow.refused["sync_inventory"] = 404

    assert remove_stale_dags(api).removed == ()


def test_another_refusal_is_an_error(airflow: Airflow, api: AirflowApi) -> None:
    airflow.add("sync_inventory", "sync", "inventory")
    airflow.refused["sync_inventory"] = 403

    with pytest.raises(AirflowRefused, match="403"):
        remove_stale_dags(api)


def test_every_page_of_the_list_is_read(airflow: Airflow, api: AirflowApi) -> None:
    for number in range(250):
        airflow.add(f"a_{number:03}", "theirs")
    airflow.add("sync_inventory", "sync", "inventory")

    assert remove_stale_dags(api).removed == ("sync_inventory",)
