"""A backup that is not made any more is noticed while the disk still works."""

from __future__ import annotations

from datetime import timedelta

from crossdock.db.database import Store
from crossdock.maintenance import backups
from tests.shop import query

_A_DAY = timedelta(days=1)


def messages(store: Store, most: timedelta = _A_DAY) -> list[str]:
    with store.question() as work:
        return [found.message for found in backups.too_old(work, most).values()]


def test_an_old_backup_is_an_alert_where_an_age_is_set(store: Store) -> None:
    assert messages(store) == [], "a new hub has a day for its first one"

    query(store, "UPDATE installation SET created_at = '2026-01-01T00:00:00Z' RETURNING 1")
    assert messages(store) == ["There is no backup yet, since 2026-01-01 00:00 UTC"]
    assert messages(store, timedelta(0)) == []

    query(store, "UPDATE installation SET backed_up_at = '2026-02-01T03:00:00Z' RETURNING 1")
    assert messages(store) == ["The newest backup is of 2026-02-01 03:00 UTC"]

    query(store, "UPDATE installation SET backed_up_at = clock_timestamp() RETURNING 1")
    assert messages(store) == []
