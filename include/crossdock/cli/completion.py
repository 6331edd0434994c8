"""The IDs that a shell completes at Tab: those of the hub in use, and none where it does not answer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from crossdock.cli.session import hub_api

#: The newest of each: a person completes what was just on the screen.
_MOST = 100

Complete = Callable[[str], list[str]]


def ids_of(path: str, field: str, name: str) -> Complete:
    """
    Make the completion of the IDs of a list of the API.

    Args:
        path: The route of the list.
        field: The field of its answer that has the items.
        name: The field of an item that is its ID.

    """

    def complete(incomplete: str) -> list[str]:
        # At Tab nobody reads an error, and a message would stand in the middle of the command.
        with suppress(Exception):
            found = hub_api().get(path, limit=_MOST).document[field]
            return [str(each[name]) for each in found if str(each[name]).startswith(incomplete)]
        return []

    return complete


def streams(incomplete: str) -> list[str]:
    """Complete the ID of a stream."""
    with suppress(Exception):
        found = hub_api().get("/streams").document["streams"]
        return [str(each["id"]) for each in found if str(each["id"]).startswith(incomplete)]
    return []
