"""./hub sandbox: change the simulated retailer, break it, repair it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.options import Json
from crossdock.cli.session import running_stack
from crossdock.client import proof
from crossdock.client.sandbox import SandboxControl
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest
from crossdock.stack import lifecycle, needs, starts
from crossdock.stack.secrets import load_secrets

app = typer.Typer(cls=CommandGroup, invoke_without_command=True)
_PROOF_TIMEOUT_S = 10.0


def _control() -> SandboxControl:
    url = running_stack(*needs.SANDBOX).sandbox_url
    # Without an answer the request that follows says so.
    with suppress(OSError):
        proof.refuse_stranger(url, proof.OF_SANDBOX, load_secrets().stack_key, timeout_s=_PROOF_TIMEOUT_S)
    return SandboxControl(url)


@app.callback()
def sandbox(
    context: typer.Context,
    dataset: Annotated[
        Path | None,
        typer.Option(help="Serve the shop of this parquet file from now on.", exists=True, dir_okay=False),
    ] = None,
    generated: Annotated[bool, typer.Option("--generated", help="Serve the generated shop again.")] = False,
    as_json: Json = False,
) -> None:
    """
    Control the simulated retailer: change its data, break it, repair it. Without a command, show its address.

    Example: ./hub sandbox --dataset online_retail.parquet
    """
    if context.invoked_subcommand:
        return
    if dataset or generated:
        with console.progress("Restarting the sandbox") as bar:
            bar.update("Reading the file" if dataset else "Making a shop")
            lifecycle.restart_sandbox(lifecycle.shop_of(dataset) if dataset else [])
    control = _control()
    stock, requests = control.checksum("inventory"), len(control.requests())
    if as_json:
        console.show_json({"url": control.url, "inventory": stock, "requests": requests})
        return
    console.show(f"{control.url}  {counted(stock['rows'], 'stock level')}, {counted(requests, 'request')} answered")
    console.say("Change stock: ./hub sandbox move 10    Break it: ./hub sandbox break    Repair it: ./hub sandbox heal")


@app.command("move")
def move(count: Annotated[int, typer.Argument(min=1)] = 10, as_json: Json = False) -> None:
    """
    Change some stock levels, as on a normal day.

    Example: ./hub sandbox move 10
    """
    moved = _control().live(stock_moves=count)["inventory"]
    if as_json:
        console.show_json({"moved": moved})
        return
    console.success(f"{counted(len(moved), 'stock level')} changed, among them {moved[0]['sku']}.")
    console.say("To read the changes: ./hub sync inventory")


@app.command("break")
def break_down(
    fault: Annotated[
        str, typer.Argument(help='A fault as JSON, such as {"status": 429, "retry_after": 2}.')
    ] = '{"status": 503}',
    route: Annotated[
        str,
        typer.Option(
            help="inventory, products, product-projections, standalone-prices, orders, customers, graphql, oauth, "
            "or * for all."
        ),
    ] = "*",
    once: Annotated[bool, typer.Option("--once", help="Only for the next request; else until `heal`.")] = False,
    as_json: Json = False,
) -> None:
    """
    Make the retailer fail in a chosen way.

    Example: ./hub sandbox break '{"status": 503}' --route inventory --once
    """
    try:
        script = [json.loads(fault)]
    except json.JSONDecodeError as error:
        raise BadRequest(
            f"{fault!r} is not JSON ({error}); as in: ./hub sandbox break '{{\"status\": 503}}'"
        ) from error
    _control().break_down(route, script, repeat=not once)
    if as_json:
        console.show_json({"route": route, "script": script, "repeat": not once})
        return
    console.success(f"{route} now answers {fault}{' once' if once else ' until `heal`'}.")
    console.say("See it fail: ./hub sync inventory    Repair it: ./hub sandbox heal")


@app.command("heal")
def heal(as_json: Json = False) -> None:
    """
    Remove all faults.

    Example: ./hub sandbox heal
    """
    _control().heal()
    if as_json:
        console.show_json({"healed": True})
        return
    console.success("The sandbox works again.")


@app.command("credentials")
def credentials() -> None:
    """
    Print the user and the secret of the local sandbox as JSON, as a declared integration needs them.

    Example: ./hub sandbox credentials | ./hub integration add stock --kind declared --credentials -
    """
    console.show_json({"user": starts.sandbox_client(), "secret": load_secrets().sandbox_client_secret})


@app.command("requests")
def requests(
    limit: Annotated[int, typer.Option(min=1, help="How many of the latest requests.")] = 20, as_json: Json = False
) -> None:
    """
    List the latest requests to the retailer, latest last.

    Example: ./hub sandbox requests --limit 5
    """
    logged = _control().requests()[-limit:]
    if as_json:
        console.show_json({"requests": logged})
        return
    console.show_table(
        "Requests",
        ["at", "method", "path", "where", "status", "fault"],
        [
            [
                entry["at"],
                entry["method"],
                entry["path"],
                " ".join(entry.get("query", {}).get("where", [])),
                str(entry["status"]),
                json.dumps(entry["fault"]) if entry.get("fault") else "",
            ]
            for entry in logged
        ],
        empty="There were no requests yet.",
    )
