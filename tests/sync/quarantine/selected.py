"""The records of items that are selected as the routes and pages select them."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.db.database import Store
from crossdock.sync.quarantine import repository, service
from crossdock.sync.quarantine.repository import Item


def selected(store: Store, item_ids: Sequence[int], *, cause: str | None, everything: bool) -> list[Item]:
    chosen = service.choose(store, item_ids, cause=cause, everything=everything)
    with store.transaction() as work:
        return repository.read(work, chosen)
