"""What payments need of the rest of the hub."""

from __future__ import annotations

from typing import Protocol

from crossdock.integrations.actions.model import Document, Ended
from crossdock.integrations.actions.service import OnDone
from crossdock.integrations.attempts.service import OnBegin


class Perform(Protocol):
    """Performs an action of an integration; `app` provides it from the connectors' manifests."""

    def __call__(
        self,
        integration: str,
        action: str,
        given: Document,
        key: str,
        on_begin: OnBegin,
        *,
        on_done: OnDone | None = None,
    ) -> Ended:
        """
        Perform the *action*; a write has one effect for each *key*. No transaction may be open.

        *on_begin* runs first in the transaction that opens the attempt of a write. What it raises is raised, and nothing
        is sent. *on_done* runs in the transaction that records a write as done, or in a later one if that was known. A
        read ignores both.

        Raises:
            BadRequest, NotFound, IntegrationPaused: nothing was sent.
            StoreUnavailable: the hub's database failed; repeating the call is safe.

        """
        ...
