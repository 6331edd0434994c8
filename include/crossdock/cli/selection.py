"""Select, edit and discard items; `./hub dead-letters` and `./hub quarantine` share these options."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from crossdock.cli import console
from crossdock.cli.consent import confirm
from crossdock.cli.session import open_store
from crossdock.core.errors import BadRequest
from crossdock.db.bulk_edit import Discarded, refuse_unclear
from crossdock.db.database import Store

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Cause = Annotated[str | None, typer.Option(help="Select all open ones of this cause.")]
Everything = Annotated[bool, typer.Option("--all", help="Select all open ones.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="FIELD=VALUE in the source's field names; use dots for nested fields; VALUE is JSON or text."
    ),
]
File = Annotated[
    Path | None, typer.Option(help="Replace the whole record with this JSON file.", exists=True, dir_okay=False)
]

#: Up to this many are discarded without a question: a person can check them by eye.
_FEW = 10


def parse_state(state: str, states: Collection[str]) -> str | None:
    """
    Check *state* and return it as the store takes it: None for all.

    Raises:
        BadRequest: there is no such state.

    """
    if state not in states:
        raise BadRequest(f"There is no state {state!r}. States: {', '.join(states)}")
    return None if state == "all" else state


def require_one_selection(ids: Sequence[int] | None, *, cause: str | None, everything: bool) -> Sequence[int]:
    """
    Check that exactly one way to select was used, and return *ids*.

    Raises:
        BadRequest: none or several were used.

    """
    try:
        refuse_unclear(ids or (), cause=cause, everything=everything)
    except BadRequest as error:
        raise BadRequest(f"{error}: IDs such as 11 12, or --cause CAUSE, or --all") from error
    return ids or ()


def edit_from(changes: list[str] | None, file: Path | None) -> dict[str, Any] | bytes:
    """
    Read an edit from the options: fields with their new values, or the content of *file*, which is JSON.

    Raises:
        BadRequest: neither or both were used, or one cannot be read.

    """
    if bool(changes) == bool(file):
        raise BadRequest("Say what to change: --set FIELD=VALUE (may be repeated), or --file FILE.json")
    if file is None:
        return dict(map(_assignment, changes or []))
    content = file.read_bytes()
    try:
        json.loads(content)
    except ValueError as error:
        raise BadRequest(f"{file} is not JSON: {error}") from error
    return content


class Choose(Protocol):
    """Selects the items to discard, by id, cause or all, and returns their ids."""

    def __call__(
        self, store: Store, ids: Sequence[int], /, *, cause: str | None, everything: bool
    ) -> Sequence[int]: ...


#: Discards the items with these ids for a reason; calls the last argument with the number discarded so far.
Discard = Callable[[Store, Sequence[int], str, Callable[[int], None]], Discarded]


def add_discard(app: typer.Typer, what: str, choose: Choose, discard: Discard, *, doc: str) -> None:
    """
    Add the command `discard` to a group of commands.

    Args:
        app: The group.
        what: The plural of its items: dead letters, items.
        choose: Selects the items.
        discard: Discards them.
        doc: The help text.

    """

    @app.command("discard", help=doc)
    def discard_selected(
        ids: Annotated[list[int] | None, typer.Argument(help="IDs, as `list` shows them.")] = None,
        *,
        reason: Annotated[str, typer.Option(help="Why; kept in the audit trail.")],
        cause: Cause = None,
        everything: Everything = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask, however many they are.")] = False,
        as_json: Json = False,
    ) -> None:
        named = require_one_selection(ids, cause=cause, everything=everything)
        with open_store() as store:
            chosen = choose(store, named, cause=cause, everything=everything)
            if len(chosen) > _FEW:
                confirm(f"{len(chosen):,} {what} would be discarded", yes=yes)
            with console.progress(f"Discarding {what}") as bar:

                def show_progress(done: int) -> None:
                    bar.update(f"Discarded {done:,} of {len(chosen):,} {what}", done=done, total=len(chosen))

                found = discard(store, chosen, reason, show_progress)
        _show_discarded(found, what, as_json=as_json)


def _show_discarded(found: Discarded, what: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    console.success(f"Discarded {len(found.closed):,} of {found.chosen:,} {what}.")
    if more := found.chosen - len(found.closed):
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
