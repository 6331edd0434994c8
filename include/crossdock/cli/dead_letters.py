"""./hub dead-letters: inspect, fix and replay events that a subscriber could not process."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console, selection
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.instants import shown
from crossdock.cli.options import Json
from crossdock.cli.replays import follow_replay, show_end
from crossdock.cli.selection import (
    Cause,
    Changes,
    DiscardedIds,
    DiscardReason,
    Everything,
    File,
    Yes,
    edit_from,
    refuse_unknown_state,
    selection_of,
)
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubApi
from crossdock.core.counted import counted
from crossdock.core.errors import NotFound
from crossdock.core.paths import path_of

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="Inspect, fix and replay events that a subscriber could not process."
)
DeadLetterId = Annotated[int, typer.Argument(help="ID, as ./hub dead-letters list shows it.")]

_STATES = ("dead", "retrying", "waiting", "recovered", "replayed", "discarded", "superseded", "all")
#: What to type after a replay in which something failed.
FAILED_AGAIN = "To list what failed again: ./hub dead-letters list"


@app.command("list")
def list_dead_letters(
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "dead",
    cause: Annotated[str | None, typer.Option(help="Only of this cause.")] = None,
    subscriber: Annotated[str | None, typer.Option(help="Only of this subscriber.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_OF_LONG_LISTS)] = 50,
    as_json: Json = False,
) -> None:
    """
    List dead letters, and their causes.

    Example: ./hub dead-letters list --subscriber availability --limit 1000
    """
    refuse_unknown_state(state, _STATES)
    api = hub_api()
    causes = api.get("/dead-letter-causes").document["causes"]
    found = api.pages("/dead-letters", "dead_letters", limit=limit, state=state, cause=cause, subscriber=subscriber)
    if subscriber and not found:
        _refuse_no_subscriber(api, subscriber)
    if as_json:
        console.show_json({"causes": causes, "dead_letters": found, "has_more": found.has_more})
        return
    console.show_table(
        "Dead letters by cause",
        ["subscriber", "event", "cause", "dead letters", "latest reason"],
        [
            [group["subscriber"], group["type"], group["cause"], group["dead_letters"], group["reason"]]
            for group in causes
        ],
        empty="There are no dead letters.",
    )
    console.show_table(
        f"Dead letters ({state})",
        ["id", "subscriber", "subject", "cause", "attempts", "last seen"],
        [
            [
                str(dead_letter["dead_letter_id"]),
                dead_letter["subscriber"],
                dead_letter["event"]["subject"] or dead_letter["event"]["key"],
                dead_letter["cause"],
                dead_letter["attempts"],
                shown(dead_letter["last_seen_at"]),
            ]
            for dead_letter in found
        ],
        empty="No dead letters in that state.",
    )
    console.say_if_cut(len(found), has_more=found.has_more, most=console.MOST_OF_LONG_LISTS)
    if found and state == "dead":
        console.say(f"To inspect one: ./hub dead-letters show {found[0]['dead_letter_id']}")


def _refuse_no_subscriber(api: HubApi, name: str) -> None:
    """Tell a name that no subscriber has from one without dead letters."""
    known = [each["subscriber"] for each in api.get("/delivery").document["subscribers"]]
    if name not in known:
        raise NotFound(f"There is no subscriber {name!r}. Subscribers: {', '.join(known)}")


@app.command("show")
def show(dead_letter_id: DeadLetterId, as_json: Json = False) -> None:
    """
    Show an event as it came, why it failed, and how often it was tried.

    Example: ./hub dead-letters show 11
    """
    found = hub_api().get(path_of("dead-letters", dead_letter_id)).document
    if as_json:
        console.show_json(found)
        return
    event = found["event"]
    console.show(f"  {found['subscriber']}  {event['type']}  {found['state']}", heading=f"dead letter {dead_letter_id}")
    if found["cause"]:
        console.error(f"{found['cause']} after {counted(found['attempts'], 'attempt')}: {found['reason']}")
    console.show_document(event)
    if found["edited_data"] is not None:
        console.say("Edited data:")
        console.show_document(found["edited_data"])
    if found["state"] == "dead":
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
    """
    Edit an event's data. Nothing is delivered until it is replayed; the original data are kept.

    Example: ./hub dead-letters fix 11 --set available_quantity=5
    """
    edit = edit_from(changes, file, whole="data")
    found = hub_api().patch(path_of("dead-letters", dead_letter_id), edit).document
    if as_json:
        console.show_json(found)
        return
    if found["edited_data"] is not None:
        console.success("The change is saved.")
    else:
        console.success("The data equal the original: the edit is removed.")
    console.say(f"To replay it: ./hub dead-letters replay {dead_letter_id}")


@app.command("replay")
def replay(
    dead_letter_ids: Annotated[list[int] | None, typer.Argument(help="IDs to replay, including closed ones.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Events per second at most.")] = None,
    as_json: Json = False,
) -> None:
    """
    Replay dead letters with their edited data. Ctrl-C stops it; what was delivered stays delivered.

    Example: ./hub dead-letters replay --cause BadEvent --rate 50
    """
    body = selection_of(dead_letter_ids, cause=cause, everything=everything, ids_field="dead_letter_ids")
    api = hub_api(starts_runs=True)
    ended = follow_replay(api, api.post("/dead-letter-replays", {**body, "rate": rate}).document)
    show_end(ended, "delivered", FAILED_AGAIN, as_json=as_json)


@app.command("stop")
def stop(
    replay_id: Annotated[int, typer.Argument(help="ID, as ./hub events status shows it.")], as_json: Json = False
) -> None:
    """
    Stop a replay of dead letters or events; what was delivered stays delivered.

    Example: ./hub dead-letters stop 3
    """
    ended = hub_api().post(path_of("replays", replay_id, "stop"), None).document
    if as_json:
        console.show_json(ended)
    else:
        console.success(f"Replay {replay_id} stopped after {ended['done'] + ended['failed']} of {ended['total']}.")


@app.command("discard")
def discard(
    ids: DiscardedIds = None,
    *,
    reason: DiscardReason,
    cause: Cause = None,
    everything: Everything = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Close dead letters that need no delivery. They are kept, and can still be replayed.

    Example: ./hub dead-letters discard --cause BadEvent --reason "of a test shop"
    """
    chosen = selection_of(ids, cause=cause, everything=everything, ids_field="dead_letter_ids")
    path, field = "/dead-letter-discards", "dead_letter_ids"
    selection.discard({**chosen, "reason": reason}, "dead letters", path, field, yes=yes, as_json=as_json)
