"""The overview as a page shows it: what needs a person, the systems, and each stream with its last runs. Eight statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from crossdock.db.database import Store, Work
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.events.dead_letters.repository import CauseCount as DeadLetterCause
from crossdock.integrations import repository as integrations
from crossdock.integrations.repository import System
from crossdock.maintenance.alerting import needs as alerting
from crossdock.observability import decisions
from crossdock.observability.alerts import Alert
from crossdock.observability.decisions import Decision, DecisionKind
from crossdock.sync import ledger, watermarks
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine.repository import CauseCount

#: How many open alerts and open decisions are named (one more is read, to say that there are more), and how many runs of each stream.
MOST, RUNS = 20, 30
#: Over how long the outcomes of rows are added up.
PERIOD = timedelta(hours=24)


class Dashboard(msgspec.Struct, frozen=True):
    #: Those whose causes are not listed beside them, the gravest first.
    alerts: Sequence[Alert]
    #: How many alerts are open, as the page of the alerts counts them; no more than `needs.MOST` are counted.
    open_alerts: int
    decisions: Sequence[Decision]
    quarantine: Sequence[CauseCount]
    dead_letters: Sequence[DeadLetterCause]
    systems: Sequence[System]
    #: Stream ID → its last runs, oldest first.
    runs: Mapping[str, Sequence[Run]]
    #: Stream ID → the instant before which every change is in the hub.
    complete_to: Mapping[str, datetime | None]
    #: How many runs ended within `PERIOD`, and what became of their rows.
    ended: int
    rows: Counts


def needs(store: Store) -> int:
    """
    Count what needs a person, as the overview lists it: alerts, decisions, and causes of what was rejected or failed for good.

    Raises:
        StoreUnavailable: the hub's database cannot be reached.

    """
    with store.transaction() as work:
        found, _ = _needs(work)
        return sum(map(len, found.values()))


def _needs(work: Work) -> tuple[dict[str, Sequence[Any]], int]:
    """Read what needs a person, by the fields of `Dashboard`, and how many alerts are open."""
    asked, rejected, dead = (
        decisions.find(work, limit=MOST + 1),
        quarantine.causes(work, values=0),
        dead_letters.causes(work),
    )
    is_open = alerting.open_alerts(work)
    found = alerting.without_listed(
        is_open,
        subscribers={cause.subscriber for cause in dead},
        streams={cause.stream for cause in rejected},
        has_waiting_orders=any(each.kind is DecisionKind.STEP for each in asked),
    )
    listed: dict[str, Sequence[Any]] = {
        "alerts": found[: MOST + 1],
        "decisions": asked,
        "quarantine": rejected,
        "dead_letters": dead,
    }
    return listed, len(is_open)


def read(store: Store, streams: Sequence[tuple[str, int]]) -> Dashboard:
    """
    Read what the overview shows of *streams* (ID and number of shards).

    Raises:
        StoreUnavailable: the hub's database cannot be reached.

    """
    with store.transaction() as work:
        ended, rows = ledger.totals(work, PERIOD)
        listed, open_alerts = _needs(work)
        return Dashboard(
            **listed,
            open_alerts=open_alerts,
            systems=integrations.systems(work),
            runs=ledger.latest_of_streams(work, [stream for stream, _ in streams], limit=RUNS),
            complete_to=watermarks.complete_to_all(work, streams),
            ended=ended,
            rows=rows,
        )
