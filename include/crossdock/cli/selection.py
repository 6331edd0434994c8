"""Select, edit and discard items; `./hub dead-letters` and `./hub quarantine` share these options."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.consent import confirm
from crossdock.cli.exit_codes import Exit
from crossdock.cli.session import hub_api
from crossdock.client.hub import HubApi
from crossdock.core.counted import counted
from crossdock.core.errors import BadRequest, Conflict, NotFound

Cause = Annotated[str | None, typer.Option(help="Select all open ones of this cause.")]
Everything = Annotated[bool, typer.Option("--all", help="Select all open ones.")]
Like = Annotated[
    int | None, typer.Option("--all-like", metavar="ID", help="Select all open ones of this item's stream and cause.")
]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="FIELD=VALUE, with the names that `show` prints; use dots for nested fields; VALUE is JSON or text.",
    ),
]
File = Annotated[
    Path | None, typer.Option(help="Replace the whole content by this JSON file.", exists=True, dir_okay=False)
]

#: Up to this many are discarded without a question: a person can check them by eye.
FEW = 10


def refuse_unknown_state(state: str, states: Collection[str]) -> None:
    """
    Check *state*.

    Raises:
        BadRequest: there is no such state.

    """
    if state not in states:
        raise BadRequest(f"There is no state {state!r}. States: {', '.join(states)}")


def selection_of(
    ids: Sequence[int] | None, *, cause: str | None, everything: bool, ids_field: str, like: int | None = None
) -> dict[str, Any]:
    """
    Build the part of a request that selects items, in exactly one way.

    Raises:
        BadRequest: no way or several ways were used.

    """
    if sum((bool(ids), cause is not None, everything, like is not None)) != 1:
        raise BadRequest("Select in exactly one way: IDs such as 11 12, or --cause CAUSE, or --all")
    if ids:
        return {ids_field: list(ids)}
    if like is not None:
        return {"like": like}
    return {"all": True} if everything else {"cause": cause}


def edit_from(changes: list[str] | None, file: Path | None, *, whole: str) -> dict[str, Any]:
    """
    Build the body of an edit from the options: the changes, or the content of *file*, which is JSON, as the field *whole*.

    Raises:
        BadRequest: neither or both were used, or one cannot be read.

    """
    if bool(changes) == bool(file):
        raise BadRequest("Say what to change: --set FIELD=VALUE (may be repeated), or --file FILE.json")
    if file is None:
        return changes_from(changes)
    try:
        return {whole: json.loads(file.read_bytes())}
    except ValueError as error:
        raise BadRequest(f"{file} is not JSON: {error}") from error


def changes_from(changes: list[str] | None) -> dict[str, Any]:
    """
    Build the part of a request that says what each record gets; without *changes*, that is nothing.

    Raises:
        BadRequest: one is not FIELD=VALUE.

    """
    return {"changes": dict(map(_assignment, changes or []))}


DiscardedIds = Annotated[list[int] | None, typer.Argument(help="IDs, as `list` shows them.")]
DiscardReason = Annotated[str, typer.Option("--reason", help="Why; kept in the audit trail.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, however many they are.")]


def discard(body: dict[str, Any], what: str, path: str, ids_field: str, *, yes: bool, as_json: bool) -> None:
    """
    Discard what *body* selects, after a question if it is many; say what was done.

    Args:
        body: The selection and the reason.
        what: The plural of the items: dead letters, items.
        path: The route that discards them.
        ids_field: The field of its body that selects by ID.
        yes: Whether nobody is asked.
        as_json: Whether the result is a document.

    """
    api = hub_api()
    chosen = int(api.post(path, {**body, "dry_run": True}).document["chosen"])
    if chosen > FEW:
        confirm(f"{counted(chosen, what.removesuffix('s'))} would be discarded", yes=yes)
    closed = _discard(api, path, body, ids_field, what, chosen)
    _show_discarded(closed, chosen, what, as_json=as_json)
    if not closed:
        raise typer.Exit(Exit.FAILED)


def _discard(api: HubApi, path: str, body: dict[str, Any], ids_field: str, what: str, chosen: int) -> list[int]:
    """Discard in as many requests as it takes: each discards a bounded number, the oldest first."""
    closed: list[int] = []
    with console.progress(f"Discarding {what}") as bar:
        while len(closed) < chosen:
            try:
                answer = api.post(path, body).document
            except (Conflict, NotFound):
                if not closed:
                    raise
                break  # Somebody else closed the rest.
            closed += answer["closed"]
            if len(closed) < chosen:  # The end is said once, by whoever has asked for it.
                bar.update(f"Discarded {len(closed):,} of {chosen:,} {what}", done=len(closed), total=chosen)
            if not answer["closed"] or answer["chosen"] <= len(answer["closed"]):
                break
            if ids_field in body:
                gone = set(closed)
                body = {**body, ids_field: [number for number in body[ids_field] if number not in gone]}
    return closed


def _show_discarded(closed: list[int], chosen: int, what: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json({"chosen": chosen, "closed": closed})
        return
    (console.success if closed else console.error)(
        f"Discarded {len(closed):,} of {counted(chosen, what.removesuffix('s'))}."
    )
    if more := chosen - len(closed):
        console.say(f"Another user closed {more:,} in the meantime.")


def _assignment(text: str) -> tuple[str, Any]:
    """Parse `--set` into field and value; the value is JSON where it can be parsed as that, otherwise text."""
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise BadRequest(f"--set {text!r} is not FIELD=VALUE, as in: --set quantityOnStock=5")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value
