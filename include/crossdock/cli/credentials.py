"""The credentials of an integration: out of a file, or asked for; never an option's value."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from crossdock.core.errors import BadRequest
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import SettingsInvalid


def credentials_for(manifest: Manifest, file: str | None) -> dict[str, Any]:
    """From a file or standard input, or asked for one by one without being shown."""
    if file is not None:
        return _read(manifest, file)
    if not sys.stdin.isatty():
        raise BadRequest("There is nobody to ask for the credentials: give them with --credentials FILE (- for stdin)")
    asked = {
        name: typer.prompt(
            field["title"], hide_input=bool(field.get("writeOnly")), err=True, default="", show_default=False
        )
        for name, field in manifest.credentials["properties"].items()
    }
    return {name: value for name, value in asked.items() if value}


def _read(manifest: Manifest, file: str) -> dict[str, Any]:
    where = "standard input" if file == "-" else file
    # What a file should hold is said with its name: of several that lie about, it is easily the wrong one.
    expected = f"One JSON object is expected, as {json.dumps(dict.fromkeys(manifest.credentials['properties'], '…'), ensure_ascii=False)}"
    try:
        found = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text())
    except OSError as error:
        raise BadRequest(f"The credentials cannot be read from {where}: {error.strerror}. {expected}") from error
    except ValueError:
        # Not `from`: its text quotes what stands there.
        raise BadRequest(f"{where} is not JSON. {expected}") from None
    if not isinstance(found, dict):
        raise BadRequest(f"{where} is not a JSON object. {expected}")
    try:
        manifest.refuse_invalid_credentials(found)
    except SettingsInvalid as error:
        wrong = "; ".join(f"{each.pointer.removeprefix('/credentials/')} {each.message}" for each in error.errors)
        raise BadRequest(f"{where} does not hold the credentials of {manifest.title}: {wrong}. {expected}") from None
    return found
