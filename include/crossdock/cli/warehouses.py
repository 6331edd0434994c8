"""./hub warehouses: who reserves the stock of each, and what decides whether an order is sent from there."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubRefused
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Warehouses that the hub sells from.")

_NEITHER = "none"
#: The ETag of a warehouse that is not there yet.
_NOT_THERE = '"0"'
_DECLARED = ("name", "priority", "country", "parcel_cost_minor", "reserved_by", "same_as")


@app.command("list")
def list_warehouses(as_json: Json = False) -> None:
    """
    List the warehouses.

    Example: ./hub warehouses list
    """
    _show(hub_api().get("/warehouses").document["warehouses"], as_json=as_json)


@app.command("set")
def set_warehouse(
    warehouse_id: Annotated[
        str, typer.Argument(help="ID: the integration that says its stock, and the channel there.")
    ],
    name: Annotated[str | None, typer.Option(help="What people call it, as Lyon; none for no name.")] = None,
    priority: Annotated[int | None, typer.Option(help="The lowest is taken first.")] = None,
    country: Annotated[str | None, typer.Option(help="Where it is, as DE; none for nowhere.")] = None,
    parcel_cost_minor: Annotated[
        int | None, typer.Option(help="What one parcel from there costs, in minor units.")
    ] = None,
    reserved_by: Annotated[str | None, typer.Option(help="Who holds stock for an order: hub or platform.")] = None,
    same_as: Annotated[
        str | None, typer.Option(help="The warehouse that it is, whose figure is sold from; none for its own figure.")
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Declare a warehouse. What is not given stays as it is; it is refused if somebody else changes it meanwhile.

    Example: ./hub warehouses set lyon --name Lyon --priority 1 --country FR
    """
    given = {
        "name": name,
        "priority": priority,
        "country": country,
        "parcel_cost_minor": parcel_cost_minor,
        "reserved_by": reserved_by,
        "same_as": same_as,
    }
    changes = {field: None if value == _NEITHER else value for field, value in given.items() if value is not None}
    if not changes:
        raise BadRequest("Give at least one option, such as --priority 10")
    api, path = hub_api(), path_of("warehouses", warehouse_id)
    try:
        seen = api.get(path)
        known, tag = seen.document, seen.etag
    except HubRefused as error:
        # It may be declared before its stock is heard of.
        if error.problem.get("status") != HTTPStatus.NOT_FOUND:
            raise
        known, tag = {}, _NOT_THERE
    body = {field: known[field] for field in _DECLARED if field in known} | changes
    _show([api.put(path, body, if_match=tag).document], as_json=as_json)


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        console.show_json({"warehouses": found})
        return
    console.show_table(
        "Warehouses",
        ["ID", "name", "reserved by", "priority", "country", "parcel (minor)", "is the same as"],
        [
            [
                each["warehouse_id"],
                each["name"] or "",
                each["reserved_by"],
                str(each["priority"]),
                each["country"] or "",
                f"{each['parcel_cost_minor']:,}",
                each["same_as"] or "",
            ]
            for each in found
        ],
        empty="There are none: no stock was heard of yet.",
    )
