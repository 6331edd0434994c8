"""Two payment gateways, connected."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.db.database import Store
from tests.commerce.payments.gateways import Gateways, connected


@pytest.fixture
def gateways(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateways]:
    with connected(store, monkeypatch) as opened:
        yield opened
