"""Values that a JSON Schema takes, for a test run to which nobody gave an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.integrations.actions.model import Action
from crossdock.integrations.json_schema import validator_of
from crossdock.workflows.declared.json_types import Schema, alternatives, inlined, types_of

#: Texts that fit most patterns of connectors.
_TEXTS = (
    "sample-1",
    "sample_1",
    "1",
    "EUR",
    "2026-11-21T09:30:00Z",
    "2026-11-21",
    "ada@example.com",
    "https://shop.example/",
    "pi_1",
    "re_1",
    "ch_1",
)
_DEEPEST = 12


def answer_of(action: Action, given: Mapping[str, Any]) -> Any:
    """Make an output of *action*: what its input says is repeated, the rest is of the sample of its input and of its schema."""
    return example_of(inlined(action.output), {**action.sample, **given})


def example_of(schema: Schema, known: Mapping[str, Any] | None = None, depth: int = 0) -> Any:
    """Make a value that *schema* takes; fields of *known* are used where they fit."""
    parts = [part for part in alternatives(schema) if types_of(part) != frozenset({"null"})]
    part = parts[0] if parts else schema
    for name in ("const", "default"):
        if name in part:
            return part[name]
    for name in ("enum", "examples"):
        if part.get(name):
            return part[name][0]
    types = types_of(part) or frozenset({"string"})
    kind = next(
        (name for name in ("object", "array", "string", "integer", "number", "boolean") if name in types), "null"
    )
    if kind == "object":
        return _object(part, known or {}, depth)
    if kind == "array":
        return [example_of(part.get("items", {}), known, depth + 1)] if depth < _DEEPEST else []
    return _plain(kind, part)


def _object(schema: Schema, known: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    return {
        name: known[name]
        if name in known and validator_of(part).is_valid(known[name])
        else example_of(part, known, depth + 1)
        for name, part in schema.get("properties", {}).items()
    }


def _plain(kind: str, schema: Schema) -> Any:
    match kind:
        case "string":
            is_valid = validator_of(schema).is_valid
            padded = "a" * int(schema.get("minLength", 1))
            return next((text for text in (*_TEXTS, padded) if is_valid(text)), _TEXTS[0])
        case "integer" | "number":
            least, most = schema.get("minimum", 1), schema.get("maximum", 1)
            return max(least, 1) if most >= 1 else most
        case "boolean":
            return True
    return None
