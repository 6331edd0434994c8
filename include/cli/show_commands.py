"""./hub show sku|product|order KEY: a record as it is, or as it was at any instant."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from include.cli import console
from include.cli.session import open_store
from include.flows.registry import SYNCS
from include.model.errors import BadRequest, NotFound
from include.model.instants import from_utc_text
from include.store import entities

app = typer.Typer(no_args_is_help=True, help="A record as it is, or as it was.")
Key = Annotated[str, typer.Argument()]
AsOf = Annotated[str | None, typer.Option("--as-of", help="An instant (ISO 8601, with its zone).")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.command("sku")
def sku(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """The stock of a sku in every warehouse."""
    _show("inventory", key, as_of, as_json=as_json)


@app.command("product")
def product(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """A product by its key."""
    _show("product", key, as_of, as_json=as_json)


@app.command("order")
def order(key: Key, as_of: AsOf = None, as_json: Json = False) -> None:
    """An order by its number."""
    _show("order", key, as_of, as_json=as_json)


def _show(entity: str, key: str, as_of: str | None, *, as_json: bool) -> None:
    try:
        instant = from_utc_text(as_of) if as_of else None
    except ValueError as error:
        raise BadRequest(f"--as-of {as_of!r} is no instant: {error}") from error
    table = SYNCS[entity].table
    with open_store() as store, store.transaction() as work:
        rows = entities.as_of(work, table, key, instant) if instant else entities.by_key(work, table, key)
    if not rows:
        when = f" at {as_of}" if as_of else ""
        raise NotFound(
            f"The hub has no {entity} {key!r}{when}. Is it in quarantine? ./hub quarantine list --entity {entity}"
        )
    if as_json:
        console.show_json({"entity": entity, "key": key, "as_of": as_of, "records": rows})
        return
    for row in rows:
        console.out.print_json(data=_readable(row), default=str)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None}
