"""Asking before what cannot be taken back, or is much."""

from __future__ import annotations

import sys

import typer

from crossdock.core.errors import BadRequest


def refuse_unasked(what: str, *, yes: bool) -> None:
    """
    Nothing, when somebody said *yes*, or says it now at the terminal.

    Raises:
        BadRequest: there is nobody to ask.
        typer.Abort: the answer is no.

    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise BadRequest(f"{what}. Say --yes to mean it")
    typer.confirm(f"{what}. Go on?", abort=True, err=True)
