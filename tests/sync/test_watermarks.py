"""The watermark stands at the lowest point that is still open, by what the ledger says of pages and ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from crossdock.core.instants import utc_text
from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.sync import landing, ledger, watermarks
from crossdock.sync.landing import Page
from crossdock.sync.model import Mode, SyncRequest, Window
from crossdock.sync.source import Axis, Cursor, Range
from tests.shop import query

KEY = leases.LeaseKey("commercetools", "inventory")
OPENING = datetime(2026, 11, 21, tzinfo=UTC)


def at(minute: int) -> datetime:
    return OPENING + timedelta(minutes=minute)


@pytest.fixture
def run_id(store: Store) -> str:
    """A delta of an hour in two ranges of half an hour, over a watermark at its beginning; two pages landed in each."""
    with store.transaction() as work:
        run = ledger.start(work, KEY, SyncRequest(), mode=Mode.DELTA)
        work.execute(b"INSERT INTO watermark VALUES ('commercetools', 'inventory', 'all', %s, 'before')", [at(0)])
        bounds = (0, 30, 60)
        parts = [
            Range(range_no=no, axis=Axis.TIME, low=utc_text(at(bounds[no])), high=utc_text(at(bounds[no + 1])))
            for no in (0, 1)
        ]
        landing.add_ranges(work, run.run_id, parts)
        for range_no, page_no, minute in ((0, 0, 10), (0, 1, 20), (1, 0, 40), (1, 1, 50)):
            cursor = Cursor(at(minute), "id")
            page = Page(range_no=range_no, page_no=page_no, records=1, lines=0, path="p", cursor=cursor)
            landing.add_pages(work, run.run_id, [(page, 2)])
    return run.run_id


def advance(store: Store, run_id: str, *, loaded: str, read: tuple[int, ...] = (0, 1)) -> datetime | None:
    with store.transaction() as work:
        for range_no in read:
            landing.mark_ranges_read(work, run_id, [range_no])
        work.execute(f"UPDATE landed_page SET loaded = true WHERE (range_no, page_no) IN ({loaded})".encode())
        watermarks.advance(work, KEY, run_id, Window(at(0), at(60)))
        return watermarks.read(work, KEY)


@pytest.mark.parametrize(
    ("loaded", "read", "reached"),
    [
        ("(-1, -1)", (0, 1), at(0)),
        ("(0, 0)", (0, 1), at(10)),
        ("(0, 1)", (0, 1), at(0)),
        ("(1, 0), (1, 1)", (0, 1), at(0)),
        ("(0, 0), (0, 1)", (0, 1), at(30)),
        ("(0, 0), (0, 1), (1, 0)", (0, 1), at(40)),
        ("(0, 0), (0, 1), (1, 1)", (0, 1), at(30)),
        ("(0, 0), (0, 1), (1, 0), (1, 1)", (0, 1), at(60)),
        ("(0, 0), (0, 1), (1, 0), (1, 1)", (1,), at(20)),
        ("(0, 0), (0, 1), (1, 0), (1, 1)", (0,), at(50)),
    ],
)
def test_the_watermark_stops_before_the_first_page_that_is_not_loaded_or_not_read(
    store: Store, run_id: str, loaded: str, read: tuple[int, ...], reached: datetime
) -> None:
    """All landed pages of a range may be loaded while the source has more of it."""
    assert advance(store, run_id, loaded=loaded, read=read) == reached


def test_keys_that_are_still_to_be_read_hold_the_watermark(store: Store, run_id: str) -> None:
    """Open records have no place in the window: any of them may lie at its beginning."""
    with store.transaction() as work:
        landing.add_ranges(work, run_id, [Range(range_no=2, axis=Axis.KEYS, field="id", keys=("a",))])

    assert advance(store, run_id, loaded="(0, 0), (0, 1), (1, 0), (1, 1)") == at(0)


def test_the_watermark_never_goes_back(store: Store, run_id: str) -> None:
    query(store, "UPDATE watermark SET reached = %s RETURNING 1", at(90))

    assert advance(store, run_id, loaded="(0, 0), (0, 1), (1, 0), (1, 1)") == at(90)
