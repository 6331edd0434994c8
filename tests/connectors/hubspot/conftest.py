"""An account with five contacts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.db.database import Store
from crossdock.sandbox.hubspot.crm import FakeCrm
from tests.connectors.hubspot.account import Account


@pytest.fixture
def crm() -> Iterator[FakeCrm]:
    with FakeCrm(token="t0ken", seed=3, count=5) as system:
        # No outcome may depend on the search: in these tests it never sees a change.
        system.state.search_lag_s = 3_600
        yield system


@pytest.fixture
def account(crm: FakeCrm, store: Store) -> Account:
    return Account(crm, store, standing_property="order_standing")


#: The address of the first contact.
FIRST = "contact00000@crm.example"
