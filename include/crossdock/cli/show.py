"""./hub show STREAM KEY: show a record as it is, or as it was at any time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.instants import instant_option
from crossdock.cli.session import find_stream, open_store
from crossdock.core.errors import NotFound
from crossdock.core.instants import utc_text
from crossdock.sync import records


def show(
    stream: Annotated[
        str, typer.Argument(help="commercetools.inventory; or inventory, where only one integration has it.")
    ],
    key: Annotated[str, typer.Argument(help="SKU, product key, order number.")],
    as_of: Annotated[datetime | None, instant_option("--as-of", "Show the record as it was at this time.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Show a record by its key, as it is, or as it was at any time."""
    found = find_stream(stream)
    dataset, integration = found.dataset, found.integration
    with open_store() as store, store.transaction() as work:
        rows = (
            records.as_of(work, dataset, integration, key, as_of)
            if as_of
            else records.by_key(work, dataset, integration, key)
        )
        first = records.first_modified_at(work, dataset, integration, key) if as_of and not rows else None
    if as_of and first:
        raise NotFound(
            f"{key!r} of {found.id} did not exist at {utc_text(as_of)}. "
            f"The first version that the hub has is from {utc_text(first)}"
        )
    if not rows:
        raise NotFound(
            f"The hub has no {key!r} of {found.id}. To check the quarantine: ./hub quarantine list --stream {found.id}"
        )
    if as_json:
        console.show_json({"stream": found.id, "key": key, "as_of": as_of, "records": rows})
        return
    console.out.print_json(data=[_readable(row) for row in rows], default=str)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
