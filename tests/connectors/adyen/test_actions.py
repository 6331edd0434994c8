"""The actions of Adyen on the sandbox: one effect under every fault, by the platform's own ledger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done
from crossdock.sandbox.adyen.platform import FakeAdyen
from tests.connectors.adyen.payments_of_a_shop import World, payment


@pytest.fixture
def adyen() -> Iterator[FakeAdyen]:
    with FakeAdyen(seed=7) as platform:
        yield platform


@pytest.fixture
def world(adyen: FakeAdyen, store: Store) -> World:
    return World(adyen, store)


def test_a_payment_is_authorised_and_not_captured(world: World) -> None:
    ended = world.perform("authorise", payment())

    (entry,) = world.ledger()
    assert isinstance(ended, Done)
    assert ended.output == {
        "payment_ref": entry["payment"],
        "operation_ref": entry["payment"],
        "state": "authorised",
        "amount_minor": 1999,
        "currency": "EUR",
        "next_action_url": None,
    }
    assert (entry["kind"], entry["value"], entry["reference"]) == ("authorised", 1999, "order-4711")
