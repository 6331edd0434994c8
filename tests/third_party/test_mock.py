"""
Our connector on a commercetools of other authors: npm `@labdigital/commercetools-mock`, a process of its own.

The checks are those of the contract suite, by name, as far as this mock allows what they need; what it does
otherwise than the vendor is in docs/third-parties.md.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from crossdock.connectors.commercetools import Commercetools
from crossdock.core.errors import SystemRefused
from crossdock.http.client import Limits
from crossdock.sync.source import Axis, FetchedPage, Range
from tests.contracts.benches import CANARY, QUICK
from tests.contracts.test_connectors import TestCheck as Checking
from tests.contracts.test_connectors import TestReading as Reading
from tests.shop import free_port
from tests.third_party.installs import npm_folder

PROJECT = "demo"

#: It needs npm's registry and, at first, a minute of installing.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]


class MockBench:
    """As `tests.contracts.benches.Bench`, without the faults: this mock makes none on demand."""

    resource = "inventory"
    exempt: Mapping[str, str] = {}

    def __init__(self, url: str) -> None:
        self.url = url
        self.host = url.removeprefix("http://")
        signed = requests.post(
            f"{url}/oauth/token",
            auth=("crossdock", CANARY),
            data={"grant_type": "client_credentials", "scope": "manage_project"},
            timeout=60,
        )
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {signed.json()['access_token']}"

    def source(self, *, limits: Limits = QUICK, page_records: int = 100) -> Commercetools:
        return self._signed_in(self.url, limits=limits, page_records=page_records)

    def source_of_dead_host(self) -> Commercetools:
        return self._signed_in(f"http://127.0.0.1:{free_port()}")

    def by_keys(self, keys: Sequence[str]) -> Range:
        return Range(range_no=0, axis=Axis.KEYS, field="sku", keys=tuple(keys))

    def stock(self, records: int) -> None:
        """Add new stock levels, in this order."""
        for number in range(records):
            self._post("inventory", {"sku": f"sku-{number:03}", "quantityOnStock": number})

    def ids(self) -> list[str]:
        rows = self._session.get(f"{self.url}/{PROJECT}/inventory", params={"limit": "500"}, timeout=60).json()[
            "results"
        ]
        return sorted(row["id"] for row in rows)

    def ids_on(self, page: FetchedPage) -> list[str]:
        return [row["id"] for row in json.loads(page.body)["results"]]

    def change(self, count: int, *, at: datetime | None = None) -> list[str]:
        """Each in a millisecond of its own: the vendor's order by instant is then theirs."""
        assert at is None
        changed = self.ids()[-count:]
        for key in changed:
            version = self._session.get(f"{self.url}/{PROJECT}/inventory/{key}", timeout=60).json()["version"]
            action = {"action": "changeQuantity", "quantity": 4711}
            self._post(f"inventory/{key}", {"version": version, "actions": [action]})
            time.sleep(0.002)
        return changed

    def _post(self, path: str, body: dict[str, Any]) -> None:
        answer = self._session.post(f"{self.url}/{PROJECT}/{path}", json=body, timeout=60)
        assert answer.ok, answer.text

    def _signed_in(self, url: str, **options: Any) -> Commercetools:
        return Commercetools.signed_in(
            url,
            PROJECT,
            client_id="crossdock",
            secret=CANARY,
            scope=f"view_products:{PROJECT}",
            **{"limits": QUICK, **options},
        )


@pytest.fixture(scope="session")
def program() -> tuple[str, Path]:
    return npm_folder("mock", "start.mjs")


@pytest.fixture
def empty(program: tuple[str, Path]) -> Iterator[MockBench]:
    """The mock without a record; its process ends with the pipe to it."""
    node, folder = program
    with subprocess.Popen(
        [node, "start.mjs"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        yield MockBench(process.stdout.readline().strip())
        process.stdin.close()
        process.wait(120)


@pytest.fixture
def bench(empty: MockBench) -> MockBench:
    """The mock with 40 records."""
    empty.stock(40)
    # A delta from now on must not find them: the timestamps of the mock have whole seconds.
    time.sleep(1.01)
    return empty


class TestCheckOnTheMock:
    test_a_source_in_order_describes_its_size_and_its_clock = (
        Checking.test_a_source_in_order_describes_its_size_and_its_clock
    )
    test_a_host_that_is_down_is_named_and_tried_later = Checking.test_a_host_that_is_down_is_named_and_tried_later

    def test_a_token_that_the_platform_does_not_know_ends_the_run(self, empty: MockBench) -> None:
        """It checks no secret, so a connector without a token stands for one with a wrong token."""
        with pytest.raises(SystemRefused, match="HTTP 401"):
            Commercetools(empty.url, PROJECT, limits=QUICK).describe("inventory", None)


class TestReadingTheMock:
    test_a_full_read_by_ranges_brings_every_id_once = Reading.test_a_full_read_by_ranges_brings_every_id_once
    test_an_incremental_read_brings_exactly_what_changed = Reading.test_an_incremental_read_brings_exactly_what_changed
    test_a_read_continues_from_any_page_boundary = Reading.test_a_read_continues_from_any_page_boundary
    test_a_page_is_not_larger_than_requested = Reading.test_a_page_is_not_larger_than_requested
    test_nothing_changed_is_one_empty_last_page = Reading.test_nothing_changed_is_one_empty_last_page
    test_strange_keys_find_nothing_and_break_nothing = Reading.test_strange_keys_find_nothing_and_break_nothing

    def test_an_empty_source_is_one_empty_last_page(self, empty: MockBench) -> None:
        """Read to its end, nothing found: not an error, and not without an end."""
        page = empty.source().page("inventory", Range(range_no=0, axis=Axis.ID), None)

        assert (page.records, page.cursor, page.last) == (0, None, True)
        assert empty.source().describe("inventory", None).records == 0
