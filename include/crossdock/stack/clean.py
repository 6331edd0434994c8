"""Clean a local stack: what housekeeping and the DAG `clean_up` remove by themselves, at once, with figures."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from crossdock.core.settings import settings
from crossdock.stack import airflow
from crossdock.stack.home import home

if TYPE_CHECKING:
    from crossdock.stack.lifecycle import Progress, Stack


class Cleaned(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of thing that was removed, or would be."""

    #: Where it is: "hub", "Airflow's tables", "task logs", "process logs", "volume".
    place: str
    what: str
    removed: int
    #: There may be more: only the first are counted by a dry run.
    at_least: bool = False
    #: Bytes before and after; None for single kinds of rows, whose space PostgreSQL uses again.
    bytes_before: int | None = None
    bytes_after: int | None = None


def clean(running: Stack, *, dry_run: bool, progress: Progress) -> list[Cleaned]:
    """
    Remove what is past its time; with *dry_run* only count it. Safe beside a stack at work, and to repeat.

    Raises:
        StoreUnavailable, LandingUnavailable, CleaningFailed: what was removed until then stays removed.

    """
    free_before = _free_bytes()
    found: list[Cleaned] = []
    progress("Cleaning the hub's tables and its landing")
    found += _hub(running, dry_run=dry_run)
    progress("Cleaning Airflow's tables")
    tables, before = _airflow_tables(running, dry_run=dry_run)
    found += tables
    progress("Cleaning logs")
    found += _logs(before, dry_run=dry_run)
    found.append(Cleaned(place="volume", what="free", removed=0, bytes_before=free_before, bytes_after=_free_bytes()))
    return found


def _hub(running: Stack, *, dry_run: bool) -> Iterator[Cleaned]:
    from crossdock.app.airflow.delivery_worker import housekeeping  # noqa: PLC0415  only a cleaning needs them
    from crossdock.app.services import services  # noqa: PLC0415
    from crossdock.app.subscribers import subscribers  # noqa: PLC0415
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.maintenance import retention  # noqa: PLC0415
    from crossdock.sync.landing import Landing  # noqa: PLC0415

    now, landing = datetime.now(UTC), home() / "landing"
    before_bytes, config = _size(landing), housekeeping()
    with Store(running.hub_dsn) as store:
        if dry_run:
            for what, number in retention.expired(store, config.keep, now).items():
                yield Cleaned(place="hub", what=what, removed=number, at_least=number >= retention.SEEN)
            return
        deleted: Counter[str] = Counter()
        keep = config.keep
        known = subscribers(services())
        for _ in retention.purge_expired(
            store, Landing(str(landing)), keep, subscribers=known, now=now, deleted=deleted
        ):
            pass
    for what, number in sorted(deleted.items()):
        yield Cleaned(place="hub", what=what, removed=number)
    yield Cleaned(place="hub", what="landing files", removed=0, bytes_before=before_bytes, bytes_after=_size(landing))


def _airflow_tables(running: Stack, *, dry_run: bool) -> tuple[list[Cleaned], datetime]:
    from crossdock.app.airflow import metadata_cleanup  # noqa: PLC0415  only a cleaning needs it

    done = metadata_cleanup.run(settings().airflow_kept_days, dry_run=dry_run, environment=running.environment())
    rows = [
        Cleaned(place="Airflow's tables", what=table, removed=number) for table, number in done.rows.items() if number
    ]
    return rows, done.before


def _logs(before: datetime, *, dry_run: bool) -> Iterator[Cleaned]:
    from crossdock.maintenance import process_logs, task_logs  # noqa: PLC0415  only a cleaning needs them

    root = airflow.airflow_home() / "logs"
    size = _size(root)
    runs = task_logs.clean(root, before, dry_run=dry_run)
    after = size - runs.bytes if dry_run else _size(root)
    yield Cleaned(place="task logs", what="runs and days", removed=runs.folders, bytes_before=size, bytes_after=after)
    places = airflow.process_logs()
    size = process_logs.size_of(places)
    if not dry_run:
        process_logs.rotate(places)
    yield Cleaned(
        place="process logs", what="rotated", removed=0, bytes_before=size, bytes_after=process_logs.size_of(places)
    )


def _free_bytes() -> int:
    return shutil.disk_usage(home()).free


def _size(folder: Path) -> int:
    """Bytes on disk below *folder*; files come and go meanwhile."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue
    return total
