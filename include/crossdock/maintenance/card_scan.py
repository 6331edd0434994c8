"""
Scan what is stored for card data, an hour's part at a time: that none came in is checked and not believed.

Each hour of the day has its own 24th of every table, so that every row is read once a day, no run needs to know of the one
before, and no hour has much to do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import datetime, timedelta

from crossdock.core import exact_json
from crossdock.core.card_data import find_card_data
from crossdock.core.counted import counted
from crossdock.core.log import logger
from crossdock.db.database import Store
from crossdock.maintenance import card_scan_repository
from crossdock.maintenance.card_scan_repository import Column
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

log = logger(__name__)

_HOURS = 24
#: Read in one step: 2 MiB and what its rows have elsewhere.
_BLOCKS = 256
#: A day, and the hour in which the row was read.
_UNSEEN = timedelta(hours=26)


def scan(store: Store, now: datetime) -> Iterator[None]:
    """
    Scan this hour's part of every table, a short query per step, and open an alert for each column with card data.

    An alert closes when the scans of a day have not seen its cause again. May be interrupted at any step: the order of
    columns is another one each time.

    Raises:
        StoreUnavailable: transient; the next hour continues.

    """
    with store.question() as work:
        columns = card_scan_repository.columns(work)
    random.shuffle(columns)
    for column in columns:
        number = 0
        for first, end in _parts(column.blocks, now.hour):
            with store.question() as work:
                values = list(card_scan_repository.candidates(work, column, first, end))
            number += sum(_has_card_data(column, value) for value in values)
            yield
        if number:
            _open_alert(store, column, number)
    with store.transaction() as work:
        alerts.close_unseen(work, Kind.CARD_DATA_STORED, before=now - _UNSEEN)


def _parts(blocks: int, hour: int) -> Iterator[tuple[int, int]]:
    """Cut the part of *hour* into steps: first block, and the one behind the last."""
    end = blocks * (hour + 1) // _HOURS
    for first in range(blocks * hour // _HOURS, end, _BLOCKS):
        yield first, min(first + _BLOCKS, end)


def _has_card_data(column: Column, value: str) -> bool:
    """Search a value as what it is: JSON if it can be read as such, and else the text of a field."""
    try:
        document = exact_json.decode(value)
    except (ValueError, RecursionError):
        document = value
    return any(find_card_data({column.name: document}))


def _open_alert(store: Store, column: Column, number: int) -> None:
    """Name the place and never the value."""
    subject = f"{column.table}.{column.name}"
    message = (
        f"Card data are stored in {subject}: {counted(number, 'row')} of the part that was read. "
        "Delete them there and at their source, and find out how they came in"
    )
    with store.transaction() as work:
        is_new = alerts.add(work, Kind.CARD_DATA_STORED, subject, Found(message, records=number))
    if is_new:
        log.error("Alert: %s", message)
