"""Customers, from commercetools and from a system that a file declares: one dataset, one set of rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from crossdock.connectors.commercetools import KIND
from crossdock.connectors.commercetools.customers import CUSTOMERS
from crossdock.connectors.declarative.streams import declared_stream
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems, extract, load, validate
from crossdock.sync.model import Report, SyncRequest
from crossdock.sync.stream import Stream
from crossdock.sync.validate_rows import validate_rows
from tests.shop import connect, query
from tests.sync.records import page

OF_SHOP = CUSTOMERS.of(KIND)
EXAMPLES = Path(__file__).parents[2] / "dags/integrations/examples"


def customer(**changes: object) -> bytes:
    record = {
        "id": "c-1",
        "version": 1,
        "createdAt": "2026-02-01T00:00:00.000Z",
        "lastModifiedAt": "2026-02-01T00:00:00.000Z",
        "email": "ada@example.com",
        "firstName": "Ada",
        "lastName": "Brown",
        "isEmailVerified": True,
        "addresses": [{"country": "DE", "city": "Berlin"}],
    }
    return json.dumps({name: value for name, value in {**record, **changes}.items() if value is not None}).encode()


def sync(stream: Stream, systems: Systems) -> Report:
    request = SyncRequest(full=True)
    return load(stream, systems, validate(stream, systems, extract(stream, systems, request)))


def test_every_customer_of_the_shop_is_in_the_hub_or_in_quarantine(systems: Systems) -> None:
    with FakeRetailer(seed=7, inventory=0, products=0, orders=0, customers=120, flaws=6) as shop:
        systems = replace(systems, source=connect(shop))
        check_customers(shop, systems)


def check_customers(shop: FakeRetailer, systems: Systems) -> None:
    report = sync(OF_SHOP, systems)

    at_source = len(list(shop.state.collection("customers").rows()))
    assert report.counts.read == at_source > 0
    assert query(systems.store, "SELECT count(*) FROM customers") == [(report.counts.inserted,)]
    assert report.counts.inserted + report.counts.rejected == at_source
    assert sync(OF_SHOP, systems).counts.unchanged == report.counts.inserted


def test_first_and_last_names_are_where_they_belong() -> None:
    """Once, two swapped lines stored one as the other, and nothing complained."""
    (row,) = validate_rows(OF_SHOP, [page(customer(firstName="Ada", lastName="Brown"))]).accepted.to_pylist()
    assert (row["first_name"], row["last_name"]) == ("Ada", "Brown")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"email": "ada(at)example.com"}, "email_is_well_formed"),
        ({"email": None}, "email_is_well_formed"),
        ({"lastName": "   "}, "last_name_is_not_blank"),
        ({"addresses": [{"country": "XX"}]}, "countries_are_known"),
        ({"addresses": [{"country": "DE"}, {"country": "Germany"}]}, "countries_are_known"),
    ],
)
def test_a_customer_that_breaks_a_rule_is_rejected_by_it(changes: dict[str, object], rule: str) -> None:
    (rejected,) = validate_rows(OF_SHOP, [page(customer(**changes))]).rejected
    assert [failure.rule for failure in rejected.failures] == [rule]


@pytest.mark.parametrize(
    "changes",
    [
        {"lastName": None, "firstName": None},
        {"addresses": []},
        {"addresses": [{"country": "XK"}]},
        {"email": "o'neill+news@sub.example.co.uk"},
        {"email": "用户@例え.jp"},
    ],
)
def test_a_customer_that_is_legal_is_accepted(changes: dict[str, object]) -> None:
    """Refusing a good record is as bad as accepting a bad one."""
    assert validate_rows(OF_SHOP, [page(customer(**changes))]).rejected == ()


def test_a_name_is_trimmed_and_its_lineage_says_so() -> None:
    (row,) = validate_rows(OF_SHOP, [page(customer(firstName="  Ada "))]).accepted.to_pylist()
    assert row["first_name"] == "Ada"
    assert json.loads(row["lineage"]) == {"first_name": {"was": "  Ada ", "by": ["trim"]}}


def test_a_declared_crm_fills_the_same_dataset_by_the_same_rules(tmp_path: Path) -> None:
    """One file is all that a second source takes."""
    path = tmp_path / "crm.yaml"
    path.write_text((EXAMPLES / "crm_contacts_rest.yaml").read_text())
    _, crm = declared_stream(path)
    good = {"id": "1", "version": 3, "updatedAt": "2026-02-01T00:00:00Z", "properties": {"email": "ada@example.com"}}
    bad = {**good, "id": "2", "properties": {"email": "nobody"}}

    content = validate_rows(crm, [page(json.dumps(good).encode(), json.dumps(bad).encode())])

    assert crm.id == "crm.customers"
    assert [row["email"] for row in content.accepted.to_pylist()] == ["ada@example.com"]
    assert [record.cause for record in content.rejected] == ["email_is_well_formed"]
