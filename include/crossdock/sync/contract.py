"""The platform's promise of a record's shape (JSON Schema), and what of a run's records differs from it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: JSON Schema's names of what `json` gives.
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def read_contract(module_file: str, name: str) -> dict[str, Any]:
    """Read the contract *name* (a JSON Schema) beside a stream's module."""
    contract: dict[str, Any] = json.loads((Path(module_file).parent / name).read_text())
    return contract


def drift(contract: Mapping[str, Any], records: Iterable[Any]) -> list[dict[str, str]]:
    """
    Each field that is new, gone or of another type than *contract* says, once, with what was seen.

    Reported, never enforced: a new field breaks nothing, and a retyped one that matters fails its records at
    the gate. `gone` is a required field that none of *records* has.
    """
    properties: Mapping[str, Any] = contract["properties"]
    seen: dict[str, set[str]] = {}
    for record in records:
        for field, value in record.items() if isinstance(record, dict) else ():
            if value is not None:
                seen.setdefault(field, set()).add(_TYPES[type(value)])
    if not seen:
        return []
    new = [_finding(field, "new", kinds) for field, kinds in seen.items() if field not in properties]
    gone = [_finding(field, "gone", set()) for field in contract["required"] if field not in seen]
    retyped = [
        _finding(field, "retyped", wrong)
        for field, kinds in seen.items()
        if field in properties and (wrong := kinds - _allowed(properties[field]))
    ]
    return sorted([*new, *gone, *retyped], key=lambda finding: (finding["finding"], finding["field"]))


def merged(found: Iterable[dict[str, str]], more: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Both, each field and finding once."""
    both = {(each["field"], each["finding"]): each for each in [*found, *more]}
    return [both[key] for key in sorted(both)]


def _allowed(schema: Mapping[str, Any]) -> set[str]:
    types = schema.get("type", [])
    allowed = {types} if isinstance(types, str) else set(types)
    return allowed | {"integer"} if "number" in allowed else allowed


def _finding(field: str, finding: str, kinds: set[str]) -> dict[str, str]:
    return {"field": field, "finding": finding, "saw": ", ".join(sorted(kinds))}
