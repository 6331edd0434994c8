"""
The hub's database is away for a minute under 40 webhooks a second, and Airflow does not notice: the measured proof.

    ./hub test --deep tests/e2e/test_bulkheads.py        (about 8 minutes; prints its figures)
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import psycopg
import pytest
import requests

from tests.e2e.conftest import running_hub
from tests.e2e.watched import Watched, eventually

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

KEY = hashlib.sha256(b"bulkheads").digest()
PER_S, CALM_S, OUTAGE_S, AFTER_S = 40, 15, 60, 20


@dataclass
class Answer:
    at: float
    took_s: float
    status: int
    retry_after: str | None = None


@dataclass
class Load:
    """Signed webhooks at a rate that does not depend on the answers, and a look at Airflow twice a second."""

    stack: Watched
    sent: dict[str, Answer] = field(default_factory=dict)
    airflow: list[Answer] = field(default_factory=list)
    #: By the clock: the oldest heartbeat of the scheduler and of the running tasks.
    silence_s: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.url = self.stack.parts["api-server"]["url"]
        self._over = threading.Event()
        self._local = threading.local()

    def run(self, during: Callable[[], None]) -> None:
        with ThreadPoolExecutor(200) as senders:
            looking = [threading.Thread(target=look) for look in (self._look_at_airflow, self._look_at_heartbeats)]
            sending = threading.Thread(target=self._send_all, args=(senders,))
            for each in (*looking, sending):
                each.start()
            try:
                during()
            finally:
                self._over.set()
                for each in (*looking, sending):
                    each.join()

    def _send_all(self, senders: ThreadPoolExecutor) -> None:
        due = time.monotonic()
        while not self._over.is_set():
            due += 1 / PER_S
            time.sleep(max(0.0, due - time.monotonic()))
            senders.submit(self._send)

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
            self._local.session.trust_env = False
        session: requests.Session = self._local.session
        return session

    def _send(self) -> None:
        sent, body, at = f"msg_{uuid.uuid4().hex}", b'{"sku": "NO-SUCH-SKU"}', str(int(time.time()))
        mac = hmac.new(KEY, f"{sent}.{at}.".encode() + body, hashlib.sha256).digest()
        headers = {
            "webhook-id": sent,
            "webhook-timestamp": at,
            "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
        }
        began = time.monotonic()
        answer = self._session().post(
            f"{self.url}/hub/v1/webhooks/commercetools", data=body, headers=headers, timeout=120
        )
        took_s = time.monotonic() - began
        self.sent[sent] = Answer(began, took_s, answer.status_code, answer.headers.get("Retry-After"))

    def _look_at_airflow(self) -> None:
        token = self.stack.api.new_token()
        while not self._over.wait(0.5):
            for path in ("/api/v2/version", "/api/v2/dags?limit=1", "/api/v2/monitor/health"):
                began = time.monotonic()
                answer = self._session().get(self.url + path, headers={"Authorization": f"Bearer {token}"}, timeout=120)
                self.airflow.append(Answer(began, time.monotonic() - began, answer.status_code))

    def _look_at_heartbeats(self) -> None:
        with psycopg.connect(metadata_dsn(self.stack), autocommit=True) as metadata:
            while not self._over.wait(1):
                row = metadata.execute(
                    "SELECT greatest("
                    " (SELECT max(now() - latest_heartbeat) FROM job WHERE state = 'running'),"
                    " (SELECT max(now() - coalesce(last_heartbeat_at, start_date)) FROM task_instance"
                    "   WHERE state = 'running'))"
                ).fetchone()
                if row and row[0]:
                    self.silence_s.append((time.monotonic(), row[0].total_seconds()))


def metadata_dsn(stack: Watched) -> str:
    secrets = json.loads((stack.home / "secrets.json").read_text())
    port = stack.parts["postgres-metadata"]["port"]
    return f"postgresql://airflow:{secrets['metadata_password']}@127.0.0.1:{port}/airflow"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """With a sync each minute: tasks begin before the outage, in it and after it."""
    streams = json.dumps({"*": {"schedule": ""}, "commercetools.inventory": {"schedule": "* * * * *"}})
    with running_hub(tmp_path_factory.mktemp("bulkheads") / "home", HUB_STREAMS=streams) as hub:
        watched = Watched(hub, timedelta(seconds=60))
        watched.api.wait_for_dag("sync_commercetools_inventory")
        headers = {"Authorization": f"Bearer {watched.api.new_token()}"}
        connection = {
            "connection_id": "commercetools_webhook",
            "conn_type": "generic",
            "password": "whsec_" + base64.b64encode(KEY).decode(),
            "extra": json.dumps({"scheme": "standard", "dataset": "inventory", "key_path": "sku"}),
        }
        url = watched.parts["api-server"]["url"]
        requests.post(f"{url}/api/v2/connections", json=connection, headers=headers, timeout=120).raise_for_status()
        yield watched


def frozen(stack: Watched) -> Callable[[], None]:
    """Stop every process of the server: it takes connections and never answers. Returns what wakes it."""
    server = psutil.Process(stack.parts["postgres-hub"]["pid"])
    stopped = [server, *server.children(recursive=True)]
    for process in stopped:
        with suppress(psutil.NoSuchProcess):  # a session that has ended meanwhile
            process.send_signal(signal.SIGSTOP)

    def wake() -> None:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)

    return wake


def shut_down(stack: Watched) -> Callable[[], None]:
    """Shut the server down, as for an update. Returns what starts it."""
    psutil.Process(stack.parts["postgres-hub"]["pid"]).send_signal(signal.SIGINT)

    def start() -> None:
        stack.hub("up")
        stack.look_again()

    return start


@pytest.mark.parametrize("fault", [frozen, shut_down])
def test_a_minute_without_the_hubs_database_fails_no_run_and_silences_no_heartbeat(
    stack: Watched,
    fault: Callable[[Watched], Callable[[], None]],
    record_property: Callable[[str, object], None],
) -> None:
    """Airflow's API answers, its tasks send heartbeats, no run fails; what was acknowledged is stored, the rest was refused."""
    began, marks = datetime.now(UTC), {}
    load = Load(stack)

    def during() -> None:
        time.sleep(CALM_S)
        marks["away"] = time.monotonic()
        end = fault(stack)
        try:
            time.sleep(OUTAGE_S)
        finally:
            marks["back"] = time.monotonic()
            end()
        time.sleep(AFTER_S)

    load.run(during)
    away, back = marks["away"], marks["back"]
    taken = {sent for sent, answer in load.sent.items() if answer.status == 202}
    refused = [answer for answer in load.sent.values() if answer.status == 503]
    first_taken = min(answer.at for answer in load.sent.values() if answer.status == 202 and answer.at > back)
    figures = {
        "webhooks": len(load.sent),
        "taken": len(taken),
        "refused": len(refused),
        "other answers": sorted({a.status for a in load.sent.values()} - {202, 503}),
        "refusal s (p50, p95, max)": _spread([answer.took_s for answer in refused]),
        "taken before s": _spread([a.took_s for a in load.sent.values() if a.status == 202 and a.at < away]),
        "airflow before s": _spread([answer.took_s for answer in load.airflow if answer.at < away]),
        "airflow during s": _spread([answer.took_s for answer in load.airflow if away <= answer.at < back]),
        "silence before s": _spread([silent for at, silent in load.silence_s if at < away]),
        "silence during s": _spread([silent for at, silent in load.silence_s if away <= at < back]),
        "taken again after s": round(first_taken - back, 2),
        "airflow statuses": sorted({answer.status for answer in load.airflow}),
    }
    print(fault.__name__, json.dumps(figures, indent=1))  # noqa: T201  the figures are the point
    for name, figure in figures.items():
        record_property(name, figure)

    # 408: on a machine that is busy enough, a sender needs more than ten seconds for its body.
    assert {answer.status for answer in load.sent.values()} <= {202, 408, 503}
    assert all(answer.retry_after for answer in refused)
    assert {answer.status for answer in load.airflow} == {200}
    with psycopg.connect(stack.dsn) as hub:
        stored = {row[0] for row in hub.execute("SELECT event_id FROM hub.event WHERE source LIKE '/webhooks/%'")}
    assert taken <= stored
    eventually(lambda: not _runs(stack, began, "running", "queued", sync_only=True), timeout_s=600)
    assert _runs(stack, began, "failed") == []
    assert _ended_for_want_of_heartbeats(stack, began) == []
    print("retried tasks", _retried(stack, began))  # noqa: T201


def _spread(values: list[float]) -> list[float]:
    if len(values) < 2:
        return values
    return [round(each, 3) for each in (statistics.median(values), statistics.quantiles(values, n=20)[-1], max(values))]


def _runs(stack: Watched, since: datetime, *states: str, sync_only: bool = False) -> list[tuple[Any, ...]]:
    with psycopg.connect(metadata_dsn(stack)) as metadata:
        return metadata.execute(
            "SELECT dag_id, run_id, state FROM dag_run WHERE state = ANY(%s) AND start_date > %s AND dag_id LIKE %s",
            (list(states), since - timedelta(minutes=20), "sync%" if sync_only else "%"),
        ).fetchall()


def _ended_for_want_of_heartbeats(stack: Watched, since: datetime) -> list[tuple[Any, ...]]:
    with psycopg.connect(metadata_dsn(stack)) as metadata:
        return metadata.execute(
            "SELECT dag_id, task_id, event, extra FROM log WHERE event ILIKE '%%heartbeat%%' AND dttm > %s", (since,)
        ).fetchall()


def _retried(stack: Watched, since: datetime) -> list[tuple[Any, ...]]:
    with psycopg.connect(metadata_dsn(stack)) as metadata:
        return metadata.execute(
            "SELECT dag_id, task_id, run_id, try_number FROM task_instance WHERE try_number > 1 AND start_date > %s",
            (since,),
        ).fetchall()
