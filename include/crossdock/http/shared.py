"""What all workers share about calling one integration, over one database connection of this process."""

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


class SharedCalls:
    """
    The safeguards of one integration; close it at the end of the task, or its last counts are not told.

    Args:
        store: Names the database; a connection of its own is opened, since calls are made in threads.
        cipher: Of the deployment's key; None where there is none, and then each process has a token of its own.
        run_of: The run that a thread is at; by default the one whose name its log lines carry.

    """

    def __init__(
        self,
        store: Store,
        integration: str,
        *,
        cipher: Cipher | None = None,
        run_of: Callable[[], str] = lambda: str(get_contextvars().get("run", "")),
    ) -> None:
        self._store = SharedStore(store.dsn, schema=store.schema)
        self._integration, self._cipher, self._run_of = integration, cipher, run_of
        self._ends = ExitStack()
        self._ends.callback(self._store.close)

    def safeguards(self, policy: CallPolicy) -> Safeguards:
        """What a connector is given; *policy* must be the same in all workers."""
        breaker = SharedBreaker(self._store, self._integration, policy.breaker)
        counts = CallCounts(self._store, self._integration, self._run_of)
        self._ends.callback(breaker.close)
        self._ends.callback(counts.close)
        return Safeguards(
            limiter=SharedRateLimiter(self._store, self._integration, policy.rate) if policy.rate else None,
            breaker=breaker,
            log=counts,
            vault=SharedTokens(self._store, self._cipher) if self._cipher else None,
        )

    def close(self) -> None:
        self._ends.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
