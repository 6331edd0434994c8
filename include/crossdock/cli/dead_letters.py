"""./hub dead-letters: inspect, fix and replay events that a subscriber could not process."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from crossdock.app.event_types import event_types
from crossdock.app.replays import EXECUTORS
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.cli import console, selection
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.exit_codes import Exit
from crossdock.cli.selection import (
    Cause,
    Changes,
    Everything,
    File,
    Json,
    edit_from,
    parse_state,
    require_one_selection,
)
from crossdock.cli.session import actor, open_store
from crossdock.db.bulk_edit import Discarded
from crossdock.db.database import Store
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.events.dead_letters import service as dead_letter_service
from crossdock.events.replay import repository as replay_repository
from crossdock.events.replay import service as replay_service
from crossdock.events.replay.repository import Replay

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Inspect, fix and replay events that a subscriber could not process."
)
DeadLetterId = Annotated[int, typer.Argument(help="ID, as ./hub dead-letters list shows it.")]

_STATES = ("dead", "retrying", "waiting", "recovered", "replayed", "discarded", "superseded", "all")


@app.command("list")
def list_dead_letters(
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "dead",
    cause: Annotated[str | None, typer.Option(help="Only of this cause.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="Only of this subscriber.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    as_json: Json = False,
) -> None:
    """List dead letters, and their causes."""
    only = parse_state(state, _STATES)
    with open_store() as store, store.transaction() as work:
        causes = dead_letter_repository.causes(work)
        found = dead_letter_repository.find(work, state=only, cause=cause, subscriber=subscriber, limit=limit)
    if as_json:
        console.show_json(
            {"causes": causes, "dead_letters": [dead_letter_service.document(dead_letter) for dead_letter in found]}
        )
        return
    console.show_table(
        "Dead letters by cause",
        ["subscriber", "event", "cause", "dead letters", "latest reason"],
        [[group.subscriber, group.type, group.cause, group.dead_letters, group.reason] for group in causes],
        empty="There are no dead letters.",
    )
    console.show_table(
        f"Dead letters ({state})",
        ["id", "subscriber", "subject", "cause", "attempts", "last seen"],
        [
            [
                str(dead_letter.dead_letter_id),
                dead_letter.subscriber,
                dead_letter.event.subject or dead_letter.event.partition_key,
                dead_letter.cause,
                dead_letter.attempts,
                f"{dead_letter.last_seen_at:%Y-%m-%d %H:%M:%S}",
            ]
            for dead_letter in found
        ],
        empty="No dead letters in that state.",
    )
    if found and state == "dead":
        console.say(f"To inspect one: ./hub dead-letters show {found[0].dead_letter_id}")


@app.command("show")
def show(dead_letter_id: DeadLetterId, as_json: Json = False) -> None:
    """Show an event as it came, why it failed, and how often it was tried."""
    with open_store() as store, store.transaction() as work:
        dead_letter = dead_letter_repository.get(work, dead_letter_id)
    document = dead_letter_service.document(dead_letter)
    if as_json:
        console.show_json(document)
        return
    event = dead_letter.event
    console.out.print(
        f"[bold]dead letter {dead_letter_id}[/]  {dead_letter.subscriber}  {event.type}  {dead_letter.state}"
    )
    if dead_letter.cause:
        console.error(f"{dead_letter.cause} after {dead_letter.attempts} attempts: {dead_letter.reason}")
    console.out.print_json(json.dumps(document["event"], default=str))
    if dead_letter.edited_data:
        console.say("Edited data:")
        console.out.print_json(dead_letter.edited_data)
    if dead_letter.state == "dead":
        console.say(
            f"To fix it: ./hub dead-letters fix {dead_letter_id} --set FIELD=VALUE, "
            f"then: ./hub dead-letters replay {dead_letter_id}"
        )


@app.command("fix")
def fix(
    dead_letter_id: DeadLetterId,
    changes: Changes = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Edit an event's data. Nothing is delivered until it is replayed; the original data are kept."""
    change = edit_from(changes, file)
    with open_store() as store:
        if isinstance(change, bytes):
            dead_letter = dead_letter_service.edit(
                store, dead_letter_id, json.loads(change), event_types=event_types(), actor=actor()
            )
        else:
            dead_letter = dead_letter_service.edit_fields(
                store, dead_letter_id, change, event_types=event_types(), actor=actor()
            )
    if as_json:
        console.show_json(dead_letter_service.document(dead_letter))
        return
    if dead_letter.edited_data:
        console.success("The change is saved.")
    else:
        console.success("The data equal the original: the edit is removed.")
    console.say(f"To replay it: ./hub dead-letters replay {dead_letter_id}")


@app.command("replay")
def replay(
    dead_letter_ids: Annotated[list[int] | None, typer.Argument(help="IDs to replay, including closed ones.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    rate: Annotated[float | None, typer.Option(help="Events per second at most.")] = None,
    as_json: Json = False,
) -> None:
    """Replay dead letters with their edited data. Ctrl-C stops it; what was delivered stays delivered."""
    ids = require_one_selection(dead_letter_ids, cause=cause, everything=everything)
    with open_store() as store:
        requested = replay_service.request_dead_letters(
            store, ids, cause=cause, everything=everything, rate=rate, actor=actor()
        )
        ended = run_and_follow(store, requested)
    show_end(ended, as_json=as_json)


@app.command("stop")
def stop(
    replay_id: Annotated[int, typer.Argument(help="ID, as ./hub events status shows it.")], as_json: Json = False
) -> None:
    """Stop a replay of dead letters or events; what was delivered stays delivered."""
    with open_store() as store:
        ended = replay_service.stop(store, replay_id, actor=actor())
    if as_json:
        console.show_json(ended)
    else:
        console.success(f"Replay {replay_id} stopped after {ended.done + ended.failed} of {ended.total}.")


def _discard(store: Store, ids: Sequence[int], reason: str, on_progress: Callable[[int], None]) -> Discarded:
    return dead_letter_service.discard_all(store, ids, reason, actor=actor(), on_progress=on_progress)


selection.add_discard(
    app,
    "dead letters",
    dead_letter_service.choose,
    _discard,
    doc="Close dead letters that need no delivery. They are kept, and can still be replayed.",
)


def run_and_follow(store: Store, requested: Replay) -> Replay:
    """Run the replay in this process and show its progress; return it as it ended."""
    title = f"Replaying {requested.total} {requested.kind.replace('_', ' ')}"
    with console.progress(title) as bar:

        def show_progress(now: Replay) -> None:
            bar.update(title, done=now.done + now.failed, total=now.total)

        try:
            ended = replay_service.run_replay(
                store,
                requested.replay_id,
                subscribers=subscribers(services()),
                executors=EXECUTORS,
                on_progress=show_progress,
            )
        except KeyboardInterrupt:
            ended = replay_service.stop(store, requested.replay_id, actor=actor())
    if ended is None:
        # A delivery worker was quicker: it runs unclaimed replays.
        with store.transaction() as work:
            ended = replay_repository.get(work, requested.replay_id)
    return ended


def show_end(ended: Replay, *, as_json: bool) -> None:
    """Show the result of a replay; exit with code 3 where something failed again."""
    if as_json:
        console.show_json(ended)
    else:
        console.success(
            f"Replay {ended.replay_id} is {ended.state}: {ended.done} delivered, {ended.failed} failed again"
        )
        if ended.state == "open":
            console.say("A delivery worker continues it. To follow it: ./hub events status")
    if ended.failed:
        console.say("To list what failed again: ./hub dead-letters list")
        raise typer.Exit(Exit.PARTIAL)
