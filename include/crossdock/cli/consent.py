"""Confirmation before what cannot be undone, or affects many records."""

from __future__ import annotations

import sys

from crossdock.cli import console
from crossdock.core.errors import BadRequest


def confirm(what: str, *, yes: bool) -> None:
    """
    Ask for confirmation of *what*, unless *yes* was given.

    Raises:
        BadRequest: Standard input is not a terminal, so nobody can answer.
        typer.Abort: The answer is no.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest(f"{what}. Add --yes to confirm")
    console.ask(f"{what}. Continue?")
