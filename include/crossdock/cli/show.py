"""./hub show sku|product|order KEY: show a record as it is, or as it was at any time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.app.streams import SYNCS
from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import instant_option
from crossdock.cli.session import open_store
from crossdock.core.errors import NotFound
from crossdock.core.instants import utc_text
from crossdock.sync import records

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Show a record as it is, or as it was at any time.")
Key = Annotated[str, typer.Argument()]
AsOf = Annotated[datetime | None, instant_option("--as-of", "Show the record as it was at this time.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("sku")
def sku(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """Show the stock of a sku in every warehouse."""
    _show("inventory", key, as_of, as_json=as_json)


@app.command("product")
def product(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """Show a product by its key."""
    _show("product", key, as_of, as_json=as_json)


@app.command("order")
def order(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """Show an order by its number."""
    _show("order", key, as_of, as_json=as_json)


def _show(entity: str, key: str, as_of: datetime | None, *, as_json: bool) -> None:
    table = SYNCS[entity].table
    with open_store() as store, store.transaction() as work:
        rows = records.as_of(work, table, key, as_of) if as_of else records.by_key(work, table, key)
        first = records.first_modified_at(work, table, key) if as_of and not rows else None
    if as_of and first:
        raise NotFound(
            f"{entity} {key!r} did not exist at {utc_text(as_of)}. The first version that the hub has is from {utc_text(first)}"
        )
    if not rows:
        raise NotFound(
            f"The hub has no {entity} {key!r}. To check the quarantine: ./hub quarantine list --entity {entity}"
        )
    if as_json:
        console.show_json({"entity": entity, "key": key, "as_of": as_of, "records": rows})
        return
    console.out.print_json(data=[_readable(row) for row in rows], default=str)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
