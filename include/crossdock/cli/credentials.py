"""The credentials of an integration: read from a file or a prompt, never the value of an option."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from crossdock.cli import console
from crossdock.core.errors import BadRequest
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import SettingsInvalid


def credentials_for(manifest: Manifest, file: str | None) -> dict[str, Any]:
    """Read credentials from a file or standard input, or prompt for each without echo; for none where none are needed."""
    if file is not None:
        return _read(manifest, file)
    if not manifest.credentials["properties"]:
        return {}
    if not sys.stdin.isatty():
        raise BadRequest("Not a terminal, so cannot prompt for credentials. Use --credentials FILE (or - for stdin)")
    entered = {
        name: console.ask_for(field["title"], hidden=bool(field.get("writeOnly")), default="")
        for name, field in manifest.credentials["properties"].items()
    }
    return {name: value for name, value in entered.items() if value}


def _read(manifest: Manifest, file: str) -> dict[str, Any]:
    where = "standard input" if file == "-" else file
    # Each message says what the file should contain: it is easy to pick the wrong one of several.
    expected = f"Expected one JSON object, such as {json.dumps(dict.fromkeys(manifest.credentials['properties'], '…'), ensure_ascii=False)}"
    try:
        found = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except OSError as error:
        raise BadRequest(f"Cannot read the credentials from {where}: {error.strerror}. {expected}") from error
    except ValueError:
        # Not `from error`: its text quotes the content.
        raise BadRequest(f"{where} is not JSON. {expected}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{where} is not a JSON object. {expected}")
    try:
        manifest.refuse_invalid_credentials(found)
    except SettingsInvalid as error:
        wrong = "; ".join(
            f"{problem.pointer.removeprefix('/credentials/')} {problem.message}" for problem in error.errors
        )
        raise BadRequest(f"{where} does not contain the credentials of {manifest.title}: {wrong}. {expected}") from None
    return found
