"""./hub quarantine: list, edit, replay and discard rejected records."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer

from crossdock.app.streams import stream_of
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
from crossdock.cli.session import actor, open_store, stream_id
from crossdock.commerce.orders import quarantine_edits
from crossdock.core.errors import BadRequest
from crossdock.db.bulk_edit import Discarded
from crossdock.db.database import Store
from crossdock.sync.quarantine import repository as quarantine_repository
from crossdock.sync.quarantine import service as quarantine_service
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.repository import CauseCount, Item

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="List, edit, replay and discard rejected records.")
_STATES = ("open", "replayed", "discarded", "superseded", "all")
ItemId = Annotated[int, typer.Argument(help="Item ID; to list them: ./hub quarantine list")]


@app.command("list")
def list_items(
    stream: Annotated[str | None, typer.Option(help="Only items of this stream.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only items that failed this rule.")] = None,
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "open",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    as_json: Json = False,
) -> None:
    """List quarantine items, and the causes of the open ones."""
    only = parse_state(state, _STATES)
    of_stream = stream_id(stream)
    with open_store() as store, store.transaction() as work:
        groups = quarantine_repository.causes(work, stream=of_stream)
        items = quarantine_repository.find(work, stream=of_stream, cause=cause, state=only, limit=limit)
    if as_json:
        console.show_json({"causes": groups, "items": [_document(item) for item in items]})
        return
    console.show_table(
        "Open, by cause",
        ["stream", "cause", "items", "values", "what to do"],
        [[group.stream, group.cause, group.items, _values(group), group.message] for group in groups],
        empty="The quarantine is empty.",
    )
    console.show_table(
        f"Items ({state})",
        ["item", "key", "version", "cause", "value", "seen"],
        [
            [
                str(item.item_id),
                item.record_key or item.record_id,
                item.version,
                item.cause,
                item.failures[0].value,
                item.times_seen,
            ]
            for item in items
        ],
        empty=f"No items are {state}." if state != "all" else "There are no items.",
    )
    if items and state == "open":
        console.say(f"To look at one: ./hub quarantine show {items[0].item_id}")


@app.command("show")
def show(item_id: ItemId, as_json: Json = False) -> None:
    """Show a record and every rule that it failed."""
    with open_store() as store, store.transaction() as work:
        item = quarantine_repository.get(work, item_id)
    if as_json:
        console.show_json(_document(item))
        return
    console.out.print(f"[bold]item {item.item_id}[/]  {item.stream} {item.record_key or item.record_id}  {item.state}")
    for failure in item.failures:
        console.error(f"{failure.column} = {failure.value!r}: {failure.message}  ({failure.rule})")
    console.out.print_json(json.dumps(quarantine_service.readable(item.edited or item.raw)))
    if item.state == "open":
        column = item.failures[0].column.split(", ")[0]
        console.say(f"To fix it: ./hub quarantine fix {item.item_id} --set FIELD=VALUE   (it failed on {column})")


@app.command("fix")
def fix(
    item_id: Annotated[int | None, typer.Argument(help="Item ID; to list them: ./hub quarantine list")] = None,
    cause: Cause = None,
    kinds: Annotated[
        list[str] | None,
        typer.Option("--map", help="CODE=KIND: the kind of the lines with this code, e.g. DOT=postage."),
    ] = None,
    changes: Changes = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Fix a record, or with --map all records of a cause; nothing is loaded until you replay it."""
    if kinds:
        _fix_by_mapping(item_id, cause, dict(map(_kind, kinds)), as_json=as_json)
        return
    if item_id is None:
        raise BadRequest("Which item? Use ./hub quarantine fix 11 --set …, or a mapping: --cause CAUSE --map CODE=KIND")
    change = edit_from(changes, file)
    with open_store() as store:
        if isinstance(change, bytes):
            verdict = quarantine_service.edit(store, item_id, change, streams=stream_of, actor=actor())
        else:
            verdict = quarantine_service.edit_fields(store, item_id, change, streams=stream_of, actor=actor())
        with store.transaction() as work:
            is_edited = quarantine_repository.get(work, item_id).edited is not None
    if as_json:
        console.show_json({"item_id": item_id, "is_edited": is_edited, "passes": not verdict, "failures": verdict})
    else:
        _show_verdict(item_id, verdict, is_edited=is_edited)
    if verdict:
        raise typer.Exit(Exit.PARTIAL)


def _show_verdict(item_id: int, verdict: tuple[Failure, ...], *, is_edited: bool) -> None:
    for failure in verdict:
        console.error(f"{failure.column} = {failure.value!r}: {failure.message}")
    if not is_edited:
        console.say("The record is back to its original; the edit was removed.")
    elif verdict:
        console.say("The change is saved, but the record would be rejected again. Fix the rest.")
    else:
        console.success("Fixed: the record would be accepted.")
        console.say(f"To replay it: ./hub quarantine replay {item_id}")


def _fix_by_mapping(item_id: int | None, cause: str | None, kinds: dict[str, str], *, as_json: bool) -> None:
    with open_store() as store:
        chosen = quarantine_service.select(store, [item_id] if item_id else [], cause=cause, everything=False)
        with console.progress(f"Fixing {len(chosen)} records") as bar:
            bar.update(f"Fixing {len(chosen)} records")
            edited = quarantine_edits.set_line_kinds(store, chosen, kinds, actor=actor())
    if as_json:
        console.show_json({"items": len(chosen), "edited": edited})
        return
    if not edited:
        console.error("The mapping matched no records.")
        return
    console.success(f"{edited} of {len(chosen)} records have such a line and are fixed.")
    console.say(f"To replay them: ./hub quarantine replay {f'--cause {cause}' if cause else item_id}")


def _kind(text: str) -> tuple[str, str]:
    code, equals, kind = text.rpartition("=")
    if not equals or not code or not kind:
        raise BadRequest(f"--map {text!r} is not CODE=KIND, as in: --map DOT=postage")
    return code, kind


@app.command("replay")
def replay(
    item_ids: Annotated[list[int] | None, typer.Argument(help="IDs of the items to replay.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Validate records again; records that pass are loaded and their items closed."""
    numbers = require_one_selection(item_ids, cause=cause, everything=everything)
    with open_store() as store:
        chosen = quarantine_service.select(store, numbers, cause=cause, everything=everything)
        with console.progress(f"Replaying {len(chosen)} records") as bar:
            bar.update(f"Replaying {len(chosen)} records")
            reports = quarantine_service.replay_all(store, chosen, streams=stream_of, actor=actor())
    if as_json:
        console.show_json({"runs": [report.as_document() for report in reports]})
    for report in reports:
        loaded = report.counts.inserted + report.counts.updated
        if not as_json:
            console.success(
                f"{report.run_id}: {loaded} loaded, {report.counts.stale} stale, {report.counts.rejected} rejected again"
            )
    if any(report.counts.rejected for report in reports):
        console.say("To see what failed again: ./hub quarantine list")
        raise typer.Exit(Exit.PARTIAL)


def _choose(store: Store, ids: Sequence[int], *, cause: str | None, everything: bool) -> list[int]:
    return [item.item_id for item in quarantine_service.select(store, ids, cause=cause, everything=everything)]


def _discard(store: Store, ids: Sequence[int], reason: str, on_progress: Callable[[int], None]) -> Discarded:
    return quarantine_service.discard_all(store, ids, reason, actor=actor(), on_progress=on_progress)


selection.add_discard(
    app,
    "items",
    _choose,
    _discard,
    doc="Close items permanently: these versions of the records are not wanted. The records themselves are kept.",
)


def _values(group: CauseCount) -> str:
    return ", ".join(f"{value or 'empty'} ({items:,})" for value, items in group.values)


def _document(item: Item) -> dict[str, Any]:
    document = msgspec.structs.asdict(item)
    document["raw"] = quarantine_service.readable(item.raw)
    document["edited"] = quarantine_service.readable(item.edited) if item.edited else None
    return document
