"""./hub events: inspect events, delivery status and replays."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Annotated, Any, NoReturn

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.dead_letters import FAILED_AGAIN
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import instant_option, optional_text, shown
from crossdock.cli.options import Json
from crossdock.cli.replays import follow_replay, show_end
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubApi
from crossdock.client.patience import Patience
from crossdock.core.counted import counted
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Inspect events, delivery status and replays.")
CloudEvents = Annotated[bool, typer.Option("--json", help="Print CloudEvents on standard output, one per line.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only this event type; may be repeated.")]
Key = Annotated[str | None, typer.Option(help="Only this key: a SKU, a product's key, an order's number.")]
Since = Annotated[datetime | None, instant_option("--since", "Only events stored at or after this time.")]
Until = Annotated[datetime | None, instant_option("--until", "Only events stored before this time.")]
Silent = Annotated[
    bool, typer.Option("--silent", help="Include the silent events of backfills, which are not delivered.")
]
Run = Annotated[str | None, typer.Option("--run", help="Only what this run wrote, silent or not; its ID: ./hub runs")]
_LOOK_EVERY_S = 0.5
#: Replaces or compares a whole read model, event by event.
_REBUILD_TIMEOUT_S = 3_600.0


@app.command("list")
def list_events(
    types: Types = None,
    key: Key = None,
    run: Run = None,
    silent: Silent = False,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_OF_LONG_LISTS)] = 50,
    as_json: CloudEvents = False,
) -> None:
    """
    List events in their order, the oldest first: all that a run wrote, or all of a key. `tail` shows the latest.

    Example: ./hub events list --run inventory-20261128T131834-69a92f2b
    """
    found = _oldest(hub_api(), {"type": types, "key": key, "run": run, "silent": silent}, limit + 1)
    _show(found[:limit], as_json=as_json)
    if not found:
        console.say("No events found.")
    if not as_json:
        console.say_if_cut(limit, has_more=len(found) > limit, most=console.MOST_OF_LONG_LISTS)


def _oldest(api: HubApi, query: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    """Read at most *limit* events from the oldest on. The last page has a cursor, too, to follow the store: a short one is the last."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while len(found) < limit:
        size = min(LARGEST_PAGE, limit - len(found))
        page = api.get("/events", cursor=cursor, limit=size, **query).document
        found += page["events"]
        cursor = page["next_cursor"]
        if len(page["events"]) < size:
            break
    return found


@app.command("tail")
def tail(
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until Ctrl-C.")] = False,
    as_json: CloudEvents = False,
) -> None:
    """
    Show the latest events, newest last. Personal data is masked; `show` reveals one event to an operator.

    Example: ./hub events tail --type crossdock.stock.changed --follow
    """
    api, query = hub_api(), {"type": types, "key": key, "silent": silent}
    page = api.get("/events", latest=True, limit=limit, **query).document
    _show(page["events"], as_json=as_json)
    if not page["events"] and not follow:
        console.say("No events found. To make one: ./hub sandbox move 1, then ./hub sync inventory")
    if follow:
        with suppress(KeyboardInterrupt):  # The usual end.
            _follow(api, query, page["next_cursor"], as_json=as_json)


def _follow(api: HubApi, query: dict[str, Any], cursor: str | None, *, as_json: bool) -> NoReturn:
    patience = Patience("The hub", "./hub events tail --follow")
    while True:
        time.sleep(_LOOK_EVERY_S)
        look = partial(api.get, "/events", cursor=cursor, limit=LARGEST_PAGE, **query)
        if (answer := patience.look(look)) is None:
            continue
        page = answer.document
        _show(page["events"], as_json=as_json)
        cursor = page["next_cursor"] or cursor


def _show(events: list[dict[str, Any]], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            console.show_json(event)
        else:
            console.show(f"{event['id']:>10}  {shown(event['time'])}  {event['type']}  {event['partitionkey']}")


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(help="ID, as ./hub events tail shows it: 1-4711.")], as_json: Json = False
) -> None:
    """
    Show an event as a CloudEvent.

    Example: ./hub events show 1-4711
    """
    document = hub_api().get(path_of("events", event_id)).document
    if as_json:
        console.show_json(document)
    else:
        console.show_document(document)


@app.command("replay")
def replay(
    start: Annotated[str | None, typer.Option("--from", help="The ID of the first event (1-4711).")] = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    subscriber: Annotated[str | None, typer.Option("--to", help="Only to this subscriber; by default to all.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second at most.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Replay them; without it, they are only counted.")] = False,
    as_json: Json = False,
) -> None:
    """
    Replay events to subscribers.

    Shows the count first; add --yes to replay. Safe: subscribers ignore outdated events.

    Example: ./hub events replay --since 2026-11-21 --to availability --yes
    """
    chosen = {
        "first": start,
        "since": optional_text(since),
        "until": optional_text(until),
        "types": types or [],
        "key": key,
        "silent": silent,
        "subscriber": subscriber,
    }
    api = hub_api(starts_runs=yes)
    if not yes:
        _show_counts(api.post("/event-replays/count", chosen).document["events"], as_json=as_json)
        return
    ended = follow_replay(api, api.post("/event-replays", {**chosen, "rate": rate}).document)
    show_end(ended, "delivered", FAILED_AGAIN, as_json=as_json)


def _show_counts(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        console.show_json({"dry_run": True, "events": counts})
        return
    for name, number in counts.items():
        console.show(f"{name} would receive {counted(number, 'event')}.")
    console.say("To send them: the same command with --yes")


@app.command("status")
def status(as_json: Json = False) -> None:
    """
    Show the lag and the failures of each subscriber, replays, and the volumes of the last day.

    Example: ./hub events status
    """
    api = hub_api()
    found = api.get("/delivery").document
    replays = api.get("/replays", limit=10).document["replays"]
    if as_json:
        console.show_json({**found, "replays": replays})
        return
    _show_subscribers(found["subscribers"])
    console.show_table(
        "Events of the last day",
        ["type", "events", "failed", "unusual"],
        [[volume["type"], volume["events"], volume["failed"], volume["unusual"] or ""] for volume in found["volumes"]],
        empty="No events in the last day.",
    )
    console.show_table(
        "Replays",
        ["replay", "kind", "state", "done", "failed", "total"],
        [
            [str(each["replay_id"]), each["kind"], each["state"], each["done"], each["failed"], each["total"]]
            for each in replays
        ],
        empty="No replays.",
    )
    console.say(f"Age of the oldest open write transaction: {found['horizon_age_s']:.1f} s.")


def _show_subscribers(subscribers: list[dict[str, Any]]) -> None:
    console.show_table(
        "Subscribers",
        ["subscriber", "waiting", "oldest s", "retrying", "dead", "partitions read"],
        [
            [
                subscriber["subscriber"],
                subscriber["waiting"],
                round(subscriber["oldest_s"], 1),
                subscriber["retrying"],
                subscriber["dead"],
                subscriber["read_by"],
            ]
            for subscriber in subscribers
        ],
        empty="No subscribers yet. To start the delivery: ./hub up",
    )
    for subscriber in subscribers:
        for outage in subscriber["out"]:
            console.say(
                f"{outage['source']} has been down for {subscriber['subscriber']} since {shown(outage['since'])} "
                f"({outage['cause']}): its events wait, and are delivered automatically when it answers"
            )


@app.command("rebuild")
def rebuild(
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace the model; without it, the two are only compared.")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    Rebuild the read model sku_availability from the event store, and compare the two.

    Example: ./hub events rebuild --yes
    """
    with console.progress("Rebuilding") as bar:
        bar.update("Rebuilding")
        found = hub_api().post("/availability-rebuilds", {"replace": yes}, timeout_s=_REBUILD_TIMEOUT_S).document
    is_wrong = bool(found["differences"]) and not found["replaced"]
    if as_json:
        console.show_json(found)
        if is_wrong:
            raise typer.Exit(Exit.PARTIAL)
        return
    same = "the model is the same, byte for byte"
    result = f"{counted(found['differences'], 'row')} of the model did not agree" if found["differences"] else same
    mark = console.error if is_wrong else console.success
    mark(f"{counted(found['events'], 'event')}: {result}{'; it was replaced' if found['replaced'] else ''}.")
    if is_wrong:
        console.say("To replace the model: ./hub events rebuild --yes")
        raise typer.Exit(Exit.PARTIAL)
