"""./hub quarantine: list, edit, preview, replay and discard rejected records."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from crossdock.cli import console, instants, selection
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.completion import ids_of, streams
from crossdock.cli.consent import confirm
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.cli.replays import follow_replay, show_end
from crossdock.cli.selection import (
    FEW,
    Cause,
    Changes,
    DiscardedIds,
    DiscardReason,
    Everything,
    File,
    Like,
    Yes,
    changes_from,
    edit_from,
    refuse_unknown_state,
    selection_of,
)
from crossdock.cli.session import hub_api
from crossdock.cli.streams import stream_id
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

app = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, help="List, edit, preview, replay and discard rejected records."
)
_STATES = ("open", "replayed", "discarded", "superseded", "all")
_item_ids = ids_of("/quarantine", "items", "item_id")
ItemId = Annotated[int, typer.Argument(help="Item ID; to list them: ./hub quarantine list", autocompletion=_item_ids)]


@app.command("list")
def list_items(
    stream: Annotated[str | None, typer.Option(help="Only items of this stream.", autocompletion=streams)] = None,
    cause: Annotated[str | None, typer.Option(help="Only items that failed this rule.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="Only what this run rejected; its ID: ./hub runs")] = None,
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "open",
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_OF_LONG_LISTS)] = 50,
    as_json: Json = False,
) -> None:
    """
    List quarantine items, and the causes of the open ones; of one run, its items alone.

    Example: ./hub quarantine list --stream orders --cause order_total_is_right
    """
    refuse_unknown_state(state, _STATES)
    api = hub_api()
    of_stream = stream_id(api, stream)
    groups = [
        group
        for group in api.get("/quarantine-causes", stream=of_stream).document["causes"]
        # How many of a cause a run rejected, nobody counts: its items are listed.
        if run is None and cause in (None, group["cause"])
    ]
    items = api.pages("/quarantine", "items", limit=limit, stream=of_stream, cause=cause, run=run, state=state)
    if as_json:
        console.show_json({"causes": groups, "items": items, "has_more": items.has_more})
        return
    if run is None:
        console.show_table(
            "Open, by cause",
            ["stream", "cause", "items", "values", "what to do"],
            [[group["stream"], group["cause"], group["items"], _values(group), group["message"]] for group in groups],
            empty="No item is open." if cause is None else f"No open item has the cause {cause}.",
        )
    console.show_table(
        f"Items ({state})",
        ["item", "state", "key", "version", "cause", "value", "seen"],
        [
            [
                str(item["item_id"]),
                item["state"],
                item["record_key"] or item["record_id"],
                item["version"],
                item["cause"],
                item["failures"][0]["value"],
                item["times_seen"],
            ]
            for item in items
        ],
        empty=f"No items are {state}." if state != "all" else "There are no items.",
    )
    console.say_if_cut(len(items), has_more=items.has_more, most=console.MOST_OF_LONG_LISTS)
    if items and state == "open":
        console.say(f"To look at one: ./hub quarantine show {items[0]['item_id']}")


@app.command("show")
def show(item_id: ItemId, as_json: Json = False) -> None:
    """
    Show a record and every rule that it failed.

    Example: ./hub quarantine show 11
    """
    item = hub_api().get(path_of("quarantine", item_id)).document
    if as_json:
        console.show_json(item)
        return
    console.show(
        f"  {item['stream']} {item['record_key'] or item['record_id']}  {item['state']}",
        heading=f"item {item['item_id']}",
    )
    for failure in item["failures"]:
        console.error(f"{failure['column']} = {failure['value']!r}: {failure['message']}  ({failure['rule']})")
        for line in _received(item, failure["column"]):
            console.say(f"  received as {line}")
    console.show_document(item["edited"] or item["record"])
    for step in item["history"]:
        console.say(_step_line(step))
    if item["state"] == "open":
        # A rule names the hub's columns; a record has the fields of its source.
        if item["fields"]:
            console.say(f"Fields of its source: {', '.join(item['fields'])}")
        console.say(f"To fix it, with a field of its source: ./hub quarantine fix {item['item_id']} --set FIELD=VALUE")


def _received(item: dict[str, Any], columns: str) -> list[str]:
    """Say what the source sent for the *columns* of a rule, in its own names."""
    record = item["record"] if isinstance(item["record"], dict) else {}
    names = dict.fromkeys(name for column in columns.split(", ") for name in item["sources"].get(column, []))
    return [f"{name}: {json.dumps(record[name], ensure_ascii=False)}" for name in names if name in record]


def _step_line(step: dict[str, Any]) -> str:
    """Say what somebody did with the record."""
    changed = step["detail"].get("changed", {})
    parts = [
        *(f"{place}: {json.dumps(change['from'])} → {json.dumps(change['to'])}" for place, change in changed.items()),
        *([f"replay {step['replay_id']}, {step['replay_state']}"] if step["replay_id"] else []),
        *([step["detail"]["reason"]] if step["detail"].get("reason") else []),
    ]
    return f"{instants.shown(step['at'])}  {step['act']} by {step['actor']}: {', '.join(parts)}"


@app.command("fix")
def fix(
    item_id: Annotated[
        int | None,
        typer.Argument(help="Item ID; to list them: ./hub quarantine list", autocompletion=_item_ids),
    ] = None,
    changes: Changes = None,
    file: File = None,
    like: Like = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however many they are.")] = False,
    as_json: Json = False,
) -> None:
    """
    Fix a record, or make the same change to all like it; nothing is loaded until you replay it.

    Example: ./hub quarantine fix 11 --set quantityOnStock=5
    """
    if (item_id is None) == (like is None):
        raise BadRequest("Say what to fix: one item ID such as 11, or --all-like 11")
    if item_id is None:
        if file is not None:
            raise BadRequest("--file replaces one record. For all like it, say what to change: --set FIELD=VALUE")
        _fix_all({"like": like, **edit_from(changes, None, whole="record")}, yes=yes, as_json=as_json)
        return
    edit = edit_from(changes, file, whole="record")
    found = hub_api().patch(path_of("quarantine", item_id), edit).document
    is_edited = found["item"]["is_edited"]
    if as_json:
        console.show_json(
            {"item_id": item_id, "is_edited": is_edited, "passes": found["passes"], "failures": found["failures"]}
        )
    else:
        _show_verdict(item_id, found["failures"], is_edited=is_edited)
    if found["failures"]:
        raise typer.Exit(Exit.PARTIAL)


def _fix_all(body: dict[str, Any], *, yes: bool, as_json: bool) -> None:
    """Say what the change would do, ask, and make it to each record."""
    api = hub_api()
    preview = api.post("/quarantine-previews", body).document
    if not as_json:
        _show_preview(preview)
    if preview["chosen"] > FEW:
        confirm(f"{counted(preview['chosen'], 'record')} would be edited", yes=yes)
    fixed = api.post("/quarantine-fixes", body).document
    if as_json:
        console.show_json({**fixed, "preview": preview})
    else:
        console.success(f"Edited {len(fixed['edited']):,} of {counted(fixed['chosen'], 'record')}.")
        console.say(f"To replay them: ./hub quarantine replay --all-like {body['like']}")
    if preview["still_bad"]:
        raise typer.Exit(Exit.PARTIAL)


@app.command("preview")
def preview(
    item_ids: Annotated[list[int] | None, typer.Argument(help="IDs of the items.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    like: Like = None,
    changes: Changes = None,
    as_json: Json = False,
) -> None:
    """
    Say what a replay would do, with a change to each record if you like. Nothing is saved.

    Example: ./hub quarantine preview --all-like 11 --set quantityOnStock=5
    """
    chosen = selection_of(item_ids, cause=cause, everything=everything, ids_field="item_ids", like=like)
    found = hub_api().post("/quarantine-previews", {**chosen, **changes_from(changes)}).document
    if as_json:
        console.show_json(found)
    else:
        _show_preview(found)


def _show_preview(found: dict[str, Any]) -> None:
    bad = found["checked"] - found["would_load"]
    console.say(f"Would load {found['would_load']:,}, still bad {bad:,}.")
    if found["checked"] < found["chosen"]:
        console.say(f"Of the first {found['checked']:,} of {counted(found['chosen'], 'record')}.")
    for still in found["still_bad"]:
        console.error(f"{counted(still['items'], 'record')} would fail {still['cause']}")


def _show_verdict(item_id: int, failures: list[dict[str, Any]], *, is_edited: bool) -> None:
    for failure in failures:
        console.error(f"{failure['column']} = {failure['value']!r}: {failure['message']}")
    if not is_edited:
        console.say("The record is back to its original; the edit was removed.")
    elif failures:
        console.say("The change is saved, but the record would be rejected again. Fix the rest.")
    else:
        console.success("Fixed: the record would be accepted.")
        console.say(f"To replay it: ./hub quarantine replay {item_id}")


@app.command("replay")
def replay(
    item_ids: Annotated[
        list[int] | None, typer.Argument(help="IDs of the items to replay.", autocompletion=_item_ids)
    ] = None,
    cause: Cause = None,
    everything: Everything = False,
    like: Like = None,
    as_json: Json = False,
) -> None:
    """
    Validate records again; records that pass are loaded and their items closed. Ctrl-C stops it.

    Example: ./hub quarantine replay 11 12
    """
    body = selection_of(item_ids, cause=cause, everything=everything, ids_field="item_ids", like=like)
    api = hub_api(starts_runs=True)
    ended = follow_replay(api, api.post("/quarantine-replays", body).document)
    show_end(ended, "loaded", "To see what failed again: ./hub quarantine list", as_json=as_json)


@app.command("discard")
def discard(
    ids: DiscardedIds = None,
    *,
    reason: DiscardReason,
    cause: Cause = None,
    everything: Everything = False,
    like: Like = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """
    Close items permanently: these versions of the records are not wanted. The records themselves are kept.

    Example: ./hub quarantine discard 11 12 --reason "no longer sold"
    """
    chosen = selection_of(ids, cause=cause, everything=everything, ids_field="item_ids", like=like)
    selection.discard(
        {**chosen, "reason": reason}, "items", "/quarantine-discards", "item_ids", yes=yes, as_json=as_json
    )


def _values(group: dict[str, Any]) -> str:
    return ", ".join(f"{value['value'] or 'empty'} ({value['items']:,})" for value in group["values"])
