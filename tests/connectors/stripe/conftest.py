"""A fresh account for each test, on a real socket."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.db.database import Store
from crossdock.sandbox.stripe.provider import FakeStripe
from tests.connectors.stripe.payments import Payments


@pytest.fixture
def provider() -> Iterator[FakeStripe]:
    with FakeStripe(seed=5) as system:
        yield system


@pytest.fixture
def payments(request: pytest.FixtureRequest, provider: FakeStripe, store: Store) -> Payments:
    """An account, ready for the action that the test is about: authorise, if it names none."""
    return Payments(provider, store, getattr(request, "param", "authorise"))
