"""Clients of integrations stay open between two calls, and are opened anew when something has changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from crossdock.app.kept_clients import KeptClients
from crossdock.integrations.model import Integration, IntegrationState

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALPHA = Integration(
    integration_id="alpha",
    kind="alpha",
    name="alpha",
    state=IntegrationState.ACTIVE,
    settings={},
    connection_id="alpha",
    version=1,
    created_at=NOW,
    created_by="t",
    updated_at=NOW,
    updated_by="t",
)
MANIFEST: Any = None


class Opened:
    """What was opened and closed, by the version of its integration."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.closed: list[int] = []

    @contextmanager
    def open_client(self, integration: Integration, _: Any) -> Iterator[int]:
        self.opened.append(integration.version)
        yield len(self.opened)
        self.closed.append(integration.version)


@pytest.fixture
def world() -> Opened:
    return Opened()


def test_the_next_call_has_the_same_client(world: Opened) -> None:
    clients = KeptClients(world.open_client)
    with clients.open(ALPHA, MANIFEST) as one, clients.open(ALPHA, MANIFEST) as other:
        assert one == other
    clients.close()

    assert (world.opened, world.closed) == ([1], [1])


def test_a_changed_integration_has_a_new_client_and_the_old_one_is_closed_after_its_last_call(world: Opened) -> None:
    clients = KeptClients(world.open_client)
    with clients.open(ALPHA, MANIFEST), clients.open(msgspec.structs.replace(ALPHA, version=2), MANIFEST):
        assert (world.opened, world.closed) == ([1, 2], [])
    assert world.closed == [1]


def test_a_client_that_is_old_is_opened_anew_and_one_that_nobody_uses_is_closed(world: Opened) -> None:
    """So a credential that somebody changed in Airflow itself is used soon, and counts of calls are written."""
    clients = KeptClients(world.open_client, life_s=0.0)
    for _ in range(2):
        with clients.open(ALPHA, MANIFEST):
            pass
    clients.close_old()

    assert (world.opened, world.closed) == ([1, 1], [1, 1])
