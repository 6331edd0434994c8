"""Names of streams, completed by the hub in use: it knows integrations and declarations that this machine may not have."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from crossdock.client.hub import HubApi

#: The argument that names the stream of a command.
StreamName = Annotated[
    str, typer.Argument(help="commercetools.inventory; or inventory, where only one integration has it.")
]


def stream_named(api: HubApi, name: str) -> dict[str, Any]:
    """
    Read the stream with this ID, or the only one with this dataset or integration.

    Raises:
        HubRefused: no stream is meant, or several are; the message lists them.

    """
    found: dict[str, Any] = api.get("/streams", name=name).document["streams"][0]
    return found


def stream_id(api: HubApi, name: str | None) -> str | None:
    """Complete the *name* of a stream to its ID, as `stream_named` does; None for no name."""
    return None if name is None else str(stream_named(api, name)["id"])
