"""The benchmark's source must answer as commercetools does, or its figures say nothing about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from crossdock.bench.sync.collection import Collection
from crossdock.bench.sync.processes import SourceProcess
from crossdock.bench.sync.records import DEFAULT_ROWS, records_of
from crossdock.bench.sync.worker import STREAMS
from crossdock.connectors.commercetools import Commercetools
from crossdock.sync import ranges
from crossdock.sync.contract import drift
from crossdock.sync.model import Window
from crossdock.sync.source import Range

ROWS = 1_700


@pytest.fixture(scope="module")
def source() -> Iterator[SourceProcess]:
    with SourceProcess("inventory", ROWS) as started:
        yield started


def read(source: SourceProcess, parts: list[Range]) -> list[str]:
    """Read the ids of *parts* with the connector."""
    connector = Commercetools(source.url, "p")
    found: list[str] = []
    for part in parts:
        cursor, last = None, False
        while not last:
            page = connector.page("inventory", part, cursor)
            found += [record["id"] for record in json.loads(page.body)["results"]]
            cursor, last = page.cursor or cursor, page.last
    return found


def read_by_offset(collection: Collection) -> list[str]:
    """Read all ids by offset, in the order of change, as the other loaders do."""
    found: list[str] = []
    for offset in range(0, ROWS, 500):
        page = json.loads(collection.page("", by_time=True, offset=offset, limit=500, with_total=True))
        assert page["total"] == ROWS
        found += [record["id"] for record in page["results"]]
    return found


def test_keyset_ranges_and_offsets_return_the_same_records_once(source: SourceProcess) -> None:
    """All loaders must be given the same work."""
    by_key = read(source, ranges.by_id(20_000))

    assert len(by_key) == len(set(by_key)) == ROWS
    assert sorted(by_key) == sorted(read_by_offset(Collection(records_of("inventory", ROWS))))


def test_a_delta_returns_exactly_what_changed(source: SourceProcess) -> None:
    """Several change in the same millisecond, so a page may end within one."""
    source.reset()
    before = Commercetools(source.url, "p").describe("inventory", None).source_now - timedelta(minutes=5)
    assert source.mutate(0.5) == ROWS // 2

    now = datetime.now(UTC) + timedelta(seconds=1)
    changed = read(source, ranges.by_time(Window(before, now), 0))

    assert len(changed) == len(set(changed)) == ROWS // 2
    assert Commercetools(source.url, "p").describe("inventory", before).records == ROWS // 2


def test_the_sums_follow_the_changes_until_a_reset(source: SourceProcess) -> None:
    source.reset()
    pristine = source.sums()

    source.mutate(0.1)

    assert source.sums().versions == pristine.versions + ROWS // 10
    assert source.sums().quantity == pristine.quantity + ROWS // 10
    source.reset()
    assert source.sums() == pristine


def test_an_unsupported_predicate_is_refused() -> None:
    """A source that ignored it would answer quickly and wrongly."""
    with pytest.raises(ValueError, match="does not support the predicate"):
        Collection([]).page('sku = "A"', by_time=False, offset=0, limit=1, with_total=True)


def test_ascending_ids_ascend_with_time() -> None:
    ids = [record.id for record in records_of("inventory", 300, ids="ascending")]

    assert ids == sorted(ids)


@pytest.mark.parametrize("entity", sorted(DEFAULT_ROWS))
def test_its_records_are_of_the_contract(entity: str) -> None:
    """Products in a form that the platform no longer sends were measured for a while."""
    contract = STREAMS[entity].contract
    assert contract is not None

    assert drift(contract, [json.loads(record.raw) for record in records_of(entity, 3)]) == []


def test_a_change_of_a_product_is_one_that_customers_see() -> None:
    """A change that nobody sees would be measured as an update, and be none."""
    collection = Collection(records_of("products", 2))

    def seen() -> list[object]:
        page = json.loads(collection.page("", by_time=False, offset=0, limit=2, with_total=False))
        return [product["masterData"]["current"] for product in page["results"]]

    before = seen()
    collection.mutate(1)

    assert all(then != now for then, now in zip(before, seen(), strict=True))
