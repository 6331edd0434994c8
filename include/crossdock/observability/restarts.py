"""
Which processes of a local stack were started again after they had ended or were silent, in a file of the stack's home.

A file and not a table: the hub's database may be what was restarted. Its supervisor writes it; the alarms read it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

#: How many of a process are kept.
KEPT = 20
#: Restarts are counted over so long; a process that has stayed up for it is well.
WINDOW = timedelta(minutes=10)
#: From so many restarts within the window on, there is an alert.
ALARM_FROM = 3


@dataclass(frozen=True)
class Restart:
    at: datetime
    #: In words.
    why: str


@dataclass(frozen=True)
class Restarts:
    """The restarts of one process since the last `up` of a stopped stack."""

    #: All of them, also those that are no longer kept.
    number: int = 0
    #: The latest, in order.
    latest: tuple[Restart, ...] = ()

    def with_one(self, restart: Restart) -> Restarts:
        return Restarts(self.number + 1, (*self.latest, restart)[-KEPT:])


def file_in(home: Path) -> Path:
    return home / "restarts.json"


def local_file() -> Path | None:
    """Find the file of the local stack to which this process belongs; None elsewhere."""
    home = os.environ.get("HUB_HOME")
    return file_in(Path(home)) if home else None


def read(file: Path) -> dict[str, Restarts]:
    """Read the restarts by process; empty where there were none, or the file cannot be read."""
    try:
        found = json.loads(file.read_text())
        return {
            name: Restarts(
                each["number"],
                tuple(Restart(datetime.fromisoformat(one["at"]), str(one["why"])) for one in each["latest"]),
            )
            for name, each in found.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def as_json(restarts: Mapping[str, Restarts]) -> dict[str, object]:
    """Describe *restarts* as `read` expects them."""
    return {
        name: {
            "number": each.number,
            "latest": [{"at": one.at.astimezone(UTC).isoformat(), "why": one.why} for one in each.latest],
        }
        for name, each in restarts.items()
    }


def alarming(latest: Sequence[Restart], now: datetime) -> int:
    """
    Count the restarts within `WINDOW` of a process that does not stay up; 0 of one that is well.

    It does not stay up from the third restart within a window on, until it has stayed up for one. Counted back from the
    last restart and not from *now*: the alert stays open over the window in which it is seen whether the last one helped.
    """
    if not latest or now - latest[-1].at >= WINDOW:
        return 0
    recent = sum(latest[-1].at - one.at <= WINDOW for one in latest)
    return recent if recent >= ALARM_FROM else 0
