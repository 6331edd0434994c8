"""Customers of a file that knows them by their address: whoever may not see personal data finds the address on no page."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from urllib.parse import quote

import pytest

from crossdock.connectors.commercetools import KIND
from crossdock.connectors.commercetools.customers import CUSTOMERS
from crossdock.db import leases
from crossdock.db.database import Store
from crossdock.sync import batches, ledger
from crossdock.sync.model import Mode, RunState, SyncRequest
from crossdock.sync.quarantine.model import Warned
from crossdock.sync.stream import LEASE_LIFE
from crossdock.sync.validate_rows import validate_rows
from tests.shop import query
from tests.sync.records import page
from tests.sync.test_customers import customer
from tests.web.conftest import Visitor
from tests.web.test_other_pages import DEAD_LETTER

STREAM = CUSTOMERS.of(KIND)
#: More than a page of rows, so that cursors stand at some of them.
MANY = 120
DOMAIN = "example.test"


def address(number: int) -> str:
    return f"person-{number:03}@{DOMAIN}"


#: The domain as a page or a cursor may spell it.
SPELLINGS = (
    "@" + DOMAIN,
    DOMAIN.encode().hex(),
    quote("@" + DOMAIN, safe=""),
    "".join(f"%{byte:02x}" for byte in b"@example"),
)


@pytest.fixture
def with_customers(hub_store: Store) -> Store:
    """Many in the hub, some of them with a warning, some in quarantine, and a dead letter."""
    records = [_record(number) for number in range(MANY)]
    _sync(hub_store, *records)
    query(hub_store, DEAD_LETTER)
    return hub_store


def _record(number: int) -> bytes:
    key = address(number)
    match number % 40:
        case 1:
            return customer(id=key, email=key, version=-1)
        case _:
            return customer(id=key, email=key)


def _sync(store: Store, *raws: bytes) -> None:
    key, content = leases.LeaseKey(KIND, "customers"), validate_rows(STREAM, [page(*raws)])
    with store.transaction() as work:
        run = ledger.start(work, key, SyncRequest(keys=(address(0),)), mode=Mode.DELTA)
        leases.take(work, key, run.run_id, LEASE_LIFE)
        batches.add(work, run.run_id, 0, records=len(raws))
        (batch,) = batches.of_run(work, run.run_id)
        warned = Warned(rule="name_is_usual", message="Look at it", records=1, examples=(address(7),))
        ledger.add_warnings(work, run.run_id, [warned])
        batches.load(work, STREAM.dataset, ledger.get(work, run.run_id), batch, content)
        ledger.finish(work, run.run_id, RunState.PARTIAL)
        leases.release(work, key, run.run_id)


@dataclass
class Walk:
    """A person who follows every link of every page to other pages."""

    visitor: Visitor
    pages: dict[str, str] = field(default_factory=dict)

    def all(self, *begin: str) -> dict[str, str]:
        waiting = list(begin)
        while waiting:
            path = waiting.pop()
            if path in self.pages or not (path in begin or self._is_new_kind(path)):
                continue
            self.pages[path] = self.visitor.get(path)
            assert self.visitor.status == 200, f"{path}: {self.pages[path]}"
            waiting += self._links(self.pages[path])
        return self.pages

    @staticmethod
    def _links(html: str) -> Iterator[str]:
        for link in re.findall(r'href="/hub/pages(/[^"]*)"', html):
            if not link.startswith("/assets/"):
                yield unescape(link)

    def _is_new_kind(self, link: str) -> bool:
        """Three pages of each kind are enough: there are as many events as customers."""
        kind = _kind(link)
        return "cursor=" in link or sum(_kind(path) == kind for path in self.pages) < 3


def _kind(path: str) -> str:
    return re.sub(r"/[^/?]*\d[^/?]*", "/N", path.partition("?")[0])


def spelled(text: str) -> list[str]:
    """Find each spelling of an address in *text*, and in the tokens that it has in base64."""
    opened = b" ".join(_decoded(token) for token in set(re.findall(r"[A-Za-z0-9_-]{24,}={0,2}", text)))
    return [each for each in SPELLINGS if each.lower() in text.lower() or each.encode() in opened]


def _decoded(token: str) -> bytes:
    try:
        return urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        return b""


@pytest.mark.usefixtures("with_customers")
def test_a_viewer_finds_no_address_on_any_page(vera: Visitor) -> None:
    ((run_id,),) = query(vera.hub.store(), "SELECT run_id FROM sync_run")
    pages = Walk(vera).all("/overview", "/quarantine", "/dead-letters", "/events", "/audit", f"/runs/{run_id}/rows")

    assert {path: found for path, html in pages.items() if (found := spelled(f"{path} {html}"))} == {}
    kinds = {_kind(path) for path in pages}
    assert {"/runs/N", "/runs/N/rows", "/quarantine/N", "/dead-letters/N", "/events/N", "/audit"} <= kinds
    assert [path for path in pages if "/rows" in path and "cursor=" in path], "the rows have several pages"
    assert "such as ***" in pages[f"/runs/{run_id}"], "a rule of the level warn has examples"


@pytest.mark.usefixtures("with_customers")
def test_pages_of_rows_neither_repeat_nor_leave_out(vera: Visitor) -> None:
    ((run_id,),) = query(vera.hub.store(), "SELECT run_id FROM sync_run")
    found, path = 0, f"/runs/{run_id}/rows"
    while path:
        html = vera.get(path)
        found += html.count("<tr><td")
        following = re.search(r'href="/hub/pages([^"]+)" rel="next"', html)
        path = unescape(following[1]) if following else ""

    assert found == MANY


@pytest.mark.parametrize("cursor", ["dXBkYXRlZA==", "a" * 40, "dXBkYXRlZC54LjE="])
@pytest.mark.usefixtures("with_customers")
def test_a_cursor_of_nobody_is_refused(vera: Visitor, cursor: str) -> None:
    ((run_id,),) = query(vera.hub.store(), "SELECT run_id FROM sync_run")
    vera.get(f"/runs/{run_id}/rows?cursor={cursor}")

    assert vera.status == 400
