"""Whether Airflow is there: its api-server answers, and its other parts send heartbeats. Asked from outside, over HTTP."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec
import urllib3

from crossdock.db.database import Work
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

#: As long as Airflow itself takes a scheduler for alive.
PATIENCE = timedelta(seconds=30)
#: Much longer than it takes; a check of the alert sender waits for it.
_ANSWER_S = 3.0
_PATH = "/api/v2/monitor/health"
#: The part in Airflow's answer → our name of it.
_PARTS = {"scheduler": "scheduler", "dag_processor": "dag-processor", "triggerer": "triggerer"}
_SERVER, _DATABASE = "api-server", "metadata database"


class AirflowWatch:
    """
    Watches Airflow at *url*. A condition of alerts, for one process: it remembers since when there is no answer.

    What parts were found wrong stays so while the api-server does not answer: nobody can say that they are well.
    """

    def __init__(
        self, url: str, *, patience: timedelta = PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url, self._patience, self._now_s = url.rstrip("/") + _PATH, patience, clock
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(total=_ANSWER_S))
        #: When it answered last; counted from the first question.
        self._answered_at_s: float | None = None
        #: None until the first question: what an earlier process has found is then still open.
        self._found: Mapping[str, Found] | None = None

    def __call__(self, work: Work) -> Mapping[str, Found]:
        """Find the parts of Airflow that are not there, by name."""
        now_s = self._now_s()
        if self._found is None or self._answered_at_s is None:
            self._found, self._answered_at_s = alerts.open_of(work, Kind.AIRFLOW_UNREACHABLE), now_s
        try:
            answer = self._http.request("GET", self._url)
            health = msgspec.json.decode(answer.data) if answer.status == 200 else None  # noqa: PLR2004
        except (urllib3.exceptions.HTTPError, msgspec.DecodeError) as error:
            return self._silent(now_s, type(error).__name__)
        if not isinstance(health, dict):
            return self._silent(now_s, f"HTTP {answer.status}")
        self._answered_at_s = now_s
        self._found = dict(_wrong(health, _time_of(answer.headers), self._patience))
        return self._found

    def _silent(self, now_s: float, why: str) -> Mapping[str, Found]:
        for_s = now_s - (self._answered_at_s or now_s)
        if for_s > self._patience.total_seconds():
            message = f"Airflow's {_SERVER} has not answered for {for_s:.0f} s: {why}"
            self._found = {**(self._found or {}), _SERVER: Found(message)}
        return self._found or {}


def _wrong(health: Mapping[str, Any], now: datetime, patience: timedelta) -> Iterator[tuple[str, Found]]:
    if (health.get("metadatabase") or {}).get("status") != "healthy":
        yield _DATABASE, Found(f"Airflow's {_DATABASE} does not answer its api-server")
    for part, name in _PARTS.items():
        # None where that part never ran: not every Airflow has a triggerer.
        beat = (health.get(part) or {}).get(f"latest_{part}_heartbeat")
        if beat and (silent := now - datetime.fromisoformat(beat)) > patience:
            yield name, Found(f"Airflow's {name} has sent no heartbeat for {silent.total_seconds():.0f} s")


def _time_of(headers: Mapping[str, str]) -> datetime:
    """Take the time of the server, whose clock may be another than ours."""
    return parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
