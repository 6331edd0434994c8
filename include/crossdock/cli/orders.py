"""./hub orders: place, follow and cancel orders, and decide about a step that nobody knows the outcome of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Orders placed at the hub.")

_OUTCOMES = ("done", "refused", "failed")
OrderId = Annotated[str, typer.Argument(help="ID, as ./hub orders list shows it.")]
Reason = Annotated[str, typer.Option(help="Why. Kept in the audit trail.")]


@app.command("list")
def list_orders(
    state: Annotated[
        str | None, typer.Option(help="Only in this state: open, confirmed, cancelling, cancelled.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Only with this reference.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """List orders, newest first."""
    found = hub_api().pages("/orders", "orders", limit=limit, state=state, reference=reference)
    if as_json:
        console.show_json({"orders": found})
        return
    console.show_table(
        "Orders",
        ["ID", "reference", "total (minor)", "currency", "state", "reason", "created"],
        [
            [
                order["order_id"],
                order["reference"],
                f"{order['total_minor']:,}",
                order["currency"],
                order["state"],
                order["reason"] or "",
                shown(order["created_at"]),
            ]
            for order in found
        ],
        empty="There are none.",
    )


@app.command("show")
def show(order_id: OrderId, as_json: Json = False) -> None:
    """Show an order with each of its steps."""
    _show(hub_api().get(path_of("orders", order_id)).document, as_json=as_json)


@app.command("place")
def place(
    file: Annotated[
        str, typer.Argument(help="A JSON file with the order, as POST /hub/v1/orders takes it; - for the input.")
    ],
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Place an order. The same reference again is the same order."""
    text = sys.stdin.read() if file == "-" else Path(file).read_text()
    try:
        body = json.loads(text)
    except ValueError as error:
        raise BadRequest(f"{file} is not JSON: {error}") from error
    _show(repeatable.send(path_of("orders"), body, key), as_json=as_json)


@app.command("cancel")
def cancel(order_id: OrderId, reason: Reason, key: Key = None, as_json: Json = False) -> None:
    """Have all undone that was done for an order, also when it is confirmed."""
    _show(repeatable.send(path_of("orders", order_id, "cancel"), {"reason": reason}, key), as_json=as_json)


@app.command("retry")
def retry(order_id: OrderId, reason: Reason, key: Key = None, as_json: Json = False) -> None:
    """Retry the step that an order waits for, once its cause is removed."""
    _show(repeatable.send(path_of("orders", order_id, "retry"), {"reason": reason}, key), as_json=as_json)


@app.command("resolve")
def resolve(
    order_id: OrderId,
    outcome: Annotated[str, typer.Option(help="done, refused or failed: what you saw in the other system.")],
    reason: Reason,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """Say what became of the step that an order waits for, after you looked it up."""
    if outcome not in _OUTCOMES:
        raise BadRequest(f"--outcome is one of {', '.join(_OUTCOMES)}")
    body = {"outcome": outcome, "reason": reason}
    _show(repeatable.send(path_of("orders", order_id, "resolve"), body, key), as_json=as_json)


def _show(order: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.show_json(order)
        return
    reason = f" ({order['reason']})" if order["reason"] else ""
    console.show_table(
        f"{order['order_id']}: {order['state']}{reason}, {order['total_minor']:,} {order['currency']} (minor units)",
        ["step", "", "state", "tries", "began", "message"],
        [
            [
                step["step"],
                "undo" if step["direction"] == "undo" else "",
                step["state"],
                str(step["tries"]),
                shown(step["began_at"]),
                step["message"] or "",
            ]
            for step in order["steps"]
        ],
        empty="No step has begun yet.",
    )
    if order["waits_for"]:
        console.say(
            "It waits for a person. Once the cause is gone: ./hub orders retry ID. If you looked it up: ./hub orders resolve ID"
        )
