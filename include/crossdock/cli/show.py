"""./hub show sku|product|order KEY: show a record as it is, or as it was at any time."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import instant_option, optional_text
from crossdock.cli.session import hub_api

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
    found = hub_api().get(f"/records/{entity}", key=key, as_of=optional_text(as_of)).document
    if as_json:
        console.show_json(found)
        return
    console.out.print_json(data=[_readable(row) for row in found["records"]])


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
