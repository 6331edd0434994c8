"""Volumes that fill up and a database that grows too fast are alerts, before anything fails."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from crossdock.db.database import Store
from crossdock.maintenance import capacity
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from tests.shop import query


class Usage(NamedTuple):
    """What `shutil.disk_usage` says of a volume."""

    total: float
    used: float
    free: float


def low(store: Store, folder: Path, least_percent: float = 10) -> dict[str, Found]:
    """Check, and keep the alerts; return those about *folder*."""
    with store.question() as work:
        found = capacity.low_disks(work, [folder], least_percent)
    with store.transaction() as work:
        alerts.hold(work, Kind.DISK_LOW, found)
    return {subject: what for subject, what in found.items() if subject == str(folder)}


def grown(store: Store, gb_per_day: float) -> dict[str, Found]:
    """The same for the database."""
    with store.question() as work:
        found = capacity.growth(work, gb_per_day)
    with store.transaction() as work:
        alerts.hold(work, Kind.DATABASE_GROWTH, found)
    return found


def test_a_volume_with_little_room_is_an_alert_and_closes_with_more_than_its_limit(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the limit it would open and close with every page that lands."""

    def free(percent: float) -> bool:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100e9, (100 - percent) * 1e9, percent * 1e9))
        return bool(low(store, tmp_path))

    assert [free(11), free(9), free(11), free(12.1), free(11)] == [False, True, True, False, False]


def test_the_message_of_a_low_volume_says_how_much_is_left(store: Store, tmp_path: Path) -> None:
    """Of the volume on which the folder will be: it need not exist yet."""
    (found,) = low(store, tmp_path / "landing" / "inventory", least_percent=100).values()

    assert "GB free of" in found.message


def test_the_database_s_own_volume_is_watched_on_this_machine(store: Store, tmp_path: Path) -> None:
    """It is the first to fill up, and nothing is loaded once it has."""
    ((directory,),) = query(store, "SHOW data_directory")
    with store.question() as work:
        found = capacity.low_disks(work, [tmp_path], 100)

    assert set(found) == {str(tmp_path), str(directory)}


def test_a_database_that_grows_too_fast_is_an_alert_with_its_largest_tables(store: Store) -> None:
    assert grown(store, 0.001) == {}
    with store.transaction() as work:
        work.execute(b"CREATE TABLE landfill AS SELECT n, md5(n::text) FROM generate_series(1, 50000) AS n")
    query(store, "UPDATE database_size SET at = at - interval '5 hours' RETURNING 1")

    (found,) = grown(store, 0.001).values()

    assert "The hub's database has grown by 0." in found.message
    assert found.examples[0].startswith("landfill: ")
    assert len(found.examples) == 3
    assert grown(store, 1) == {}


def test_what_was_a_day_ago_counts_no_more(store: Store) -> None:
    """A database of a year is large, and that is no news."""
    grown(store, 1)
    query(store, "UPDATE database_size SET size_bytes = 0, at = at - interval '25 hours' RETURNING 1")

    assert grown(store, 0.001) == {}
    assert query(store, "SELECT count(*) FROM database_size") == [(1,)]
