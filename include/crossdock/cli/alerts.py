"""./hub alerts: what needs a person, who gets it, and what was sent."""

from __future__ import annotations

import time
from datetime import datetime
from functools import partial
from typing import Annotated, Any

import typer

from crossdock.cli import alert_routes, console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import instant_option, optional_text, shown
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubApi
from crossdock.client.patience import Patience
from crossdock.core.errors import BadRequest
from crossdock.core.instants import utc_text
from crossdock.core.paths import path_of

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="List, acknowledge and mute alerts, and say who gets which of them.",
)
app.add_typer(alert_routes.app, name="routes")

_STATES = ("open", "closed", "all")
_MESSAGE_STATES = ("waiting", "sending", "sent", "refused")
_GRAVEST_FIRST = {"critical": 0, "warning": 1, "info": 2}
_ENDED = {"sent", "refused"}
_LOOK_EVERY_S = 1.0


@app.command("list")
def list_alerts(
    state: Annotated[str, typer.Option(help=f"One of {', '.join(_STATES)}.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List alerts: of the newest, the gravest first.

    Example: ./hub alerts list --state open
    """
    _refuse_other(state, _STATES)
    found = hub_api().pages("/alerts", "alerts", limit=limit, state=state)
    found.sort(key=lambda alert: _GRAVEST_FIRST.get(alert["severity"], len(_GRAVEST_FIRST)))
    if as_json:
        console.show_json({"alerts": found, "has_more": found.has_more})
        return
    console.show_table(
        "Alerts",
        ["ID", "severity", "since", "subject", "what is wrong", "acknowledged by"],
        [
            [
                str(alert["alert_id"]),
                alert["severity"],
                shown(alert["opened_at"]),
                alert["subject"],
                alert["message"],
                alert["acknowledged_by"] or "",
            ]
            for alert in found
        ],
        empty="There are none.",
    )
    console.say_if_cut(len(found), has_more=found.has_more)


@app.command("ack")
def acknowledge(
    alert_id: Annotated[int, typer.Argument(help="ID, as ./hub alerts list shows it.")],
    until: Annotated[datetime | None, instant_option("--until", "Until when; by default until it closes.")] = None,
    as_json: Json = False,
) -> None:
    """
    Say that you are at an alert: it is not sent again. That it closed is sent all the same.

    Example: ./hub alerts ack 7 --until 2026-12-01T06:00Z
    """
    body = {"until": optional_text(until)}
    found = hub_api().post(path_of("alerts", alert_id, "acknowledge"), body).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"Alert {alert_id} is acknowledged until {shown(found['acknowledged_until']) or 'it closes'}.")


@app.command("mute")
def mute(
    until: Annotated[datetime, instant_option("--until", "Until when.")],
    reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
    kind: Annotated[str, typer.Option(help="Only of kinds that fit, such as run_*.")] = "*",
    subject: Annotated[str, typer.Option(help="Only about subjects that fit, such as shop_eu.*.")] = "*",
    integration: Annotated[str, typer.Option(help="Only of integrations that fit.")] = "*",
    as_json: Json = False,
) -> None:
    """
    Silence alerts for a time. Those that are open when it ends are sent then.

    Example: ./hub alerts mute --subject "shop_eu.*" --until 2026-12-01T06:00:00Z --reason "the shop is rebuilt"
    """
    body = {"kind": kind, "subject": subject, "integration": integration, "until": utc_text(until), "reason": reason}
    found = hub_api().post("/alert-mutes", body).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"Muted until {shown(found['until'])}. To end it sooner: ./hub alerts unmute {found['mute_id']}")


@app.command("mutes")
def list_mutes(as_json: Json = False) -> None:
    """
    List the mutes that hold.

    Example: ./hub alerts mutes
    """
    found = hub_api().get("/alert-mutes").document["mutes"]
    if as_json:
        console.show_json({"mutes": found})
        return
    console.show_table(
        "Mutes",
        ["ID", "kind", "subject", "integration", "until", "by", "reason"],
        [
            [
                str(each["mute_id"]),
                each["kind"],
                each["subject"],
                each["integration"],
                shown(each["until"]),
                each["created_by"],
                each["reason"],
            ]
            for each in found
        ],
        empty="There are none.",
    )


@app.command("unmute")
def unmute(
    mute_id: Annotated[int, typer.Argument(help="ID, as ./hub alerts mutes shows it.")], as_json: Json = False
) -> None:
    """
    End a mute now.

    Example: ./hub alerts unmute 3
    """
    found = hub_api().post(path_of("alert-mutes", mute_id, "end"), {}).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"The mute {mute_id} has ended.")


@app.command("messages")
def list_messages(
    state: Annotated[str | None, typer.Option(help=f"Only those in this state: {', '.join(_MESSAGE_STATES)}.")] = None,
    route: Annotated[str | None, typer.Option(help="Only those to this route.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List the messages of alerts, newest first.

    Example: ./hub alerts messages --state refused
    """
    _refuse_other(state, (None, *_MESSAGE_STATES))
    found = hub_api().pages("/alert-messages", "messages", limit=limit, state=state, route=route)
    if as_json:
        console.show_json({"messages": found, "has_more": found.has_more})
        return
    console.show_table(
        "Messages",
        ["written", "route", "over", "state", "tries", "title", "reason"],
        [
            [
                shown(each["created_at"]),
                each["route"],
                each["integration"],
                each["state"],
                str(each["attempts"]),
                each["title"],
                each["error"] or "",
            ]
            for each in found
        ],
        empty="There are none.",
    )
    console.say_if_cut(len(found), has_more=found.has_more)


@app.command("test")
def test_route(
    route: Annotated[str, typer.Argument(help="Name of the route, as ./hub alerts routes list shows it.")],
    wait_s: Annotated[float, typer.Option("--wait", min=0, help="For how many seconds to wait for the result.")] = 60,
    as_json: Json = False,
) -> None:
    """
    Send a test message to a route, and wait until it is accepted.

    Example: ./hub alerts test on-call
    """
    api = hub_api()
    found = _followed(api, api.post(path_of("alert-routes", route, "test"), {}).document, wait_s)
    if as_json:
        console.show_json(found)
    elif found["state"] == "sent":
        console.success(f"{found['integration']} has accepted the test message {found['message_id']}.")
    else:
        reason = found["error"] or "nobody has taken it; the process alert-sender may not run (./hub status)"
        console.error(f"The test message {found['message_id']} is {found['state']}: {reason}")
    if found["state"] != "sent":
        raise typer.Exit(Exit.FAILED)


def _followed(api: HubApi, message: dict[str, Any], wait_s: float) -> dict[str, Any]:
    """Read the message until it is sent or refused, or one attempt has failed, or the time is over."""
    until = time.monotonic() + wait_s
    patience = Patience(f"The test message {message['message_id']}", "./hub alerts messages", patience_s=wait_s)
    while message["state"] not in _ENDED and not message["error"] and time.monotonic() < until:
        time.sleep(_LOOK_EVERY_S)
        answer = patience.look(partial(api.get, path_of("alert-messages", message["message_id"])))
        message = answer.document if answer else message
    return message


def _refuse_other(state: str | None, known: tuple[str | None, ...]) -> None:
    if state not in known:
        raise BadRequest(f"{state!r} is no state. Use one of: {', '.join(filter(None, known))}")
