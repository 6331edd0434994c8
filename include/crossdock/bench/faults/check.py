"""Compare the records of the load with the hub, when all is quiet: what is lost, what is doubled."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg

from crossdock.bench.faults.load import Change
from crossdock.bench.faults.stage import SYSTEM, Stage
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.webhooks_in.service import SOURCE

_QUIET_TIMEOUT_S = 90.0

_STORED = "SELECT event_id FROM event WHERE source = %s AND event_id = ANY(%s)"
_VERSIONS = "SELECT id, version FROM inventory"
_DOUBLED = """
SELECT count(*) FROM (
    SELECT 1 FROM event WHERE type = %s AND stored_at >= to_timestamp(%s) GROUP BY source, subject, data::jsonb->>'version'
    HAVING count(*) > 1) AS twice
"""
_DEAD = "SELECT count(*) FROM dead_letter WHERE state = 'dead' AND first_seen_at >= to_timestamp(%s)"
_ALERTS = "SELECT DISTINCT kind || ' ' || subject FROM alert WHERE at >= to_timestamp(%s) ORDER BY 1"


#: Reads rows of the hub's database.
Ask = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Balance:
    acknowledged: int
    refused: int
    changes: int
    lost_webhooks: int
    lost_changes: int
    doubled: int
    dead_letters: int
    failed_runs: int
    alerts: tuple[str, ...]


def balance(stage: Stage, began: float) -> Balance:
    """Wait until what the load made since *began* is in the hub, at most a while, and count what is not."""
    sent = [one for one in stage.load.sent if one.at >= began]
    taken = [one.delivery_id for one in sent if one.is_taken]
    changes = [change for change in stage.load.changes if change.at >= began]
    deadline = time.monotonic() + _QUIET_TIMEOUT_S
    while (missing := lost_changes(stage.ask, changes)) and time.monotonic() < deadline:
        time.sleep(1)
    for change in missing:
        stage.say(
            f"    lost: {change.sku} in version {change.version}, of {change.at - began:.1f} s after the fault began"
        )
    ((dead,),) = stage.ask(_DEAD, began)
    return Balance(
        acknowledged=len(taken),
        refused=len(sent) - len(taken),
        changes=len(changes),
        lost_webhooks=lost_webhooks(stage.ask, taken),
        lost_changes=len(missing),
        doubled=doubled_changes(stage.ask, began),
        dead_letters=dead,
        failed_runs=_failed_runs(stage, began),
        alerts=tuple(alert for (alert,) in stage.ask(_ALERTS, began)),
    )


def lost_webhooks(ask: Ask, taken: Sequence[str]) -> int:
    """Count the acknowledged deliveries that are not stored."""
    stored = {event_id for (event_id,) in ask(_STORED, f"{SOURCE}{SYSTEM}", list(taken))}
    return len(set(taken) - stored)


def lost_changes(ask: Ask, changes: Sequence[Change]) -> list[Change]:
    """Find the changes that the hub has in no version as new; all of them while its database is away."""
    try:
        versions: dict[str, int] = dict(ask(_VERSIONS))
    except psycopg.Error:
        return list(changes)
    return [change for change in changes if versions.get(change.id, -1) < change.version]


def doubled_changes(ask: Ask, began: float) -> int:
    """Count the versions of a record whose change was published more than once."""
    ((doubled,),) = ask(_DOUBLED, STOCK_CHANGED, began)
    return int(doubled)


def _failed_runs(stage: Stage, began: float) -> int:
    since = datetime.fromtimestamp(began, UTC).isoformat()
    found = stage.request(
        "GET", "/dags/~/dagRuns", params={"state": "failed", "end_date_gte": since, "limit": 1}, timeout=30
    )
    return int(found["total_entries"])
