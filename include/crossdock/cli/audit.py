"""./hub audit: who did what, and whether that is still as it was written."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.session import open_store
from crossdock.observability import audit

app = typer.Typer(no_args_is_help=True, help="Whether the audit trail is as it was written.")
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def audit_trail() -> None:
    """Whether the audit trail is as it was written."""


@app.command("verify")
def verify(as_json: Json = False) -> None:
    """Follow the chain of hashes from its first entry. Exit code 1 when an entry was changed or taken out."""
    with open_store() as store, store.question() as work:
        chain = audit.verify(work)
    if as_json:
        console.show_json(chain)
    elif chain.broken_at is None:
        console.praise(f"All {chain.entries:,} entries are as they were written. The last hash: {chain.last_hash}")
        console.say("Note it elsewhere: entries that are cut off the end cannot be seen from within.")
    else:
        console.complain(
            f"The chain breaks at entry {chain.broken_at}: it was changed, or one before it was taken out."
        )
        console.say("In the table audit_entry, chain_no; a backup has what it said.")
    if chain.broken_at is not None:
        raise typer.Exit(Exit.FAILED)
