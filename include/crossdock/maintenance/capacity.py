"""Room: volumes that fill up, and a database that grows too fast."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path

from crossdock.db.database import Work
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

_GB = 1e9
#: An open alert closes with this much more room: a value at its limit would open and close it all the time.
_CLOSES_AT = 1.2
_WINDOW = timedelta(days=1)
_SAMPLE_EVERY = timedelta(hours=1)
_DATABASE = "the hub's database"

#: Not to be seen by every role; where it is on another machine, the path says nothing.
_DATA_DIRECTORY = b"SELECT setting, host(inet_server_addr()) FROM pg_settings WHERE name = 'data_directory'"

#: Two processes at a time may both find that a sample is due; one more does no harm.
_SAMPLE = b"""
INSERT INTO database_size (size_bytes)
SELECT pg_database_size(current_database())
 WHERE NOT EXISTS (SELECT FROM database_size WHERE at > clock_timestamp() - %(every)s)
ON CONFLICT DO NOTHING
"""

_FORGET = b"DELETE FROM database_size WHERE at < clock_timestamp() - %(window)s"

_GROWTH = b"""
SELECT pg_database_size(current_database()) - size_bytes, pg_database_size(current_database())
  FROM database_size ORDER BY at LIMIT 1
"""

#: With the indexes, and with the partitions one by one.
_LARGEST = b"""
SELECT relname, pg_total_relation_size(oid) FROM pg_class
 WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace
 ORDER BY 2 DESC LIMIT %(limit)s
"""


def low_disks(work: Work, folders: Iterable[Path], least_percent: float) -> dict[str, Found]:
    """Find the volumes of *folders*, and of a database on this machine, with less than *least_percent* free space."""
    is_open = alerts.open_of(work, Kind.DISK_LOW)
    found = {}
    for folder in (*folders, *_data_directory(work)):
        place = _existing(folder)
        usage, subject = shutil.disk_usage(place), str(folder)
        percent = 100 * usage.free / usage.total
        if percent < least_percent * (_CLOSES_AT if subject in is_open else 1):
            found[subject] = Found(
                f"The volume of {folder} has {usage.free / _GB:,.1f} GB free of {usage.total / _GB:,.1f} GB ({percent:.0f} %)"
            )
    return found


def _existing(folder: Path) -> Path:
    """Find the part of the path that exists: the hub makes the rest when it first writes there."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _data_directory(work: Work) -> list[Path]:
    row = work.execute(_DATA_DIRECTORY).fetchone()
    if row is None or (row[1] and not ip_address(row[1]).is_loopback):
        return []
    return [path for path in [Path(row[0])] if path.exists()]


def growth(work: Work, most_gb_per_day: float) -> dict[str, Found]:
    """Find out whether the database has grown by more than *most_gb_per_day* within a day, and name its largest tables."""
    work.execute(_FORGET, {"window": _WINDOW})
    work.execute(_SAMPLE, {"every": _SAMPLE_EVERY})
    grown_bytes, size_bytes = work.execute(_GROWTH).fetchone() or (0, 0)
    limit_bytes = most_gb_per_day * _GB / (_CLOSES_AT if _DATABASE in alerts.open_of(work, Kind.DATABASE_GROWTH) else 1)
    if grown_bytes <= limit_bytes:
        return {}
    largest = work.execute(_LARGEST, {"limit": alerts.EXAMPLES}).fetchall()
    message = f"The hub's database has grown by {grown_bytes / _GB:,.1f} GB within a day, to {size_bytes / _GB:,.1f} GB"
    return {_DATABASE: Found(message, examples=tuple(f"{name}: {size / _GB:,.2f} GB" for name, size in largest))}
