"""The safeguards of one integration, shared by all workers through the database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Self

from structlog.contextvars import get_contextvars

from crossdock.db.database import SharedStore, Store
from crossdock.http.call_metrics import CallCounts
from crossdock.http.model import CallPolicy, Safeguards
from crossdock.http.shared_breaker import SharedBreaker
from crossdock.http.shared_rate_limit import SharedRateLimiter
from crossdock.http.shared_token import Cipher, SharedTokens


class SharedSafeguards:
    """
    Open the shared safeguards of one integration. Close them at the end of the task, or the last counts are lost.

    Args:
        store: Names the database; calls are made in threads, so this opens a connection of its own.
        cipher: Encrypts the shared token with the deployment's key; None gives each process a token of its own.
        queues: Whether reads wait their turn at a slow rate limit, as a task does; otherwise `RateLimited` says how long.
        run_of: Gives the ID of the run that a thread works for; by default the one in its log context.

    """

    def __init__(
        self,
        store: Store,
        integration: str,
        *,
        cipher: Cipher | None = None,
        queues: bool = True,
        run_of: Callable[[], str] = lambda: str(get_contextvars().get("run", "")),
    ) -> None:
        self._store = SharedStore(store.dsn, schema=store.schema)
        self._integration, self._cipher, self._run_of = integration, cipher, run_of
        self._queues = queues
        self._resources = ExitStack()
        self._resources.callback(self._store.close)

    def safeguards(self, policy: CallPolicy) -> Safeguards:
        """Build the safeguards for a connector; *policy* must be the same in all workers."""
        store, name = self._store, self._integration
        limiter = SharedRateLimiter(store, name, policy.rate, queues=self._queues) if policy.rate else None
        breaker = SharedBreaker(store, name, policy.breaker)
        counts = CallCounts(store, name, self._run_of)
        self._resources.callback(breaker.close)
        self._resources.callback(counts.close)
        return Safeguards(
            limiter=limiter,
            breaker=breaker,
            log=counts,
            vault=SharedTokens(store, self._cipher) if self._cipher else None,
        )

    def close(self) -> None:
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
