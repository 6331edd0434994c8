"""./hub events: what happened, who has heard of it, and telling it again."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Annotated, NoReturn

import typer

from crossdock.app.subscribers import SUBSCRIBERS
from crossdock.cli import console
from crossdock.cli.command_groups import Verbs
from crossdock.cli.dead_letters import followed, tell_end
from crossdock.cli.instants import instant_option
from crossdock.cli.session import actor, open_store
from crossdock.commerce.inventory import service as rebuild_availability
from crossdock.db.database import Store
from crossdock.events import cloudevents as cloud_events
from crossdock.events import schemas as event_contracts
from crossdock.events import store as event_log
from crossdock.events.model import ORIGIN, Event, Position, place_of
from crossdock.events.replay import service as replay_events
from crossdock.events.status import standing
from crossdock.events.store import Selection

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="What happened, who has heard of it, and telling it again.")
Json = Annotated[bool, typer.Option("--json", help="JSON on standard output; CloudEvents, one a line, for events.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only this type; may be repeated.")]
Key = Annotated[str | None, typer.Option(help="Only this key: a sku, a product's key, an order's number.")]
Since = Annotated[datetime | None, instant_option("--since", "Only what came in at or after it.")]
Until = Annotated[datetime | None, instant_option("--until", "Only what came in before it.")]
Silent = Annotated[bool, typer.Option("--silent", help="Also events of backfills, which are told to nobody.")]


@app.command("tail")
def tail(
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """The newest events, the newest last."""
    wanted = Selection(types=event_contracts.known(types or ()), key=key, silent=silent)
    with open_store() as store:
        with store.transaction() as work:
            events = event_log.newest(work, wanted, limit=limit)
        _tell(events, as_json=as_json)
        if not events and not follow:
            console.say("No such event. Make one: ./hub sandbox move 1, then ./hub sync inventory")
        if follow:
            with suppress(KeyboardInterrupt):  # How it is meant to end.
                _follow(store, wanted, events[-1].at if events else ORIGIN, as_json=as_json)


def _follow(store: Store, wanted: Selection, last: Position, *, as_json: bool) -> NoReturn:
    while True:
        time.sleep(0.2)
        last = _tell_new(store, wanted, last, as_json=as_json)


def _tell_new(store: Store, wanted: Selection, last: Position, *, as_json: bool) -> Position:
    with store.transaction() as work:
        wanted = Selection(after=last, types=wanted.types, key=wanted.key, silent=wanted.silent)
        events = event_log.select(work, wanted, limit=1_000)
    _tell(events, as_json=as_json)
    return events[-1].at if events else last


def _tell(events: list[Event], *, as_json: bool) -> None:
    for event in events:
        if as_json:
            console.show_json(cloud_events.as_document(event))
        else:
            # Its place and not its id: one from outside has its sender's, by which nothing here finds it.
            place = f"{event.epoch}-{event.position}"
            console.out.print(
                f"{place:>10}  {event.time:%Y-%m-%d %H:%M:%S}  {event.type}  {event.partition_key}", soft_wrap=True
            )


@app.command("show")
def show(
    event_id: Annotated[str, typer.Argument(help="As ./hub events tail has it: 1-4711.")], as_json: Json = False
) -> None:
    """One event as a CloudEvent."""
    with open_store() as store, store.transaction() as work:
        event = event_log.get(work, place_of(event_id))
    document = cloud_events.as_document(event)
    if as_json:
        console.show_json(document)
    else:
        console.out.print_json(json.dumps(document))


@app.command("replay")
def replay(
    start: Annotated[str | None, typer.Option("--from", help="The first event, by its id (1-4711).")] = None,
    since: Since = None,
    until: Until = None,
    types: Types = None,
    key: Key = None,
    silent: Silent = False,
    subscriber: Annotated[str | None, typer.Option("--to", help="Only this subscriber; by default all.")] = None,
    rate: Annotated[float | None, typer.Option(help="At most so many a second.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without, it is only counted.")] = False,
    as_json: Json = False,
) -> None:
    """Tell events again. Counts first; with --yes it does. Handlers mind older events no more than late ones."""
    subscribers = replay_events.subscribers_of(subscriber, SUBSCRIBERS)
    with open_store() as store:
        wanted = Selection(
            after=_before(store, start),
            types=event_contracts.known(types or ()),
            key=key,
            since=since,
            until=until,
            silent=silent,
        )
        if not yes:
            _tell_counts(replay_events.count(store, wanted, subscribers), as_json=as_json)
            return
        asked = replay_events.ask_for_events(store, wanted, subscribers, rate=rate, actor=actor())
        ended = followed(store, asked)
    tell_end(ended, as_json=as_json)


def _tell_counts(counts: dict[str, int], *, as_json: bool) -> None:
    if as_json:
        console.show_json({"dry_run": True, "events": counts})
        return
    for name, number in counts.items():
        console.out.print(f"{name} would be told {number:,} events again.")
    console.say("Do it: the same with --yes")


def _before(store: Store, start: str | None) -> Position:
    if start is None:
        return ORIGIN
    with store.transaction() as work:
        first = event_log.get(work, place_of(start)).at
    return first._replace(position=first.position - 1)


@app.command("status")
def status(as_json: Json = False) -> None:
    """Where each reader stands, what waits, what is replayed; volumes of the last day."""
    with open_store() as store:
        found = standing(store, SUBSCRIBERS, timedelta(days=1))
    if as_json:
        console.show_json(found)
        return
    console.show_table(
        "Subscribers",
        ["subscriber", "waiting", "oldest s", "retrying", "dead", "partitions read"],
        [
            [each.subscriber, each.waiting, round(each.oldest_s, 1), each.retrying, each.dead, each.read_by]
            for each in found.subscribers
        ],
        empty="Nobody reads yet. Delivery starts with: ./hub up",
    )
    for each in found.subscribers:
        for outage in each.out:
            console.say(
                f"{outage.source} is out for {each.subscriber} since {outage.since:%Y-%m-%d %H:%M:%S} "
                f"({outage.cause}): its events wait, and come in by themselves when it answers"
            )
    console.show_table(
        "Events of the last day",
        ["type", "events", "failed", "unusual"],
        [[each.type, each.events, each.failed, each.unusual or ""] for each in found.volumes],
        empty="No events in the last day.",
    )
    console.show_table(
        "Replays",
        ["replay", "kind", "state", "done", "failed", "total"],
        [[str(each.replay_id), each.kind, each.state, each.done, each.failed, each.total] for each in found.replays],
        empty="No replays.",
    )
    console.say(f"The oldest open write transaction is {found.horizon_age_s:.1f} s old.")


@app.command("rebuild")
def rebuild(
    yes: Annotated[bool, typer.Option("--yes", help="Replace the model; without, it is only compared.")] = False,
    as_json: Json = False,
) -> None:
    """Build the read model sku_availability again from the event store alone, and compare the two."""
    with open_store() as store, console.progress("Rebuilding") as bar:
        found = rebuild_availability.rebuild(
            store, replace=yes, actor=actor(), tell=lambda number: bar.tell("Rebuilding", done=number)
        )
    if as_json:
        console.show_json(found)
        return
    said = "the same, byte for byte" if not found.differences else f"{found.differences:,} rows differ"
    console.praise(f"{found.events:,} events: {said}{'; replaced' if found.replaced else ''}.")
