"""Names of what is synced, checked by the hub in use: it knows declarations that this machine may not have."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from crossdock.client.hub import HubApi


def sync_of(api: HubApi, entity: str) -> dict[str, Any]:
    """
    Read the sync of *entity*.

    Raises:
        NotFound: there is none; the message lists those that exist.

    """
    found: dict[str, Any] = api.get(f"/syncs/{quote(entity, safe='')}").document
    return found


def refuse_unknown(api: HubApi, entity: str | None) -> None:
    """
    Refuse an *entity* that has no sync: an empty answer would look as if all were well.

    Raises:
        NotFound: there is no sync of *entity*.

    """
    if entity is not None:
        sync_of(api, entity)
