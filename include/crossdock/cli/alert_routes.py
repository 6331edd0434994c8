"""./hub alerts routes: who gets which alerts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.consent import confirm
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Say who gets which alerts.")

Name = Annotated[str, typer.Argument(help="Name, as ./hub alerts routes list shows it.")]
Patterns = list[str] | None
_WINDOW = re.compile(
    r"(?:(?P<days>[a-z]{3}(?:,[a-z]{3})*)\s+)?(?P<begins>[0-9]{2}:[0-9]{2})-(?P<ends>[0-9]{2}:[0-9]{2})"
)


@app.command("list")
def list_routes(as_json: Json = False) -> None:
    """
    List the routes. Recipients are masked.

    Example: ./hub alerts routes list
    """
    found = hub_api().get("/alert-routes").document["routes"]
    if as_json:
        console.show_json({"routes": found})
        return
    console.show_table(
        "Routes of alerts",
        ["name", "over", "takes", "quiet", "digest over", "again after", "declared in"],
        [_row(each) for each in found],
        empty="There are none: nobody gets an alert. Add one with ./hub alerts routes add",
    )


@app.command("show")
def show_route(name: Name, as_json: Json = False) -> None:
    """
    Show one route. An operator sees its recipients; that is audited.

    Example: ./hub alerts routes show on-call
    """
    found = hub_api().get(path_of("alert-routes", name)).document
    if as_json:
        console.show_json(found)
        return
    console.show_document(found)


@app.command("add")
def add_route(
    name: Annotated[str, typer.Argument(help="Name of the route; one of this name is replaced.")],
    integration: Annotated[str, typer.Option(help="The integration that sends its messages.")],
    to: Annotated[list[str] | None, typer.Option(help="A recipient, where the integration takes them.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only kinds that fit, such as run_*.")] = None,
    severity: Annotated[str, typer.Option(help="At least so grave: info, warning, critical.")] = "info",
    stream: Annotated[list[str] | None, typer.Option(help="Only streams that fit, such as shop_eu.*.")] = None,
    of: Annotated[list[str] | None, typer.Option(help="Only alerts of integrations that fit.")] = None,
    digest_over: Annotated[
        int,
        typer.Option(
            min=0, max=1_000, help="More causes than so many within about a minute come in one message; 0: never."
        ),
    ] = 10,
    remind_every_hours: Annotated[
        int, typer.Option(min=0, max=168, help="How often a cause that lasts is sent again; 0: never.")
    ] = 1,
    quiet: Annotated[
        list[str] | None, typer.Option(help="Hours in which it sends nothing: 22:00-07:00, or sat,sun 00:00-00:00.")
    ] = None,
    zone: Annotated[str | None, typer.Option(help="The time zone of the quiet hours, such as Europe/Berlin.")] = None,
    critical_waits: Annotated[
        bool, typer.Option("--critical-waits", help="In quiet hours, hold critical alerts, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Add a route, or replace the one of its name.

    Example: ./hub alerts routes add on-call --integration ops_mail --to ada@shop.example --severity critical

    Example: ./hub alerts routes add office --integration ops_slack --quiet 18:00-08:00 --quiet "sat,sun 00:00-00:00"
    --zone Europe/Berlin
    """
    body = {
        "name": name,
        "integration": integration,
        "recipients": to or [],
        "kinds": kind or [],
        "severity": severity,
        "streams": stream or [],
        "integrations": of or [],
        "quiet": quiet_hours(quiet or [], zone, critical_passes=not critical_waits),
        "digest_over": digest_over or None,
        "remind_every_hours": remind_every_hours or None,
    }
    found = hub_api().post("/alert-routes", body).document
    if as_json:
        console.show_json(found)
        return
    console.success(f"The route {name} sends over {integration}. To try it: ./hub alerts test {name}")


def quiet_hours(windows: list[str], zone: str | None, *, critical_passes: bool) -> dict[str, Any] | None:
    """
    Read the quiet hours as they are given: `22:00-07:00` on every day, `sat,sun 00:00-00:00` on some.

    Raises:
        BadRequest: a window has another form, or there is a zone without windows or the other way round.

    """
    if bool(windows) != bool(zone):
        raise BadRequest("Quiet hours need both --quiet (22:00-07:00) and --zone (Europe/Berlin)")
    if not windows:
        return None
    return {"zone": zone, "windows": [_window(text) for text in windows], "critical_passes": critical_passes}


def _window(text: str) -> dict[str, Any]:
    found = _WINDOW.fullmatch(text.strip().lower())
    if found is None:
        raise BadRequest(
            f"{text!r} is no window of quiet hours (expected something like 22:00-07:00 or sat,sun 00:00-00:00)"
        )
    days = {"days": found["days"].split(",")} if found["days"] else {}
    return {**days, "from": found["begins"], "to": found["ends"]}


@app.command("remove")
def remove_route(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: Json = False,
) -> None:
    """
    Remove a route. What waits for it is never sent.

    Example: ./hub alerts routes remove on-call --yes
    """
    confirm(f"This removes the route {name} and the messages that wait for it", yes=yes)
    hub_api().delete(path_of("alert-routes", name), if_match=None)
    if as_json:
        console.show_json({"name": name, "removed": True})
        return
    console.success(f"The route {name} is removed.")


@app.command("validate")
def validate(
    file: Annotated[Path, typer.Argument(help="A file of routes: dags/alert_routes/NAME.yaml.")],
    as_json: Json = False,
) -> None:
    """
    Validate a file of routes; reports every error with its line. Works offline.

    Example: ./hub alerts routes validate alert_routes.yaml
    """
    from crossdock.maintenance.alerting import declared  # noqa: PLC0415  only this command needs it

    routes = [route.name for route in declared.read(file)]
    if as_json:
        console.show_json({"routes": routes})
        return
    console.success(f"{file} is valid: {', '.join(routes) or 'no route'}")


def _row(found: dict[str, Any]) -> list[str]:
    route = found["route"]
    parts = [
        f"{route['severity']} or worse" if route["severity"] != "info" else "",
        *(f"{name} {', '.join(route[name])}" for name in ("kinds", "streams", "integrations") if route[name]),
    ]
    return [
        route["name"],
        route["integration"],
        "; ".join(filter(None, parts)) or "everything",
        route["quiet"]["zone"] if route["quiet"] else "",
        str(route["digest_over"] or "never"),
        f"{route['remind_every_hours']} h" if route["remind_every_hours"] else "never",
        found["declared_in"] or "",
    ]
