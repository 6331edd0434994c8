"""./hub events: inspect events, delivery status and replays."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, NoReturn

import typer

from crossdock.app.event_types import event_types
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.dead_letters import run_and_follow, show_end
from crossdock.cli.instants import instant_option
from crossdock.cli.session import actor, open_store
from crossdock.commerce.inventory import service as inventory_service
from crossdock.db.database import Store
from crossdock.events import cloudevents
from crossdock.events import store as event_store
from crossdock.events.model import ORIGIN, Event, Position, parse_event_id
from crossdock.events.replay import service as replay_service
from crossdock.events.status import delivery_status
from crossdock.events.store import Selection

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Inspect events, delivery status and replays.")
Json = Annotated[
    bool, typer.Option("--json", help="Print JSON on standard output; events as CloudEvents, one per line.")
]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only this event type; may be repeated.")]
Key = Annotated[str | None, typer.Option(help="Only this key: a SKU, a product's key, an order's number.")]
Since = Annotated[datetime | None, instant_option("--since", "Only events stored at or after this time.")]
Until = Annotated[datetime | None, instant_option("--until", "Only events stored before this time.")]
Silent = Annotated[
    bool, typer.Option("--silent", help="Include the silent events of backfills, which are not delivered.")
]


@app.command("tail")
def tail(
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Continue until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show the latest events, newest last."""
    selection = Selection(types=event_types().known(types or ()), key=key, silent=silent)
    with open_store() as store:
        with store.transaction() as work:
            events = event_store.newest(work, selection, limit=limit)
        _show(events, as_json=as_json)
        if not events and not follow:
            console.say("No events found. To make one: ./hub sandbox move 1, then ./hub sync inventory")
        if follow:
            with suppress(KeyboardInterrupt):  # The usual end.
                _follow(store, selection, events[-1].at if events else ORIGIN, as_json=as_json)


def _follow(store: Store, selection: Selection, last: Position, *, as_json: bool) -> NoReturn:
    while True:
        time.sleep(0.2)
        last = _show_new(store, selection, last, as_json=as_json)


def _show_new(store: Store, selection: Selection, last: Position, *, as_json: bool) -> Position:
    with store.transaction() as work:
        selection = Selection(after=last, types=selection.types, key=selection.key, silent=selection.silent)
        events = event_store.select(work, selection, limit=1_000)
    _show(events, as_json=as_json)
    return events[-1].at if events else last


def _show(events: list[Event], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            console.show_json(cloudevents.as_document(event))
        else:
            # Its position and not its id: one from outside has its sender's, by which nothing here finds it.
            position = f"{event.epoch}-{event.position}"
            console.out.print(
                f"{position:>10}  {event.time:%Y-%m-%d %H:%M:%S}  {event.type}  {event.partition_key}", soft_wrap=True
            )


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(help="ID, as ./hub events tail shows it: 1-4711.")], as_json: Json = False
) -> None:
    """Show an event as a CloudEvent."""
    with open_store() as store, store.transaction() as work:
        event = event_store.get(work, parse_event_id(event_id))
    document = cloudevents.as_document(event)
    if as_json:
        console.show_json(document)
    else:
        console.out.print_json(json.dumps(document))


@app.command("replay")
def replay(
    start: Annotated[str | None, typer.Option("--from", help="The ID of the first event (1-4711).")] = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    subscriber: Annotated[str | None, typer.Option("--to", help="Only to this subscriber; by default to all.")] = None,
    rate: Annotated[float | None, typer.Option(help="Events per second at most.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Send them; without it, they are only counted.")] = False,
    as_json: Json = False,
) -> None:
    """
    Re-send events to subscribers.

    Shows the count first; add --yes to send. Safe: subscribers ignore outdated events.
    """
    chosen = replay_service.subscribers_of(subscriber, subscribers(services()))
    with open_store() as store:
        selection = Selection(
            after=_before(store, start),
            types=event_types().known(types or ()),
            key=key,
            since=since,
            until=until,
            silent=silent,
        )
        if not yes:
            _show_counts(replay_service.count(store, selection, chosen), as_json=as_json)
            return
        requested = replay_service.request_events(store, selection, chosen, rate=rate, actor=actor())
        ended = run_and_follow(store, requested)
    show_end(ended, as_json=as_json)


def _show_counts(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        console.show_json({"dry_run": True, "events": counts})
        return
    for name, number in counts.items():
        console.out.print(f"{name} would receive {number:,} events.")
    console.say("To send them: the same command with --yes")


def _before(store: Store, start: str | None) -> Position:
    if start is None:
        return ORIGIN
    with store.transaction() as work:
        first = event_store.get(work, parse_event_id(start)).at
    return first._replace(position=first.position - 1)


@app.command("status")
def status(as_json: Json = False) -> None:
    """Show the lag and the failures of each subscriber, replays, and the volumes of the last day."""
    with open_store() as store:
        found = delivery_status(store, subscribers(services()), timedelta(days=1))
    if as_json:
        console.show_json(found)
        return
    console.show_table(
        "Subscribers",
        ["subscriber", "waiting", "oldest s", "retrying", "dead", "partitions read"],
        [
            [
                subscriber.subscriber,
                subscriber.waiting,
                round(subscriber.oldest_s, 1),
                subscriber.retrying,
                subscriber.dead,
                subscriber.read_by,
            ]
            for subscriber in found.subscribers
        ],
        empty="No subscribers yet. To start the delivery: ./hub up",
    )
    for subscriber in found.subscribers:
        for outage in subscriber.out:
            console.say(
                f"{outage.source} has been down for {subscriber.subscriber} since {outage.since:%Y-%m-%d %H:%M:%S} "
                f"({outage.cause}): its events wait, and are delivered automatically when it answers"
            )
    console.show_table(
        "Events of the last day",
        ["type", "events", "failed", "unusual"],
        [[volume.type, volume.events, volume.failed, volume.unusual or ""] for volume in found.volumes],
        empty="No events in the last day.",
    )
    console.show_table(
        "Replays",
        ["replay", "kind", "state", "done", "failed", "total"],
        [
            [str(replay.replay_id), replay.kind, replay.state, replay.done, replay.failed, replay.total]
            for replay in found.replays
        ],
        empty="No replays.",
    )
    console.say(f"Age of the oldest open write transaction: {found.horizon_age_s:.1f} s.")


@app.command("rebuild")
def rebuild(
    yes: Annotated[
        bool, typer.Option("--yes", help="Replace the model; without it, the two are only compared.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the read model sku_availability from the event store, and compare the two."""
    with open_store() as store, console.progress("Rebuilding") as bar:
        found = inventory_service.rebuild(
            store, replace=yes, actor=actor(), on_progress=lambda number: bar.update("Rebuilding", done=number)
        )
    if as_json:
        console.show_json(found)
        return
    result = "the model is the same, byte for byte" if not found.differences else f"{found.differences:,} rows differ"
    console.success(f"{found.events:,} events: {result}{'; replaced' if found.replaced else ''}.")
