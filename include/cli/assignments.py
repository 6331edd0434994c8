"""FIELD=VALUE on the command line, where a person mends a record or an event."""

from __future__ import annotations

import json
from typing import Any

from include.model.errors import BadRequest


def assignment(text: str) -> tuple[str, Any]:
    """
    Field and value of `--set`; the value is JSON where it can be read as that, else text.

    Raises:
        BadRequest: there is no `=`, or no field before it.

    """
    field, equals, value = text.partition("=")
    if not equals or not field:
        raise BadRequest(f"--set {text!r} is not FIELD=VALUE, as in: --set quantityOnStock=5")
    try:
        return field, json.loads(value)
    except json.JSONDecodeError:
        return field, value
