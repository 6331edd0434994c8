"""./hub show STREAM KEY: show a record as it is, or as it was at any time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.instants import instant_option, optional_text
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.cli.streams import StreamName, stream_named
from crossdock.core.paths import path_of


def show(
    stream: StreamName,
    key: Annotated[str, typer.Argument(help="SKU, product key, order number, e-mail address of a customer.")],
    as_of: Annotated[
        datetime | None,
        instant_option("--as-of", "As it was at this time, by the source's clock and what is known by now."),
    ] = None,
    known_at: Annotated[
        datetime | None, instant_option("--known-at", "As the hub had it at this time, by its own clock.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Show a record by its key, as it is, or as it was at any time.

    Example: ./hub show inventory CHAIR-1 --as-of 2026-11-21T08:00Z
    """
    api = hub_api()
    found = api.get(
        path_of("records", stream_named(api, stream)["id"]),
        key=key,
        as_of=optional_text(as_of),
        known_at=optional_text(known_at),
    ).document
    if as_json:
        console.show_json(found)
        return
    console.show_document([_readable(row) for row in found["records"]])
    for waiting in found["waiting"]:
        console.say(
            f"Version {waiting['version']} of {waiting['record_id']} came later and waits in quarantine as item "
            f"{waiting['item_id']} ({waiting['cause']}). Show it: ./hub quarantine show {waiting['item_id']}"
        )


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
