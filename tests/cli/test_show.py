"""./hub show: a record as it is, or as it was."""

from __future__ import annotations

import json

from crossdock.db.database import Store
from tests.cli.conftest import Hub
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


def test_a_sku_in_two_warehouses_is_one_document(hub: Hub, store: Store) -> None:
    """Two documents, one after the other, are read by no tool."""
    Triage(store).sync(entry(), entry(id="another", supplyChannel={"typeId": "channel", "id": "berlin"}))

    ended = hub("show", "inventory", "SIDEBOARD-OAK-01")

    assert [row["supply_channel"] for row in json.loads(ended.out)] == ["munich", "berlin"]
    assert len(hub("show", "inventory", "SIDEBOARD-OAK-01", "--json").document["records"]) == 2


def test_a_later_version_in_quarantine_is_named(hub: Hub, store: Store) -> None:
    """A person who reads this record may otherwise sell what is gone."""
    Triage(store).sync(entry())
    Triage(store).sync(entry(version=4, restockableInDays=-1))

    ended = hub("show", "inventory", "SIDEBOARD-OAK-01")

    assert "Version 4 of 0b7c1d7e-sideboard came later and waits in quarantine as item 1" in " ".join(ended.err.split())
    assert "(restock_days_are_not_negative)" in ended.err


def test_a_time_before_the_first_version_of_a_record_is_reported(hub: Hub, store: Store) -> None:
    """It is no unknown sku, and not in quarantine."""
    Triage(store).sync(entry())

    there = hub("show", "inventory", "SIDEBOARD-OAK-01", "--as-of", "2026-11-21")
    before = hub("show", "inventory", "SIDEBOARD-OAK-01", "--as-of", "2026-01-01")
    unknown = hub("show", "inventory", "SIDEBOARD-OAK-02", "--as-of", "2026-01-01")

    assert (there.code, before.code, unknown.code) == (0, 1, 1)
    assert "did not exist at 2026-01-01T00:00:00.000Z. The first version" in before.text
    assert "2026-11-20T17:30:00.000Z" in before.text
    assert "The hub has no 'SIDEBOARD-OAK-02' of commercetools.inventory" in unknown.text


def test_a_record_is_shown_as_the_hub_had_it(hub: Hub, store: Store) -> None:
    """The source changed it in November 2026, and the hub learnt of it when it was loaded."""
    Triage(store).sync(entry())

    now = hub("show", "inventory", "SIDEBOARD-OAK-01", "--known-at", "2199-01-01")
    before = hub("show", "inventory", "SIDEBOARD-OAK-01", "--known-at", "2026-11-21")

    assert (now.code, before.code) == (0, 1)
    assert "The hub did not have 'SIDEBOARD-OAK-01' of commercetools.inventory" in before.text
