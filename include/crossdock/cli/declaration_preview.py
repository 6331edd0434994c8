"""What `./hub integration preview` sends and shows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossdock.cli import console
from crossdock.cli.credentials import credentials_for
from crossdock.cli.exit_codes import Exit
from crossdock.client.hub import HubApi
from crossdock.connectors.declarative.signing import needed_credentials
from crossdock.connectors.declarative.streams import declared_stream
from crossdock.core.errors import NotFound
from crossdock.core.paths import path_of
from crossdock.integrations.manifests import manifest_of


def preview_body(api: HubApi, file: Path, settings: dict[str, Any], credentials: str | None) -> dict[str, Any]:
    """
    Build the request; ask for the credentials that the declaration needs and nobody has given yet.

    Raises:
        InvalidDeclaration: *file* is not valid; each mistake has its line.

    """
    declaration, _ = declared_stream(file)
    body: dict[str, Any] = {"name": declaration.name, "declaration": file.read_text(encoding="utf-8")}
    if settings:
        body["settings"] = settings
    if credentials is not None or settings or not _is_added(api, declaration.name):
        names = needed_credentials(declaration)
        kind = manifest_of("declared")
        properties = {name: kind.credentials["properties"][name] for name in names}
        narrowed = replace(kind, credentials={**kind.credentials, "required": list(names), "properties": properties})
        body["credentials"] = credentials_for(narrowed, credentials)
    return body


def _is_added(api: HubApi, integration_id: str) -> bool:
    try:
        api.get(path_of("integrations", integration_id))
    except NotFound:
        return False
    return True


def exit_of_preview(records: Sequence[dict[str, Any]]) -> Exit:
    """Choose the exit code: a declaration of which no record would be loaded is not right yet."""
    rejected = sum(bool(record["failures"]) for record in records)
    if not rejected:
        return Exit.DONE
    return Exit.FAILED if rejected == len(records) else Exit.PARTIAL


def show_preview(records: Sequence[dict[str, Any]]) -> None:
    """Show each record in two tables, and what the rules say of it."""
    for number, record in enumerate(records, start=1):
        _show(f"Record {number} as received", record["received"])
        _show(f"Record {number} as mapped", record["mapped"])
        for failure in record["failures"]:
            console.error(f"{failure['rule']}: {failure['message']} ({failure['column']}: {failure['value']})")
        for warning in record["warnings"]:
            console.say(f"Warning: {warning}")
        if not record["failures"]:
            console.success("It would be loaded.")
    if not records:
        console.say("The list has no records.")
    loaded = sum(not record["failures"] for record in records)
    if records:
        console.say(f"{loaded} of {len(records)} records would be loaded. Nothing was stored.")
    if records and not loaded:
        console.error(
            "None of these records would be loaded: correct the mapping or the rules by what each record says"
        )


def _show(title: str, fields: Any) -> None:
    rows = [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in (fields or {}).items()]
    console.show_table(title, ("field", "value"), rows, empty="It could not be mapped.")
