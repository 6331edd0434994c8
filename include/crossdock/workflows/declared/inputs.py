"""The input of a call, as its action takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.integrations.actions.model import Action
from crossdock.workflows.declared.json_types import inlined


def sent(action: Action, given: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not required and has no value: it is not sent."""
    known, required = inlined(action.input).get("properties", {}), action.input.get("required", ())
    return {name: value for name, value in given.items() if value is not None or name in required or name not in known}
