"""The registry and Airflow's connections: neither keeps what the other has not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import Conflict, NotFound
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.connection import Connection
from crossdock.integrations import service
from crossdock.integrations.actions.service import perform
from crossdock.integrations.model import CheckOutcome, TestRefused
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.chaos import children
from tests.shop import query

ADA = "airflow:ada"


class Book:
    """Airflow's connections, in a dictionary."""

    def __init__(self) -> None:
        self.kept: dict[str, Connection] = {}

    def get(self, connection_id: str) -> Connection | None:
        return self.kept.get(connection_id)

    def create(self, connection: Connection) -> None:
        if connection.connection_id in self.kept:
            raise Conflict(connection.connection_id)
        self.kept[connection.connection_id] = connection

    def replace(self, connection: Connection) -> None:
        if connection.connection_id not in self.kept:
            raise NotFound(connection.connection_id)
        self.kept[connection.connection_id] = connection

    def remove(self, connection_id: str) -> None:
        self.kept.pop(connection_id, None)


def wish(shop: FakeRetailer) -> service.NewIntegration:
    return service.NewIntegration(
        integration_id="acme",
        kind="commercetools",
        name="ACME",
        settings={
            "base_url": shop.url,
            "project": shop.project,
            "scope": f"view_products:{shop.project} view_orders:{shop.project}",
            "allowed_networks": ["127.0.0.0/8"],
        },
        credentials={"client_id": shop.client_id, "client_secret": shop.client_secret},
    )


def test_an_integration_that_cannot_be_stored_leaves_no_secret_behind(store: Store, shop: FakeRetailer) -> None:
    """Nothing would name it: nobody would rotate or remove it, and the next attempt would find its ID taken."""
    book = Book()

    def fail(work: Work, added: service.Added) -> None:
        assert book.kept, "the connection comes first"
        raise StoreUnavailable(f"the disk is full: {work}, {added}")

    with pytest.raises(StoreUnavailable):
        service.add(store, book, wish(shop), actor=ADA, on_stored=fail)

    assert book.kept == {}
    assert query(store, "SELECT count(*) FROM integration") == [(0,)]
    assert service.add(store, book, wish(shop), actor=ADA).integration.integration_id == "acme"
    assert list(book.kept) == ["acme"]


class BookOnDisk(Book):
    """Airflow's connections, in a file: they outlive the process, as they do in its database."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def kept(self) -> dict[str, Connection]:  # type: ignore[override]
        found = json.loads(self.path.read_text()) if self.path.exists() else {}
        return {name: msgspec.convert(document, Connection) for name, document in found.items()}

    def create(self, connection: Connection) -> None:
        if connection.connection_id in self.kept:
            raise Conflict(connection.connection_id)
        kept = {**self.kept, connection.connection_id: connection}
        self.path.write_bytes(msgspec.json.encode(kept))

    def remove(self, connection_id: str) -> None:
        kept = {name: connection for name, connection in self.kept.items() if name != connection_id}
        self.path.write_bytes(msgspec.json.encode(kept))


class TestACrm:
    """The same for a system that is no shop."""

    @pytest.fixture
    def crm(self) -> Iterator[FakeCrm]:
        with FakeCrm(token="t0ken", count=3) as system:
            yield system

    @staticmethod
    def wish(crm: FakeCrm, token: str = "t0ken", **settings: Any) -> service.NewIntegration:  # noqa: S107  the sandbox's own
        return service.NewIntegration(
            integration_id="crm_eu",
            kind="hubspot",
            name="CRM",
            settings={"base_url": crm.url, "allowed_networks": ["127.0.0.0/8"], **settings},
            credentials={"token": token},
        )

    def test_one_whose_test_passes_is_stored(self, store: Store, crm: FakeCrm) -> None:
        book = Book()
        added = service.add(store, book, self.wish(crm, standing_property="order_standing"), actor=ADA)

        assert {check.name: check.outcome for check in added.checks} == {
            "address": CheckOutcome.OK,
            "tls": CheckOutcome.SKIPPED,
            "credentials": CheckOutcome.OK,
            "scope": CheckOutcome.OK,
            "sample": CheckOutcome.OK,
        }
        assert book.kept["crm_eu"].password == "t0ken"

    @pytest.mark.parametrize(
        ("wrong", "failed"),
        [
            ({"token": "another"}, "credentials"),
            ({"key_property": "lastname"}, "scope"),
            ({"standing_property": "mood"}, "scope"),
        ],
    )
    def test_one_whose_test_fails_leaves_nothing(
        self, store: Store, crm: FakeCrm, wrong: dict[str, Any], failed: str
    ) -> None:
        """No connection, no row, no secret, and no line in the audit trail."""
        book = Book()

        with pytest.raises(TestRefused) as caught:
            service.add(store, book, self.wish(crm, **wrong), actor=ADA)

        assert [check.name for check in caught.value.checks if check.outcome is CheckOutcome.FAILED] == [failed]
        assert book.kept == {}
        assert query(store, "SELECT (SELECT count(*) FROM integration), (SELECT count(*) FROM audit_entry)") == [(0, 0)]

    def test_an_account_that_throttles_or_forbids_is_not_stored(self, store: Store, crm: FakeCrm) -> None:
        for status in (403, 429, 503):
            crm.faults.put("contacts", [{"status": status}], repeat=True)
            with pytest.raises(TestRefused):
                service.add(store, Book(), self.wish(crm), actor=ADA)
        assert query(store, "SELECT count(*) FROM integration") == [(0,)]

    @pytest.mark.crash
    def test_what_a_killed_process_left_is_of_no_use_and_completed_by_a_repetition(
        self, store: Store, hub_dsn: str, crm: FakeCrm, tmp_path: Path
    ) -> None:
        """Airflow has the connection by then, in a database of its own. Another token does not take it over."""
        book, wish = BookOnDisk(tmp_path / "connections.json"), self.wish(crm)

        killed = children.run(
            lambda: service.add(Store(hub_dsn), book, wish, actor=ADA), crash_at="integration.connected"
        )

        assert killed == children.KILLED
        assert list(book.kept) == ["crm_eu"]
        assert query(store, "SELECT count(*) FROM integration") == [(0,)]
        with pytest.raises(NotFound):
            perform(store, _never_opened, "crm_eu", "find_customer", {"key": "a@b.example"}, key="1", actor=ADA)
        with FakeCrm(token="theirs") as other, pytest.raises(Conflict):
            service.add(store, book, self.wish(other, "theirs"), actor=ADA)
        assert book.kept["crm_eu"].password == "t0ken"

        assert service.add(store, book, wish, actor=ADA).integration.integration_id == "crm_eu"
        assert list(book.kept) == ["crm_eu"]


def _never_opened(*_: Any) -> Any:
    raise AssertionError("no client may be opened")
