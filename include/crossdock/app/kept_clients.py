"""Clients of integrations that stay open between two calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration

#: A connection that somebody changes in Airflow is seen after so long; a change by the hub is seen at once.
_LIFE_S = 30.0


@dataclass
class _Kept:
    """An open client, and how many calls use it."""

    client: Any
    #: Of the integration when it was opened. One that was removed and added anew begins at version 1 again, with another account.
    state: tuple[datetime, int]
    until: float
    opened: ExitStack
    users: int = 0
    is_old: bool = False


@dataclass
class KeptClients:
    """
    Opens each integration's client once for all threads, and again when the integration has changed or the time is over.

    Opening one costs a connection to the database, one to the system, and four transactions for its safeguards. An old one is
    closed by its last user.
    """

    open_client: OpenClient
    life_s: float = _LIFE_S
    _kept: dict[str, _Kept] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def open(self, integration: Integration, manifest: Manifest) -> Iterator[Any]:
        """Give the client of *integration*. Raises as `open_client`."""
        kept = self._taken(integration, manifest)
        try:
            yield kept.client
        finally:
            self._release(kept)

    def close_old(self) -> None:
        """Close what nobody has used for its time: its counts are written then."""
        now = time.monotonic()
        with self._lock:
            over = [name for name, kept in self._kept.items() if kept.until <= now]
        for name in over:
            self._replace(name)

    def close(self) -> None:
        """Close all. Afterwards they are opened anew at their next use."""
        with self._lock:
            names = list(self._kept)
        for name in names:
            self._replace(name)

    def _taken(self, integration: Integration, manifest: Manifest) -> _Kept:
        name = integration.integration_id
        with self._lock:
            if found := self._usable(integration):
                return found
        self._replace(name)
        opened = ExitStack()
        entered: AbstractContextManager[Any] = self.open_client(integration, manifest)
        client = opened.enter_context(entered)
        fresh = _Kept(client, _state_of(integration), time.monotonic() + self.life_s, opened, users=1)
        with self._lock:
            # Of two threads that opened one, the second one keeps its own for this call alone.
            fresh.is_old = name in self._kept
            self._kept.setdefault(name, fresh)
        return fresh

    def _usable(self, integration: Integration) -> _Kept | None:
        found = self._kept.get(integration.integration_id)
        if found is None or found.state != _state_of(integration) or found.until <= time.monotonic():
            return None
        found.users += 1
        return found

    def _release(self, kept: _Kept) -> None:
        with self._lock:
            kept.users -= 1
            is_over = kept.is_old and not kept.users
        if is_over:
            kept.opened.close()

    def _replace(self, name: str) -> None:
        with self._lock:
            old = self._kept.pop(name, None)
            if old is None:
                return
            old.is_old = True
            is_over = not old.users
        if is_over:
            old.opened.close()


def _state_of(integration: Integration) -> tuple[datetime, int]:
    return integration.created_at, integration.version
