"""Detect schema drift: compare records with the contract (JSON Schema) that the source promises."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

#: JSON Schema's names of the types that `json` returns.
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def read_contract(module_file: str, name: str) -> dict[str, Any]:
    """Read the contract *name* (a JSON Schema) beside a stream's module."""
    contract: dict[str, Any] = json.loads((Path(module_file).parent / name).read_text())
    return contract


def drift(contract: Mapping[str, Any], records: Iterable[Any]) -> list[dict[str, str]]:
    """
    Find each field that is new, gone or has another type than in *contract*, with the types that were seen.

    Drift is reported, never enforced: a new field breaks nothing, and a record with a retyped field that matters
    fails validation. A required field is `gone` if none of *records* has it.
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
    """Merge both, each field and finding once."""
    both = {(finding["field"], finding["finding"]): finding for finding in [*found, *more]}
    return [both[key] for key in sorted(both)]


def _allowed(schema: Mapping[str, Any]) -> set[str]:
    types = schema.get("type", [])
    allowed = {types} if isinstance(types, str) else set(types)
    return allowed | {"integer"} if "number" in allowed else allowed


def _finding(field: str, finding: str, kinds: set[str]) -> dict[str, str]:
    return {"field": field, "finding": finding, "saw": ", ".join(sorted(kinds))}
