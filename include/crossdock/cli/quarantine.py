"""./hub quarantine: look at what was rejected, mend it, send it again."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import msgspec
import typer

from crossdock.app.streams import sync_of
from crossdock.cli import console, selection
from crossdock.cli.command_groups import Verbs
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
from crossdock.cli.session import actor, open_store, refuse_unknown
from crossdock.commerce.orders import quarantine_edits
from crossdock.core.errors import BadRequest
from crossdock.db.bulk_edit import Discarded
from crossdock.db.database import Store
from crossdock.sync.quarantine import repository as quarantine
from crossdock.sync.quarantine import service as quarantine_desk
from crossdock.sync.quarantine.model import Failure
from crossdock.sync.quarantine.repository import CauseCount, Item

app = typer.Typer(cls=Verbs, no_args_is_help=True, help="Records that were not accepted: whole, with the reason.")
_STATES = ("open", "replayed", "discarded", "superseded", "all")
ItemId = Annotated[int, typer.Argument(help="As ./hub quarantine list has it.")]


@app.command("list")
def list_items(
    entity: Annotated[str | None, typer.Option(help="Only this entity.")] = None,
    cause: Annotated[str | None, typer.Option(help="Only what failed this rule.")] = None,
    state: Annotated[str, typer.Option(help=", ".join(_STATES))] = "open",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000)] = 50,
    as_json: Json = False,
) -> None:
    """Open items, grouped by what failed."""
    wanted = parse_state(state, _STATES)
    refuse_unknown(entity)
    with open_store() as store, store.transaction() as work:
        groups = quarantine.causes(work, entity=entity)
        items = quarantine.find(work, entity=entity, cause=cause, state=wanted, limit=limit)
    if as_json:
        console.show_json({"causes": groups, "items": [_document(item) for item in items]})
        return
    console.show_table(
        "Open, by cause",
        ["entity", "cause", "items", "values", "what to do"],
        [[group.entity, group.cause, group.items, _values(group), group.message] for group in groups],
        empty="Nothing is in quarantine.",
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
        empty="No items in that state.",
    )
    if items and state == "open":
        console.say(f"Look at one: ./hub quarantine show {items[0].item_id}")


@app.command("show")
def show(item_id: ItemId, as_json: Json = False) -> None:
    """One record as it came, and every rule it failed."""
    with open_store() as store, store.transaction() as work:
        item = quarantine.get(work, item_id)
    if as_json:
        console.show_json(_document(item))
        return
    console.out.print(f"[bold]item {item.item_id}[/]  {item.entity} {item.record_key or item.record_id}  {item.state}")
    for failure in item.failures:
        console.complain(f"{failure.column} = {failure.value!r}: {failure.message}  ({failure.rule})")
    console.out.print_json(json.dumps(quarantine_desk.readable(item.mended or item.raw)))
    if item.state == "open":
        column = item.failures[0].column.split(", ")[0]
        console.say(f"Mend it: ./hub quarantine fix {item.item_id} --set FIELD=VALUE   (it failed on {column})")


@app.command("fix")
def fix(
    item_id: Annotated[int | None, typer.Argument(help="As ./hub quarantine list has it.")] = None,
    cause: Cause = None,
    kinds: Annotated[
        list[str] | None, typer.Option("--map", help="CODE=KIND: what a line with that code is, as DOT=postage.")
    ] = None,
    changes: Changes = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Mend a record, or all of a cause by a rule; nothing is loaded until it is replayed."""
    if kinds:
        _fix_by_rule(item_id, cause, dict(map(_kind, kinds)), as_json=as_json)
        return
    if item_id is None:
        raise BadRequest("Say which item: ./hub quarantine fix 11 --set …, or a rule: --cause CAUSE --map CODE=KIND")
    wanted = edit_from(changes, file)
    with open_store() as store:
        if isinstance(wanted, bytes):
            verdict = quarantine_desk.mend(store, item_id, wanted, syncs=sync_of, actor=actor())
        else:
            verdict = quarantine_desk.mend_fields(store, item_id, wanted, syncs=sync_of, actor=actor())
        with store.transaction() as work:
            is_mended = quarantine.get(work, item_id).mended is not None
    if as_json:
        console.show_json({"item_id": item_id, "is_mended": is_mended, "passes": not verdict, "failures": verdict})
    else:
        _tell_verdict(item_id, verdict, is_mended=is_mended)
    if verdict:
        raise typer.Exit(Exit.PARTIAL)


def _tell_verdict(item_id: int, verdict: tuple[Failure, ...], *, is_mended: bool) -> None:
    for failure in verdict:
        console.complain(f"{failure.column} = {failure.value!r}: {failure.message}")
    if not is_mended:
        console.say("The record is again as it came: there is no mend any more.")
    elif verdict:
        console.say("The mend is kept, but the record would be rejected again. Mend it further.")
    else:
        console.praise("Mended, and it would be accepted.")
        console.say(f"Send it: ./hub quarantine replay {item_id}")


def _fix_by_rule(item_id: int | None, cause: str | None, kinds: dict[str, str], *, as_json: bool) -> None:
    with open_store() as store:
        chosen = quarantine_desk.choose(store, [item_id] if item_id else [], cause=cause, everything=False)
        with console.progress(f"Mending {len(chosen)} records") as bar:
            bar.tell(f"Mending {len(chosen)} records")
            mended = quarantine_edits.set_line_kinds(store, chosen, kinds, actor=actor())
    if as_json:
        console.show_json({"items": len(chosen), "mended": mended})
        return
    console.praise(f"{mended} of {len(chosen)} records have a line that the rule is for, and are mended.")
    console.say(f"Send them: ./hub quarantine replay {f'--cause {cause}' if cause else item_id}")


def _kind(text: str) -> tuple[str, str]:
    code, equals, kind = text.rpartition("=")
    if not equals or not code or not kind:
        raise BadRequest(f"--map {text!r} is not CODE=KIND, as in: --map DOT=postage")
    return code, kind


@app.command("replay")
def replay(
    item_ids: Annotated[list[int] | None, typer.Argument(help="Items to send again.")] = None,
    cause: Cause = None,
    everything: Everything = False,
    as_json: Json = False,
) -> None:
    """Send records through the gate again; what passes is loaded and closed."""
    numbers = require_one_selection(item_ids, cause=cause, everything=everything)
    with open_store() as store:
        chosen = quarantine_desk.choose(store, numbers, cause=cause, everything=everything)
        with console.progress(f"Replaying {len(chosen)} records") as bar:
            bar.tell(f"Replaying {len(chosen)} records")
            reports = quarantine_desk.replay_all(store, chosen, syncs=sync_of, actor=actor())
    if as_json:
        console.show_json({"runs": [report.as_document() for report in reports]})
    for report in reports:
        loaded = report.counts.inserted + report.counts.updated
        if not as_json:
            console.praise(
                f"{report.run_id}: {loaded} loaded, {report.counts.stale} stale, {report.counts.rejected} rejected again"
            )
    if any(report.counts.rejected for report in reports):
        console.say("What failed again: ./hub quarantine list")
        raise typer.Exit(Exit.PARTIAL)


def _choose(store: Store, ids: Sequence[int], *, cause: str | None, everything: bool) -> list[int]:
    return [item.item_id for item in quarantine_desk.choose(store, ids, cause=cause, everything=everything)]


def _discard(store: Store, ids: Sequence[int], reason: str, on_progress: Callable[[int], None]) -> Discarded:
    return quarantine_desk.discard_all(store, ids, reason, actor=actor(), tell=on_progress)


selection.add_discard(
    app,
    "items",
    _choose,
    _discard,
    doc="Close items for good: those versions of the records are not wanted. The records themselves are kept.",
)


def _values(group: CauseCount) -> str:
    return ", ".join(f"{value or 'empty'} ({items:,})" for value, items in group.values)


def _document(item: Item) -> dict[str, Any]:
    document = msgspec.structs.asdict(item)
    document["raw"] = quarantine_desk.readable(item.raw)
    document["mended"] = quarantine_desk.readable(item.mended) if item.mended else None
    return document
