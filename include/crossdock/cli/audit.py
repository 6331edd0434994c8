"""./hub audit: verify the audit trail."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.session import open_store
from crossdock.observability import audit

app = typer.Typer(no_args_is_help=True, help="Verify the audit trail.")
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


@app.callback()
def audit_trail() -> None:
    """Verify the audit trail."""


@app.command("verify")
def verify(as_json: Json = False) -> None:
    """Verify the hash chain from the first entry on. Exit code 1 when an entry was changed or removed."""
    with open_store() as store, store.question() as work:
        chain = audit.verify(work)
    if as_json:
        console.show_json(chain)
    elif chain.broken_at is None:
        console.success(f"All {chain.entries:,} entries are unchanged. The last hash: {chain.last_hash}")
        console.say("Store this hash in another place: removal of the latest entries cannot be detected without it.")
    else:
        console.error(
            f"The chain breaks at entry {chain.broken_at}: it was changed, or an entry before it was removed."
        )
        console.say("See the table audit_entry, column chain_no; a backup has the original entry.")
    if chain.broken_at is not None:
        raise typer.Exit(Exit.FAILED)
