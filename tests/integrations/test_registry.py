"""The registry and Airflow's connections: neither keeps what the other has not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import BadRequest, Conflict, NotFound, VersionChanged
from crossdock.db.database import Store, StoreUnavailable, Work
from crossdock.http.connection import Connection
from crossdock.integrations import service
from crossdock.integrations.actions.service import perform
from crossdock.integrations.model import CheckOutcome, SettingsInvalid, TestRefused
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

    def test_one_whose_webhooks_would_have_the_key_of_a_workflow_is_refused(self, store: Store, crm: FakeCrm) -> None:
        wish = msgspec.structs.replace(self.wish(crm), integration_id="workflows_restock")
        with pytest.raises(Conflict, match="Choose an ID that does not begin with workflows_"):
            service.add(store, Book(), wish, actor=ADA)

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


class Watched(Book):
    """The same, and how often one was replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.replaced = 0

    def replace(self, connection: Connection) -> None:
        self.replaced += 1
        super().replace(connection)


def wrong_project(wanted: service.NewIntegration) -> dict[str, Any]:
    return {"settings": {**wanted.settings, "project": "not-the-one"}, "same_records": True}


def wrong_secret(wanted: service.NewIntegration) -> dict[str, Any]:
    credentials = {**(wanted.credentials or {}), "client_secret": "not-the-one"}
    return {"settings": wanted.settings, "credentials": credentials}


@pytest.mark.parametrize("wrong", [wrong_project, wrong_secret])
def test_a_change_that_fails_its_test_leaves_everything_as_it_was(
    store: Store, shop: FakeRetailer, wrong: Callable[[service.NewIntegration], dict[str, Any]]
) -> None:
    """Settings and credentials that do not work are never in force, not for the moment of the test either."""
    book, wanted = Watched(), wish(shop)
    service.add(store, book, wanted, actor=ADA)
    before = dict(book.kept), query(store, "SELECT * FROM integration")
    trail = query(store, "SELECT count(*) FROM audit_entry")

    with pytest.raises(TestRefused):
        service.change(store, book, "acme", version=None, actor=ADA, **wrong(wanted))

    assert book.replaced == 0, "a worker reads a connection at any time: putting the old one back is too late"
    assert (book.kept, query(store, "SELECT * FROM integration")) == before
    assert query(store, "SELECT count(*) FROM audit_entry") == trail


def test_a_rotation_that_fails_its_test_leaves_everything_as_it_was(store: Store, shop: FakeRetailer) -> None:
    """The old credentials still work; the wrong ones would stop every sync."""
    book, wanted = Watched(), wish(shop)
    service.add(store, book, wanted, actor=ADA)
    before = dict(book.kept), query(store, "SELECT * FROM integration")

    wrong = {**(wanted.credentials or {}), "client_secret": "not-the-one"}
    with pytest.raises(TestRefused):
        service.rotate(store, book, "acme", wrong, version=None, actor=ADA)

    assert book.replaced == 0
    assert (book.kept, query(store, "SELECT * FROM integration")) == before


def test_an_integration_that_fails_its_test_is_never_stored(store: Store, shop: FakeRetailer) -> None:
    book, wanted = Book(), wish(shop)
    settings = {**wanted.settings, "project": "not-the-one"}

    with pytest.raises(TestRefused):
        service.add(store, book, msgspec.structs.replace(wanted, settings=settings), actor=ADA)

    assert book.kept == {}
    assert query(store, "SELECT count(*) FROM integration") == [(0,)]


class Interrupted(Watched):
    """The same, and while a change reads the connection, somebody else renames the integration."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._is_interrupted = False

    def get(self, connection_id: str) -> Connection | None:
        if not self._is_interrupted:
            self._is_interrupted = True
            service.change(self._store, self, "acme", version=None, actor="airflow:bob", name="Renamed")
        return super().get(connection_id)


def change_late(store: Store, book: Book, wanted: service.NewIntegration) -> None:
    settings = {**wanted.settings, "token_path": "/oauth/token"}
    service.change(store, book, "acme", version=None, actor=ADA, settings=settings, same_records=True)


def rotate_late(store: Store, book: Book, wanted: service.NewIntegration) -> None:
    service.rotate(store, book, "acme", wanted.credentials or {}, version=None, actor=ADA)


@pytest.mark.parametrize("act", [change_late, rotate_late])
def test_an_act_that_comes_too_late_leaves_the_connection_as_the_registry_has_it(
    store: Store, shop: FakeRetailer, act: Callable[[Store, Book, service.NewIntegration], None]
) -> None:
    """A test takes seconds. Whoever is told that nothing was stored must find nothing stored, in Airflow either."""
    book, wanted = Interrupted(store), wish(shop)
    service.add(store, book, wanted, actor=ADA)
    before = dict(book.kept)

    with pytest.raises(VersionChanged):
        act(store, book, wanted)

    assert book.replaced == 0
    assert book.kept == before
    assert query(store, "SELECT name, version FROM integration") == [("Renamed", 2)]


def test_credentials_do_not_follow_a_connection_that_was_pointed_elsewhere_by_hand(
    store: Store, shop: FakeRetailer
) -> None:
    """Neither a test nor a change sends them there; giving them again restores what is registered."""
    book, wanted = Book(), wish(shop)
    service.add(store, book, wanted, actor=ADA)
    ours = book.kept["acme"]
    with FakeRetailer(seed=1, inventory=1, products=0, orders=0, customers=0) as theirs:
        book.kept["acme"] = msgspec.structs.replace(ours, host=theirs.url)
        there = {**wanted.settings, "base_url": theirs.url}

        with pytest.raises(BadRequest, match="another base_url than the credentials were given for"):
            service.test(store, book, "acme", actor=ADA)
        for settings in (there, {**there, "token_path": "/oauth/token"}):
            with pytest.raises(SettingsInvalid, match="credentials"):
                service.change(store, book, "acme", version=None, actor=ADA, settings=settings, same_records=True)
        assert list(theirs.requests) == []

    service.rotate(store, book, "acme", wanted.credentials or {}, version=None, actor=ADA)
    assert book.kept["acme"] == ours
