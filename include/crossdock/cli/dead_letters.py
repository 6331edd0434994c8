"""./hub dead-letters: events that a subscriber could not take: look, mend, replay."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from crossdock.app.replays import EXECUTORS
from crossdock.app.subscribers import SUBSCRIBERS
from crossdock.cli import console
from crossdock.cli import selection as desk_options
from crossdock.cli.command_groups import Verbs
from crossdock.cli.exit_codes import Exit
from crossdock.cli.selection import Cause, Changes, Everything, File, Json, mend_of, refuse_no_choice, refuse_no_state
from crossdock.cli.session import actor, open_store
from crossdock.db.database import Store
from crossdock.events.dead_letters import repository as failed_deliveries
from crossdock.events.dead_letters import service as dead_letter_desk
from crossdock.events.replay import repository as event_replays
from crossdock.events.replay import service as replay_events
from crossdock.events.replay.repository import Replay

app = typer.Typer(
    cls=Verbs, no_args_is_help=True, help="Events that a subscriber could not take: whole, with the reason."
)
LetterId = Annotated[int, typer.Argument(help="As ./hub dead-letters list has it.")]

_STATES = ("dead", "retrying", "waiting", "recovered", "replayed", "discarded", "superseded", "all")


@app.command("list")
def list_letters(
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "dead",
    cause: Annotated[str | None, typer.Option(help="Only what failed so.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="Only this subscriber's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    as_json: Json = False,
) -> None:
    """Dead letters, grouped by what failed."""
    wanted = refuse_no_state(state, _STATES)
    with open_store() as store, store.transaction() as work:
        groups = failed_deliveries.causes(work)
        letters = failed_deliveries.find(work, state=wanted, cause=cause, subscriber=subscriber, limit=limit)
    if as_json:
        console.show_json({"causes": groups, "letters": [dead_letter_desk.document(letter) for letter in letters]})
        return
    console.show_table(
        "Dead, by cause",
        ["subscriber", "event", "cause", "letters", "newest"],
        [[group.subscriber, group.type, group.cause, group.letters, group.reason] for group in groups],
        empty="There are no dead letters.",
    )
    console.show_table(
        f"Letters ({state})",
        ["letter", "subscriber", "subject", "cause", "attempts", "last seen"],
        [
            [
                str(letter.letter_id),
                letter.subscriber,
                letter.event.subject or letter.event.partition_key,
                letter.cause,
                letter.attempts,
                f"{letter.last_seen_at:%Y-%m-%d %H:%M:%S}",
            ]
            for letter in letters
        ],
        empty="No letters in that state.",
    )
    if letters and state == "dead":
        console.say(f"Look at one: ./hub dead-letters show {letters[0].letter_id}")


@app.command("show")
def show(letter_id: LetterId, as_json: Json = False) -> None:
    """One event as it came, why it failed, and how often it was tried."""
    with open_store() as store, store.transaction() as work:
        letter = failed_deliveries.get(work, letter_id)
    document = dead_letter_desk.document(letter)
    if as_json:
        console.show_json(document)
        return
    console.out.print(f"[bold]letter {letter_id}[/]  {letter.subscriber}  {letter.event.type}  {letter.state}")
    if letter.cause:
        console.complain(f"{letter.cause}, {letter.attempts} tries: {letter.reason}")
    console.out.print_json(json.dumps(document["event"], default=str))
    if letter.mended:
        console.say("Mended to:")
        console.out.print_json(letter.mended)
    if letter.state == "dead":
        console.say(
            f"Mend it: ./hub dead-letters fix {letter_id} --set FIELD=VALUE, then: ./hub dead-letters replay {letter_id}"
        )


@app.command("fix")
def fix(
    letter_id: LetterId,
    changes: Changes = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Mend an event's data; nothing is delivered until it is replayed, and what came is kept beside it."""
    wanted = mend_of(changes, file)
    with open_store() as store:
        if isinstance(wanted, bytes):
            letter = dead_letter_desk.mend(store, letter_id, json.loads(wanted), actor=actor())
        else:
            letter = dead_letter_desk.mend_fields(store, letter_id, wanted, actor=actor())
    if as_json:
        console.show_json(dead_letter_desk.document(letter))
        return
    console.praise("Mended." if letter.mended else "The data are again as they came: there is no mend any more.")
    console.say(f"Deliver it: ./hub dead-letters replay {letter_id}")


@app.command("replay")
def replay(
    letter_ids: Annotated[list[int] | None, typer.Argument(help="Letters to deliver again; closed ones too.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    rate: Annotated[float | None, typer.Option(help="At most so many a second.")] = None,
    as_json: Json = False,
) -> None:
    """Deliver letters again, as mended. Ctrl-C stops it, and what is done stays done."""
    numbers = refuse_no_choice(letter_ids, cause=cause, everything=everything)
    with open_store() as store:
        asked = replay_events.ask_for_letters(
            store, numbers, cause=cause, everything=everything, rate=rate, actor=actor()
        )
        ended = followed(store, asked)
    tell_end(ended, as_json=as_json)


@app.command("stop")
def stop(
    replay_id: Annotated[int, typer.Argument(help="As ./hub events status has it.")], as_json: Json = False
) -> None:
    """Stop a replay, of letters or of events; what it has done stays done."""
    with open_store() as store:
        ended = replay_events.stop(store, replay_id, actor=actor())
    if as_json:
        console.show_json(ended)
    else:
        console.praise(f"Replay {replay_id} is stopped after {ended.done + ended.failed} of {ended.total}.")


desk_options.add_discard(
    app,
    "letters",
    dead_letter_desk.choose,
    dead_letter_desk.discard_all,
    doc="Close letters: those events are not wanted there. They are kept, and can still be replayed.",
)


def followed(store: Store, asked: Replay) -> Replay:
    """The replay, worked off here."""
    with console.progress(f"Replaying {asked.total} {asked.what}") as bar:
        bar.tell(f"Replaying {asked.total} {asked.what}", done=0, total=asked.total)

        def tell(now: Replay) -> None:
            bar.tell(f"Replaying {asked.total} {asked.what}", done=now.done + now.failed, total=now.total)

        try:
            ended = replay_events.work_off(
                store, asked.replay_id, subscribers=SUBSCRIBERS, executors=EXECUTORS, tell=tell
            )
        except KeyboardInterrupt:
            ended = replay_events.stop(store, asked.replay_id, actor=actor())
    if ended is None:
        # A reader was quicker: it works off what nobody else does.
        with store.transaction() as work:
            ended = event_replays.get(work, asked.replay_id)
    return ended


def tell_end(ended: Replay, *, as_json: bool) -> None:
    """What became of a replay; exits with 3 where something failed again."""
    if as_json:
        console.show_json(ended)
    else:
        console.praise(
            f"Replay {ended.replay_id} is {ended.state}: {ended.done} delivered, {ended.failed} failed again"
        )
        if ended.state == "open":
            console.say("The delivery goes on with it: ./hub events status")
    if ended.failed:
        console.say("What failed again: ./hub dead-letters list")
        raise typer.Exit(Exit.PARTIAL)
