"""./hub psql: PostgreSQL's own client on the views for analysts."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import nullcontext
from typing import Annotated

import typer

from crossdock.cli.session import running_stack
from crossdock.client.errors import StackError
from crossdock.core.errors import BadRequest
from crossdock.stack import needs


def psql(
    context: typer.Context,
    personal: Annotated[
        bool, typer.Option("--personal", help="Personal data in full, for an hour. Needs --reason.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why you need personal data; for the audit trail.")] = "",
) -> None:
    """
    Open PostgreSQL's psql on the views of the local stack, read-only. Extra arguments are passed to psql.

    Example: ./hub psql -c "SELECT sku, available FROM availability LIMIT 5"
    """
    from crossdock.stack import analysts  # noqa: PLC0415  loads the database driver

    if personal:
        refuse_no_reason(reason)
    elif reason:
        raise BadRequest("--reason is for --personal: masked data needs none")
    stack = running_stack(*needs.DATABASE)
    with analysts.personal_reader(stack, reason=reason) if personal else nullcontext(analysts.reader(stack)) as login:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for psql: it ends a statement
        try:
            ended = subprocess.run(
                [str(login.program), *context.args],
                env=login.environment(os.environ),
                timeout=analysts.HOUR.total_seconds() if personal else None,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError("The hour for personal data is over. To go on, start it again") from error
        finally:
            signal.signal(signal.SIGINT, before)
    raise typer.Exit(ended.returncode)


def refuse_no_reason(reason: str) -> None:
    """
    Refuse to show personal data to somebody who does not say why.

    Raises:
        BadRequest: there is no reason.

    """
    if not reason.strip():
        raise BadRequest("Personal data needs a reason, which goes into the audit trail: add --reason TEXT")
