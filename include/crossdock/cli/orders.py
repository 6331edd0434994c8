"""./hub order: place, follow and compensate orders, and decide about a step that nobody knows the outcome of."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, ClassVar

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.completion import ids_of
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import shown
from crossdock.cli.journeys import Most, Platform, Since, show_journey
from crossdock.cli.options import Json
from crossdock.cli.payments import show_books
from crossdock.cli.repeatable import Key
from crossdock.cli.session import airflow_api, hub_api
from crossdock.client import dag_runs
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.ids import order_dag
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of


class _Commands(CommandGroup):
    #: To cancel is what the API calls it; here it is said what that does.
    meant: ClassVar[Mapping[str, str]] = {"cancel": "./hub order compensate ORDER_ID --reason REASON"}


app = typer.Typer(cls=_Commands, no_args_is_help=True, help="Orders placed at the hub.")

_OUTCOMES = ("done", "refused", "failed")
OrderId = Annotated[
    str,
    typer.Argument(
        help="ID, as ./hub order list shows it; or your reference.",
        autocompletion=ids_of("/orders", "orders", "order_id"),
    ),
]
_ORDER_ID = re.compile(r"ord_[0-9a-f]{32}")
Reason = Annotated[str, typer.Option(help="Why. Kept in the audit trail.")]


@app.command("list")
def list_orders(
    state: Annotated[
        str | None, typer.Option(help="Only in this state: open, confirmed, cancelling, cancelled.")
    ] = None,
    reference: Annotated[str | None, typer.Option(help="Only with this reference.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List orders, newest first.

    Example: ./hub order list --state open
    """
    found = hub_api().pages("/orders", "orders", limit=limit, state=state, reference=reference)
    if as_json:
        console.show_json({"orders": found, "has_more": found.has_more})
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
    console.say_if_cut(len(found), has_more=found.has_more)


@app.command("show")
def show(order_id: OrderId, as_json: Json = False) -> None:
    """
    Show an order with each of its steps.

    Example: ./hub order show ord_1f0c9d3e5b7a4c2d8e6f1a2b3c4d5e6f
    """
    hub = hub_api()
    _show(hub.get(path_of("orders", _id_of(hub, order_id))).document, as_json=as_json)


@app.command("trace")
def trace(
    order: Annotated[
        str, typer.Argument(metavar="ORDER_ID", help="Its ID, your reference, or its number at a platform.")
    ],
    platform: Platform = None,
    since: Since = None,
    limit: Most = LARGEST_PAGE,
    as_json: Json = False,
) -> None:
    """
    Show all that happened to an order, in time order: events, steps, retries, undo, calls, money, stock, mails.

    Example: ./hub order trace 4711 --platform shop_eu
    """
    show_journey("order", order, platform=platform, since=since, limit=limit, as_json=as_json)


@app.command("place")
def place(
    file: Annotated[
        str, typer.Argument(help="A JSON file with the order, as POST /hub/v1/orders takes it; - for the input.")
    ],
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Place an order. The same reference again is the same order.

    Example: ./hub order place order.json
    """
    try:
        body = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadRequest(f"Cannot read the order from {file}: {error.strerror}") from error
    except ValueError as error:
        raise BadRequest(f"{file} is not JSON: {error}") from error
    _show(repeatable.send(path_of("orders"), body, key), as_json=as_json)


@app.command("run")
def run(
    order_id: OrderId,
    retry: Annotated[bool, typer.Option("--retry", help="Clear the tasks of its failed run: they run again.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the run has finished.")] = True,
    as_json: Json = False,
) -> None:
    """
    Drive one order by the DAG place_order now, in a run of its own.

    An order has one such run: a second one is refused, while it goes on and afterwards.

    Example: ./hub order run ord_1f0c9d3e5b7a4c2d8e6f1a2b3c4d5e6f --retry
    """
    api = airflow_api(starts_runs=True)
    hub = HubApi(api)
    order_id = _id_of(hub, order_id)
    dag_run_id = hub.get(path_of("orders", order_id)).document["dag_run_id"]
    if dag_run_id is None:
        raise Conflict(f"{order_id} is driven by events: one order is driven in one way at a time")
    api.refuse_paused(order_dag())
    if retry:
        _retry(api, dag_run_id)
    else:
        _start(api, order_id, dag_run_id)
    if not wait:
        console.show_json({"dag_run_id": dag_run_id}) if as_json else console.success(f"Started: {dag_run_id}")
        return
    state = dag_runs.wait_for_end(api, order_dag(), dag_run_id)
    _show(hub.get(path_of("orders", order_id)).document, as_json=as_json)
    if state == "failed":
        console.error(f"{dag_run_id} failed. Once its cause is gone: ./hub order run {order_id} --retry")
        raise typer.Exit(Exit.FAILED)


def _id_of(hub: HubApi, order: str) -> str:
    """
    Find the ID of the order with this ID or reference.

    Raises:
        NotFound: no order has the reference.

    """
    if _ORDER_ID.fullmatch(order):
        return order
    found = hub.pages("/orders", "orders", limit=1, reference=order)
    if not found:
        raise NotFound(f"No order has the ID or the reference {order!r}", hint=Hint(HintId.LIST_ORDERS))
    return str(found[0]["order_id"])


def _retry(api: AirflowApi, dag_run_id: str) -> None:
    state = api.dag_run(order_dag(), dag_run_id)["state"]
    if state != "failed":
        raise Conflict(f"{dag_run_id} is {state}: only a failed run is retried")
    # All of them: a step after the failed one has ended well, with no order that had come to it. No step is made twice.
    api.clear(order_dag(), dag_run_id, only_failed=False)


def _start(api: AirflowApi, order_id: str, dag_run_id: str) -> None:
    try:
        api.trigger(order_dag(), {"order_id": order_id}, run_id=dag_run_id)
    except AirflowRefused as refused:
        if refused.status != HTTPStatus.CONFLICT:
            raise
        state = api.dag_run(order_dag(), dag_run_id)["state"]
        raise Conflict(
            f"{order_id} has had its run {dag_run_id}, which is {state}. If it failed: ./hub order run {order_id} --retry"
        ) from refused


@app.command("compensate")
def compensate(order_id: OrderId, reason: Reason, key: Key = None, as_json: Json = False) -> None:
    """
    Cancel an order: have all undone that was done for it, also when it is confirmed.

    Example: ./hub order compensate ord_1f0c9d3e5b7a4c2d8e6f1a2b3c4d5e6f --reason "the customer called"
    """
    order = repeatable.send(path_of("orders", _id_of(hub_api(), order_id), "cancel"), {"reason": reason}, key)
    _show(order, as_json=as_json)
    if not as_json and order["state"] != "cancelled":
        console.say(f"Its undo begins now. To see how far it is: ./hub order show {order['order_id']}")


@app.command("retry")
def retry(
    order_id: OrderId,
    reason: Reason,
    process_is_dead: Annotated[
        bool,
        typer.Option("--process-is-dead", help="Also a step whose call is open: the process that made it was killed."),
    ] = False,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Retry the step that an order waits for, once its cause is removed; or now, if it waits for its time.

    Example: ./hub order retry ord_1f0c9d3e5b7a4c2d8e6f1a2b3c4d5e6f --reason "the gateway is back"
    """
    body = {"reason": reason, "process_is_dead": process_is_dead}
    _show(repeatable.send(path_of("orders", _id_of(hub_api(), order_id), "retry"), body, key), as_json=as_json)


@app.command("resolve")
def resolve(
    order_id: OrderId,
    outcome: Annotated[str, typer.Option(help="done, refused or failed: what you saw in the other system.")],
    reason: Reason,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Say what became of the step that an order waits for, after you looked it up.

    Example: ./hub order resolve ord_1f0c9d3e5b7a4c2d8e6f1a2b3c4d5e6f --outcome done --reason "it is in the dashboard"
    """
    if outcome not in _OUTCOMES:
        raise BadRequest(f"--outcome is one of {', '.join(_OUTCOMES)}")
    body = {"outcome": outcome, "reason": reason}
    _show(repeatable.send(path_of("orders", _id_of(hub_api(), order_id), "resolve"), body, key), as_json=as_json)


def _show(order: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.show_json(order)
        return
    reason = f" ({order['reason']})" if order["reason"] else ""
    title = f"{order['order_id']}: {order['state']}{reason}, {order['total_minor']:,} {order['currency']} (minor units)"
    console.show_table(
        title,
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
        empty=f"{title}. No step has begun yet. To see how far it is: ./hub order show {order['order_id']}",
    )
    if order["reason_given"]:
        console.show(order["reason_given"], heading="reason given ")
    if order["books"]:
        show_books(order["books"])
    if order["waits_for"]:
        console.say(
            f"It waits for a person. The question and its choices: ./hub decisions list --about {order['order_id']}. Once the "
            f"cause is gone: ./hub order retry {order['order_id']} --reason REASON"
        )
