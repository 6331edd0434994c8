"""Watch a stack from the beginning of a fault: what works again when, and what the commands say meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import requests

from crossdock.bench.faults import figures
from crossdock.bench.faults.load import Change
from crossdock.bench.faults.outcome import Said
from crossdock.bench.faults.stage import INVENTORY_DAG, INVENTORY_RUNS, Stage
from crossdock.stack import lifecycle, ports

_LOOK_EVERY_S = 1.0
#: When the commands are asked, after the beginning.
_ASK_AT_S = (10.0, 60.0)
#: A sync is triggered so long after the one before has ended.
_SYNC_PAUSE_S = 10.0
_ANSWER_TIMEOUT_S = 3.0
_HEARTBEATS = ("scheduler", "dag_processor", "triggerer")
_WORDS = 160

_ARRIVED = "SELECT id, version FROM inventory"
_SYNCS = """
SELECT extract(epoch FROM started_at)::float8, extract(epoch FROM finished_at)::float8 FROM sync_run
 WHERE state IN ('done', 'partial') AND dag_id = %s AND started_at > to_timestamp(%s)
"""
_AT_WORK = """
SELECT (SELECT count(*) FROM event_consumer WHERE expires_at < clock_timestamp()),
       (SELECT extract(epoch FROM expires_at)::float8 FROM lease WHERE (integration, dataset) = ('hub', 'alerts'))
"""


@dataclass
class Seen:
    """When things happened, in seconds of `time.time`."""

    #: Change → when the hub had it.
    arrived: dict[Change, float] = field(default_factory=dict)
    #: Beginning and end of each sync that ended well.
    syncs: set[tuple[float, float]] = field(default_factory=set)
    #: When everything ran and was healthy, since when it does; None while it does not.
    whole_at: float | None = None
    said: list[Said] = field(default_factory=list)
    #: What is not as it should be, at the last look.
    missing: tuple[str, ...] = ()


class Watch:
    """Looks at *stage* in threads of its own from `begin` on; *over_at* is when the fault itself has ended."""

    def __init__(self, stage: Stage) -> None:
        self._stage, self.seen = stage, Seen()
        self.began = time.time()
        self.over_at: float | None = None
        self._sender_until = 0.0
        self._stopped = threading.Event()
        acts = (self._look, self._ask_commands, self._trigger_syncs)
        self._threads = [threading.Thread(target=act, daemon=True) for act in acts]

    def begin(self) -> None:
        self.began = self._stage.hit_at or time.time()
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_ANSWER_TIMEOUT_S * 20)

    def webhook_s(self) -> float | None:
        return figures.webhook_s(list(self._stage.load.sent), self.began, time.time())

    def record_s(self) -> float | None:
        return figures.record_s(dict(self.seen.arrived), self.began, self._since())

    def sync_s(self) -> float | None:
        return figures.sync_s(set(self.seen.syncs), self.began, self._since())

    def whole_s(self) -> float | None:
        return None if self.seen.whole_at is None else self.seen.whole_at - self.began

    def is_calm(self) -> bool:
        """Whether all runs and the load arrives; no sync need have ended since."""
        return None not in (self.webhook_s(), self.record_s(), self.whole_s())

    def all_works(self) -> bool:
        figures = (self.webhook_s(), self.record_s(), self.sync_s(), self.whole_s())
        return (self.over_at is not None or not self.lasts) and None not in figures

    #: Whether the fault has an end of its own, before which nothing counts as recovered.
    lasts = False

    def _since(self) -> float:
        """Find from when on success counts: before the fault's own end it proves nothing."""
        return (self.over_at or float("inf")) if self.lasts else self.began

    def _look(self) -> None:
        while not self._stopped.is_set():
            looks = (self._look_at_hub, self._look_at_processes, self._look_at_airflow)
            missing = [name for look in looks for name in look()]
            self.seen.missing = tuple(missing)
            if missing:
                self.seen.whole_at = None
            elif self.seen.whole_at is None:
                self.seen.whole_at = time.time()
            self._stopped.wait(_LOOK_EVERY_S)

    def _look_at_hub(self) -> list[str]:
        try:
            versions = dict(self._stage.ask(_ARRIVED))
            now = time.time()
            ended = self._stage.ask(_SYNCS, INVENTORY_DAG, self.began)
            ((silent, sender_until),) = self._stage.ask(_AT_WORK)
        except psycopg.Error:
            return ["the hub's database"]
        for change in list(self._stage.load.changes):
            if (
                change.at >= self.began - 30
                and change not in self.seen.arrived
                and versions.get(change.id, -1) >= change.version
            ):
                self.seen.arrived[change] = now
        self.seen.syncs.update(ended)
        first = self._sender_until or (sender_until or 0.0)
        self._sender_until = first
        bad = ["delivery"] if silent else []
        # Its lease must have been renewed since the fault began: a dead one's lease goes on for a while.
        return bad if sender_until and sender_until > first else [*bad, "the alert sender"]

    def _look_at_processes(self) -> list[str]:
        found = lifecycle.status()
        ended = [process.name for process in found.processes if process.state != "running"]
        numbers = ports.saved()
        return ended + [name for name in ("sandbox", "mail-server", "sendgrid") if not _answers(numbers[name])]

    def _look_at_airflow(self) -> list[str]:
        try:
            health = requests.get(
                f"{self._stage.stack.airflow_url}/api/v2/monitor/health", timeout=_ANSWER_TIMEOUT_S
            ).json()
        except (requests.RequestException, ValueError):
            return ["the api-server"]
        bad = [] if health["metadatabase"]["status"] == "healthy" else ["Airflow's database"]
        return bad + [name for name in _HEARTBEATS if _heartbeat(health, name) < self.began + 1]

    def _ask_commands(self) -> None:
        for at_s in _ASK_AT_S:
            if self._stopped.wait(max(0.0, self.began + at_s - time.time())):
                return
            for words in (("status", "--json"), ("doctor", "--json")):
                began_s = time.time() - self.began
                answer = self._stage.command(*words)
                words_of = _words_of_status if words[0] == "status" else _words_of_doctor
                said = words_of(answer.document) if answer.document else tuple(answer.output.splitlines()[-1:])
                self.seen.said.append(
                    Said(
                        command=words[0],
                        at_s=began_s,
                        exit_code=answer.exit_code,
                        words=tuple(w[:_WORDS] for w in said),
                    )
                )

    def _trigger_syncs(self) -> None:
        """Keep the inventory's sync at work: one after the other, as far as Airflow takes them."""
        while not self._stopped.wait(_SYNC_PAUSE_S):
            with suppress(requests.RequestException):
                open_runs = self._stage.request(
                    "GET", INVENTORY_RUNS, params={"state": ["queued", "running"], "limit": 1}
                )
                if not open_runs["total_entries"]:
                    self._stage.request("POST", INVENTORY_RUNS, json={"logical_date": None, "conf": {}})


def _answers(port: int) -> bool:
    try:
        requests.get(f"http://{ports.LOOPBACK}:{port}/_sandbox/faults", timeout=_ANSWER_TIMEOUT_S)
    except requests.RequestException:
        return False
    return True


def _heartbeat(health: Mapping[str, Any], name: str) -> float:
    found = health.get(name) or {}
    at = found.get(f"latest_{name}_heartbeat")
    return datetime.fromisoformat(at).timestamp() if at and found.get("status") == "healthy" else 0.0


def _words_of_status(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the processes that are not as they should be, and whatever else it shows as wrong."""
    processes = document.get("processes", [])
    bad = [f"{process['name']} {process.get('state')}" for process in processes if process.get("state") != "running"]
    wrong = [f"{process['name']}: {process['problem']}" for process in processes if process.get("problem")]
    outages = document.get("outages") or []
    rest = [f"{name}: {document[name]}" for name in ("problem", "problems", "missing") if document.get(name)]
    return (str(document.get("state", "")), *bad, *wrong, *map(str, outages), *map(str, rest))


def _words_of_doctor(document: Mapping[str, Any]) -> tuple[str, ...]:
    checks = document.get("checks", [])
    return tuple(f"{check['name']}: {check['found']}" for check in checks if not check["ok"])
