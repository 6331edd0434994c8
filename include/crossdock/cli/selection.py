"""What `./hub dead-letters` and `./hub quarantine` have alike: how a person chooses, mends and discards."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.consent import confirm
from crossdock.cli.session import actor, open_store
from crossdock.core.errors import BadRequest
from crossdock.db.bulk_edit import Discarded, refuse_unclear

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Cause = Annotated[str | None, typer.Option(help="All open ones of this cause.")]
Everything = Annotated[bool, typer.Option("--all", help="All open ones.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="FIELD=VALUE, the field as it came; dots go deeper; VALUE is JSON or text."),
]
File = Annotated[Path | None, typer.Option(help="All of it anew, JSON.", exists=True, dir_okay=False)]

#: So many are discarded without a question: what one can read through before.
_FEW = 10


def refuse_no_state(state: str, states: Collection[str]) -> str | None:
    """
    *state* as the store takes it: None for all.

    Raises:
        BadRequest: there is none of that name.

    """
    if state not in states:
        raise BadRequest(f"No state {state!r}. There are: {', '.join(states)}")
    return None if state == "all" else state


def refuse_no_choice(numbers: Sequence[int] | None, *, cause: str | None, everything: bool) -> Sequence[int]:
    """
    *numbers*, when one way to choose was used.

    Raises:
        BadRequest: none or several were.

    """
    try:
        refuse_unclear(numbers or (), cause=cause, everything=everything)
    except BadRequest as error:
        raise BadRequest(f"{error}: numbers such as 11 12, or --cause CAUSE, or --all") from error
    return numbers or ()


def mend_of(changes: list[str] | None, file: Path | None) -> dict[str, Any] | bytes:
    """
    What a person wants: fields and their values, or the content of *file*, which is JSON.

    Raises:
        BadRequest: neither or both, or one cannot be read.

    """
    if bool(changes) == bool(file):
        raise BadRequest("Say how to mend it: --set FIELD=VALUE (may be repeated), or --file FILE.json")
    if file is None:
        return dict(map(_assignment, changes or []))
    content = file.read_bytes()
    try:
        json.loads(content)
    except ValueError as error:
        raise BadRequest(f"{file} is not JSON: {error}") from error
    return content


def add_discard(
    app: typer.Typer, what: str, choose: Callable[..., Sequence[int]], close: Callable[..., Discarded], *, doc: str
) -> None:
    """
    The verb `discard` of a desk.

    Args:
        app: The desk's verbs.
        what: What lies there: letters, items.
        choose: The desk's own, by numbers, cause or all; gives numbers.
        close: The desk's own `discard_all`.
        doc: What it means there.

    """

    @app.command("discard", help=doc)
    def discard(
        numbers: Annotated[list[int] | None, typer.Argument(help="As `list` has them.")] = None,
        *,
        reason: Annotated[str, typer.Option(help="Why it is not wanted; kept in the audit trail.")],
        cause: Cause = None,
        everything: Everything = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do it, however many they are.")] = False,
        as_json: Json = False,
    ) -> None:
        named = refuse_no_choice(numbers, cause=cause, everything=everything)
        with open_store() as store:
            chosen = choose(store, named, cause=cause, everything=everything)
            if len(chosen) > _FEW:
                confirm(f"{len(chosen):,} {what} would be discarded", yes=yes)
            with console.progress(f"Discarding {what}") as bar:

                def tell(done: int) -> None:
                    bar.tell(f"{done:,} of {len(chosen):,} {what} are closed", done=done, total=len(chosen))

                found = close(store, chosen, reason, actor=actor(), tell=tell)
        _tell_discarded(found, what, as_json=as_json)


def _tell_discarded(found: Discarded, what: str, *, as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    console.praise(f"{len(found.closed):,} of {found.chosen:,} {what} are discarded.")
    if more := found.chosen - len(found.closed):
        console.say(f"{more:,} were closed by somebody else meanwhile.")


def _assignment(text: str) -> tuple[str, Any]:
    """Field and value of `--set`; the value is JSON where it can be read as that, else text."""
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise BadRequest(f"--set {text!r} is not FIELD=VALUE, as in: --set quantityOnStock=5")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value
