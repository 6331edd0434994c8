"""A record is read by two clocks: as it was by the source's, and as the hub had it by its own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.sync import records
from tests.shop import query
from tests.streams import INVENTORY
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry

MARCH = "2026-03-05T08:00:00.000Z"
APRIL = datetime(2026, 4, 1, tzinfo=UTC)


def now(store: Store) -> datetime:
    """The hub's clock: that of its database."""
    found: datetime = query(store, "SELECT clock_timestamp()")[0][0]
    return found


def stock(store: Store, **clocks: Any) -> int | None:
    """How many the hub says that there are; None if it has no such record then."""
    try:
        (row,) = records.look_up(store, INVENTORY, "CHEST", **clocks)
    except NotFound:
        return None
    return int(row["quantity_on_stock"])


def levels(**fields: Any) -> bytes:
    return entry(**{"id": "r-1", "sku": "CHEST", "availableQuantity": 1, "lastModifiedAt": MARCH, **fields})


def test_a_fix_of_today_is_not_what_was_known_before_it(store: Store) -> None:
    """March was wrong in the hub's eyes until today; whoever decided by it then decided by nothing."""
    hub = Triage(store)
    hub.sync(levels(quantityOnStock=-377))
    before = now(store)
    hub.edit(hub.items()[0], quantityOnStock=5)
    hub.replay()

    assert stock(store, at=APRIL) == 5
    assert stock(store, at=APRIL, known_at=before) is None
    assert stock(store, known_at=before) is None
    assert stock(store, at=APRIL, known_at=now(store)) == stock(store, known_at=now(store)) == 5


def test_a_version_is_known_from_its_load_to_that_of_the_next(store: Store) -> None:
    """The source's own times say the contrary: the second version is of March, and was read late."""
    hub, known = Triage(store), []
    for version, quantity in ((1, 10), (2, 20), (3, 30)):
        known.append(now(store))
        modified = datetime(2026, 1, version, tzinfo=UTC).isoformat().replace("+00:00", "Z")
        hub.sync(levels(version=version, quantityOnStock=quantity, lastModifiedAt=modified))
    known.append(now(store))

    assert [stock(store, known_at=at) for at in known] == [None, 10, 20, 30]
    assert [stock(store, at=APRIL, known_at=at) for at in known] == [None, 10, 20, 30]
    assert stock(store, at=datetime(2026, 1, 2, 12, tzinfo=UTC), known_at=known[1]) == 10
    assert stock(store, at=datetime(2026, 1, 2, 12, tzinfo=UTC), known_at=known[3]) == 20


def test_between_two_versions_there_is_no_instant_without_one(store: Store) -> None:
    """The old one ends a moment before the new one begins: the row is moved, and then written."""
    hub = Triage(store)
    hub.sync(levels(version=1, quantityOnStock=10))
    hub.sync(levels(version=2, quantityOnStock=20))
    ((ended, begun),) = query(
        store, "SELECT h.superseded_at, t.known_at FROM inventory_history h JOIN inventory t USING (integration, id)"
    )

    assert ended < begun
    assert stock(store, known_at=ended + (begun - ended) / 2) == 10


def test_a_record_under_another_key_is_gone_from_the_old_one(store: Store) -> None:
    hub = Triage(store)
    hub.sync(levels(version=1, quantityOnStock=10))
    before = now(store)
    hub.sync(levels(version=2, quantityOnStock=20, sku="TRUNK"))

    assert stock(store, known_at=before) == 10
    assert stock(store, known_at=now(store)) is None


def test_what_the_hub_did_not_have_is_told_with_when_it_had_it(store: Store) -> None:
    Triage(store).sync(levels(quantityOnStock=3))

    with pytest.raises(
        NotFound, match=r"did not have 'CHEST' of commercetools.inventory at 2026-04-01.* It first knew it at"
    ):
        records.look_up(store, INVENTORY, "CHEST", known_at=APRIL)


def test_rows_from_before_the_column_have_the_time_of_their_batch(store: Store) -> None:
    """After an upgrade; and, where the batch is deleted, the source's time: the hub cannot have known it earlier."""
    Triage(store).sync(levels(quantityOnStock=3))
    query(store, "UPDATE inventory SET known_at = NULL RETURNING 1")
    query(store, "UPDATE sync_batch SET loaded_at = '2026-05-01Z' RETURNING 1")
    by_batch = [stock(store, known_at=APRIL + timedelta(days=days)) for days in (0, 31)]
    query(store, "DELETE FROM sync_run RETURNING 1")

    assert by_batch == [None, 3]
    assert stock(store, known_at=APRIL) == 3
