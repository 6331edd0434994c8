"""Contacts become customers: all of them, what changed, and named ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.hubspot import HubSpot
from crossdock.connectors.hubspot.customers import CUSTOMERS
from crossdock.db.database import Store
from crossdock.http.model import Limits
from crossdock.sandbox.hubspot.crm import FakeCrm
from crossdock.sync import Stream, Systems
from crossdock.sync.landing import Landing
from crossdock.sync.model import SyncRequest
from tests.connectors.declarative.worlds import sync_all
from tests.shop import query

STREAM = CUSTOMERS.of("crm_eu")


@pytest.fixture
def crm() -> Iterator[FakeCrm]:
    """More contacts than a page has, and IDs of two lengths."""
    with FakeCrm(seed=3, count=250, first_id=51) as system:
        yield system


def systems_of(crm: FakeCrm, store: Store, folder: Path, **options: Any) -> Systems:
    source = HubSpot(crm.url, crm.token, name="crm_eu", limits=Limits(attempts=2, longest_wait_s=0.1), **options)
    return Systems(source=source, store=store, landing=Landing(str(folder)))


@pytest.fixture
def systems(crm: FakeCrm, store: Store, tmp_path: Path) -> Systems:
    return systems_of(crm, store, tmp_path)


def emails(store: Store) -> set[str]:
    return {email for (email,) in query(store, "SELECT email FROM customers")}


def delta(stream: Stream, systems: Systems) -> Any:
    return sync_all(stream, systems, SyncRequest()).counts


def test_a_full_sync_has_every_contact_as_a_customer(crm: FakeCrm, systems: Systems) -> None:
    counts = sync_all(STREAM, systems).counts

    assert (counts.inserted, counts.rejected) == (250, 0)
    first = crm.contacts[0]
    columns = "email, first_name, last_name, locale, external_id, to_char(last_modified_at AT TIME ZONE 'UTC', 'HH24:MI:SS.MS')"
    assert query(systems.store, f"SELECT {columns} FROM customers WHERE id = '{first.id}'") == [
        (
            first.properties["email"],
            first.properties["firstname"],
            first.properties["lastname"],
            first.properties["hs_language"],
            None,
            first.updated_at[11:23],
        )
    ]


def test_a_second_sync_brings_what_changed_and_no_more(crm: FakeCrm, systems: Systems) -> None:
    sync_all(STREAM, systems)
    for contact in crm.contacts[40:180]:
        crm.state.update(contact, {"lastname": "Byron"})
    crm.state.create({"email": "ada@crm.example"})

    counts = delta(STREAM, systems)

    assert (counts.inserted, counts.updated) == (1, 140)
    assert query(systems.store, "SELECT count(*) FROM customers WHERE last_name = 'Byron'") == [(140,)]


def test_a_change_that_the_search_saw_too_late_is_read_by_the_next_sync(crm: FakeCrm, systems: Systems) -> None:
    """The window of each sync begins before the end of the last one."""
    sync_all(STREAM, systems)
    crm.state.search_lag_s = 3_600
    crm.state.update(crm.contacts[7], {"lastname": "Byron"})
    assert delta(STREAM, systems).updated == 0

    crm.state.search_lag_s = 0

    assert delta(STREAM, systems).updated == 1


def test_contacts_are_read_by_their_addresses(systems: Systems) -> None:
    """With capitals, and those that do not exist are none."""
    keys = ("Contact00003@CRM.example", "contact00201@crm.example", "nobody@crm.example")

    counts = sync_all(STREAM, systems, SyncRequest(keys=keys)).counts

    assert (counts.inserted, counts.rejected) == (2, 0)
    assert emails(systems.store) == {"contact00003@crm.example", "contact00201@crm.example"}


def test_more_named_contacts_than_a_batch_takes_are_read_in_several(crm: FakeCrm, systems: Systems) -> None:
    keys = tuple(contact.properties["email"] for contact in crm.contacts[:230])

    assert sync_all(STREAM, systems, SyncRequest(keys=keys)).counts.inserted == 230


def test_a_contact_without_an_address_is_rejected_and_the_others_are_not(crm: FakeCrm, systems: Systems) -> None:
    """A person decides: a customer of the hub has an address."""
    crm.state.update(crm.contacts[3], {"email": ""})

    counts = sync_all(STREAM, systems).counts

    assert (counts.inserted, counts.rejected) == (249, 1)


def test_a_record_that_lacks_what_each_has_is_rejected_alone(crm: FakeCrm, systems: Systems) -> None:
    crm.state.spoil(crm.contacts[3].id)

    counts = sync_all(STREAM, systems).counts

    assert (counts.inserted, counts.rejected) == (249, 1)


def test_a_changed_address_is_the_same_customer(crm: FakeCrm, systems: Systems) -> None:
    sync_all(STREAM, systems)
    crm.state.update(crm.contacts[0], {"email": "New@CRM.example"})

    counts = delta(STREAM, systems)

    assert (counts.inserted, counts.updated) == (0, 1)
    assert "new@crm.example" in emails(systems.store)
    assert "contact00000@crm.example" not in emails(systems.store)


def test_the_business_key_of_another_property_is_the_external_id(crm: FakeCrm, store: Store, tmp_path: Path) -> None:
    """By which the customer of the shop and that of the CRM are the same."""
    crm.state.update(crm.contacts[0], {"customer_number": "C-17"})
    systems = systems_of(crm, store, tmp_path, key_property="customer_number")
    sync_all(STREAM, systems)

    assert query(store, "SELECT external_id FROM customers WHERE email = 'contact00000@crm.example'") == [("C-17",)]


def test_nothing_is_reported_as_drift(systems: Systems) -> None:
    """The contract of the stream has every field that comes."""
    sync_all(STREAM, systems)

    assert query(systems.store, "SELECT drift FROM sync_run") == [(None,)]
