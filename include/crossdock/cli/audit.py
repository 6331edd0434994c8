"""./hub audit: read and verify the audit trail."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import instant_option, optional_text, shown
from crossdock.cli.options import Json
from crossdock.cli.session import hub_api, local_store
from crossdock.core.counted import counted

app = typer.Typer(cls=CommandGroup, no_args_is_help=True, help="Read and verify the audit trail.")


@app.command("list")
def list_entries(
    actor: Annotated[str | None, typer.Option(help="Only what this user did: airflow:otto.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only changes of this: integration/shop_eu.")] = None,
    act: Annotated[
        str | None, typer.Option(help="Only these acts: integration.change, or integration for all of them.")
    ] = None,
    since: Annotated[datetime | None, instant_option("--since", "Only at or after this time.")] = None,
    until: Annotated[datetime | None, instant_option("--until", "Only before this time.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED)] = 50,
    as_json: Json = False,
) -> None:
    """
    List who changed what, from what to what, latest first.

    Example: ./hub audit list --actor airflow:otto --since 2026-11-21
    """
    query = {
        "actor": actor,
        "subject": subject,
        "act": act,
        "since": optional_text(since),
        "until": optional_text(until),
    }
    found = hub_api().pages("/audit", "entries", limit=limit, **query)
    if as_json:
        console.show_json({"entries": found, "has_more": found.has_more})
        return
    console.show_table(
        "Audit trail, latest first",
        ["entry", "at", "actor", "act", "subject", "detail"],
        [
            [str(entry["entry_id"]), shown(entry["at"]), entry["actor"], entry["act"], entry["subject"], _detail(entry)]
            for entry in found
        ],
        empty="No entries.",
    )
    console.say_if_cut(len(found), has_more=found.has_more)


def _detail(entry: dict[str, Any]) -> str:
    """Format the changes as `field: from → to`, and the rest as it is."""
    changed = entry["detail"].get("changed")
    if not isinstance(changed, dict):  # An entry of an earlier version has the names of the fields only.
        return json.dumps(entry["detail"], ensure_ascii=False) if entry["detail"] else ""
    rest = {name: value for name, value in entry["detail"].items() if name != "changed"}
    changes = [
        f"{field}: {json.dumps(change['from'])} → {json.dumps(change['to'])}" for field, change in changed.items()
    ]
    return "; ".join([*changes, *([json.dumps(rest, ensure_ascii=False)] if rest else [])])


@app.command("verify")
def verify(as_json: Json = False) -> None:
    """
    Verify the hash chain from the first entry on. Exit code 1 when an entry was changed or removed.

    Example: ./hub audit verify
    """
    from crossdock.observability import audit  # noqa: PLC0415  the only command here that reads the database itself

    with local_store() as store, store.question() as work:
        chain = audit.verify(work)
    if as_json:
        console.show_json(chain)
    elif chain.broken_at is None:
        console.success(
            f"The chain is whole: {counted(chain.entries, 'entry', 'entries')}. The last hash: {chain.last_hash}"
        )
        console.say("Store this hash in another place: removal of the latest entries cannot be detected without it.")
    else:
        console.error(
            f"The chain breaks at entry {chain.broken_at}: it was changed, or an entry before it was removed."
        )
        console.say("See the table audit_entry, column chain_no; a backup has the original entry.")
    if chain.broken_at is not None:
        raise typer.Exit(Exit.FAILED)
