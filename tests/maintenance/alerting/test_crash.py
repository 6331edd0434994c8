"""The sender is killed at every failpoint and the next one goes on: no message is lost, none is new to its receiver twice."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

import crossdock.maintenance.alerting
from crossdock.db.database import Store
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from tests.chaos import children
from tests.maintenance.alerting.receivers import Receivers, add_route, send_due
from tests.shop import query

pytestmark = pytest.mark.crash

CAUSES = 3


def points() -> list[str]:
    """Every failpoint of the sender, by reading the source: a new one is tested without being listed here."""
    sources = Path(next(iter(crossdock.maintenance.alerting.__path__))).rglob("*.py")
    return sorted({name for path in sources for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())})


def send_in_child(dsn: str, folder: Path, crash_at: str) -> int:
    def work() -> None:
        with Store(dsn) as store:
            send_due(store, Receivers(folder))

    return children.run(work, crash_at=crash_at)


@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("point", points())
def test_a_sender_killed_anywhere_loses_nothing_and_doubles_nothing(
    hub_dsn: str, tmp_path: Path, point: str, nth: int
) -> None:
    """What was sent before the kill, but not written down, comes again with its ID: the receiver counts it once."""
    with Store(hub_dsn) as store:
        add_route(store)
        with store.transaction() as work:
            for number in range(CAUSES):
                alerts.add(work, kind=Kind.RUN_FAILED, subject=f"s{number}", found=Found("HTTP 503"))

    died = send_in_child(hub_dsn, tmp_path, f"{point}:{nth}")
    with Store(hub_dsn) as store:
        query(store, "UPDATE lease SET expires_at = clock_timestamp() RETURNING 1")
    assert died == children.KILLED or (died == 0 and nth > 1), f"{point} was not reached"
    for _ in range(2):
        assert send_in_child(hub_dsn, tmp_path, "") == 0

    got = Receivers(tmp_path)["ops"]
    assert [message["causes"][0]["subject"] for message in got.got] == [f"s{number}" for number in range(CAUSES)]
    assert len(got.every) <= CAUSES + 1
    with Store(hub_dsn) as store:
        assert query(store, "SELECT DISTINCT state FROM alert_message") == [("sent",)]


def test_a_sender_that_slept_before_its_call_writes_nothing_over_its_successor(hub_dsn: str, tmp_path: Path) -> None:
    """A machine that was suspended wakes up, and another sender has sent what this one had taken."""

    class Sleepy(Receivers):
        def __getitem__(self, name: str):  # type: ignore[no-untyped-def]  # noqa: ANN204
            os.kill(os.getpid(), signal.SIGSTOP)
            return super().__getitem__(name)

    def work() -> None:
        with Store(hub_dsn) as store:
            send_due(store, Sleepy(tmp_path))

    with Store(hub_dsn) as store:
        add_route(store)
        with store.transaction() as transaction:
            for subject in ("a", "b"):
                alerts.add(transaction, kind=Kind.RUN_FAILED, subject=subject, found=Found("HTTP 503"))
        sleeper = children.start(work)
        assert children.stopped(sleeper)
        query(store, "UPDATE lease SET expires_at = clock_timestamp() RETURNING 1")
        send_due(store, Receivers(tmp_path))
        query(store, "UPDATE alert_message SET ended_at = '2026-01-01T00:00:00Z' RETURNING 1")
        query(store, "UPDATE lease SET holder = 'another', token = token + 1, expires_at = 'infinity' RETURNING 1")
        os.kill(sleeper, signal.SIGCONT)
        assert children.ended(sleeper) == 0

        got = Receivers(tmp_path)["ops"]
        assert len(got.got) == 2
        assert len(got.every) == 3, "it sends what it had taken, and takes nothing more"
        assert query(store, "SELECT DISTINCT state, ended_at < '2026-01-02T00:00:00Z' FROM alert_message") == [
            ("sent", True)
        ]
