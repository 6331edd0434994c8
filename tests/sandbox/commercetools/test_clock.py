"""The sandbox's clock can be set off, as a machine's whose time service has failed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import requests

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.simulation import simulate
from crossdock.sandbox.engine.clock import instant_of
from tests.shop import connect

HOUR_S = 3600.0


@pytest.fixture
def small() -> Iterator[FakeRetailer]:
    with FakeRetailer(seed=7, inventory=3, products=0, orders=0, customers=0, flaws=0) as opened:
        yield opened


def put(shop: FakeRetailer, offset_s: object) -> requests.Response:
    return requests.put(f"{shop.url}/_sandbox/clock", json={"offset_s": offset_s}, timeout=60)


@pytest.mark.parametrize("offset_s", [-HOUR_S, HOUR_S])
def test_its_answers_and_its_changes_are_dated_by_the_clock_that_is_off(small: FakeRetailer, offset_s: float) -> None:
    assert put(small, offset_s).json() == {"offset_s": offset_s}

    simulate(small.state, stock_moves=3)
    now = connect(small).describe("inventory", None).source_now
    changed = [instant_of(row.modified_at) for row in small.state.collection("inventory").rows()]

    assert abs((now - datetime.now(UTC)).total_seconds() - offset_s) < HOUR_S / 2
    assert all(at is not None and abs((at - now).total_seconds()) < HOUR_S / 2 for at in changed)


def test_an_answer_has_one_date(small: FakeRetailer) -> None:
    put(small, -HOUR_S)
    answer = requests.get(f"{small.url}/{small.project}/inventory", timeout=60)

    dates = [value for name, value in answer.raw.headers.items() if name == "Date"]
    assert len(dates) == 1
    assert parsedate_to_datetime(dates[0])


@pytest.mark.parametrize("offset_s", [None, True, "900", 1e12])
def test_a_clock_that_cannot_be_is_refused(small: FakeRetailer, offset_s: object) -> None:
    assert put(small, offset_s).status_code == 400
