"""What a JSON Schema says of the values that it takes: their types, fields and items. A schema without a word takes all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
#: Nothing is known of the value.
ANY: Schema = {}
_DEEPEST = 24
_NAMES = {
    dict: "object",
    list: "array",
    str: "string",
    bool: "boolean",
    int: "integer",
    float: "number",
    type(None): "null",
}


def inlined(schema: Any, root: Schema | None = None, depth: int = 0) -> Any:
    """Write each local `$ref` out. What refers to itself ends as `ANY`."""
    root = schema if root is None else root
    if depth > _DEEPEST:
        return ANY
    if isinstance(schema, list):
        return [inlined(part, root, depth + 1) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    if isinstance(reference := schema.get("$ref"), str):
        beside = {name: part for name, part in schema.items() if name != "$ref"}
        return {**inlined(_resolved(reference, root), root, depth + 1), **inlined(beside, root, depth + 1)}
    return {name: inlined(part, root, depth + 1) for name, part in schema.items() if name != "$defs"}


def _resolved(reference: str, root: Schema) -> Any:
    found: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part, ANY) if isinstance(found, Mapping) else ANY
    return found


def alternatives(schema: Schema | bool) -> Iterator[Schema]:
    """Yield the schemas of which a value fits one: none for `false`, which no value fits."""
    if not isinstance(schema, Mapping):
        yield from (ANY,) if schema else ()
        return
    for name in ("oneOf", "anyOf"):
        if name in schema:
            for part in schema[name]:
                yield from alternatives(part)
            return
    yield schema


def types_of(schema: Schema | bool) -> frozenset[str] | None:
    """Name the types that a value may have, None if it may have any."""
    found: set[str] = set()
    for part in alternatives(schema):
        if "type" in part:
            named = part["type"]
            found |= {named} if isinstance(named, str) else set(named)
        elif "const" in part:
            found.add(_NAMES.get(type(part["const"]), "nothing of JSON"))
        elif "enum" in part:
            found |= {_NAMES.get(type(value), "nothing of JSON") for value in part["enum"]}
        elif "properties" in part:
            found.add("object")
        else:
            return None
    return frozenset(found)


def fits(given: Schema, wanted: Schema) -> bool:
    """Whether a value of the one may be one of the other: False only where no value can."""
    have, want = types_of(given), types_of(wanted)
    if have is None or want is None:
        return True
    numbers = {"integer", "number"}
    return bool(have & want) or bool(have & numbers and want & numbers)


def in_words(schema: Schema) -> str:
    """Name the types for a message."""
    types = types_of(schema)
    return "any value" if types is None else " or ".join(sorted(types)) or "no value"


def field_of(schema: Schema, name: str) -> Schema | None:
    """Give the schema of a field, None if no value has it."""
    found: list[Schema] = []
    for part in alternatives(schema):
        properties = part.get("properties")
        patterns = [pattern for pattern in part.get("patternProperties", ()) if re.search(pattern, name)]
        if properties is not None and name in properties:
            found += alternatives(properties[name])
        elif patterns:
            return ANY
        elif isinstance(more := part.get("additionalProperties"), Mapping):
            found.append(more)
        elif more is True or (properties is None and _may_be(part, "object") and more is not False):
            return ANY
    if not found:
        return None
    return found[0] if len(found) == 1 else {"anyOf": found}


def fields_of(schema: Schema) -> list[str]:
    """Name the declared fields."""
    declared = [item for part in alternatives(schema) for item in part.get("properties", {}).items()]
    return sorted({name for name, field in declared if field is not False})


def item_of(schema: Schema) -> Schema | None:
    """Give the schema of a list's items, None if no value is a list."""
    found = [part.get("items", ANY) for part in alternatives(schema) if _may_be(part, "array")]
    if not found:
        return None
    return found[0] if len(found) == 1 and isinstance(found[0], Mapping) else ANY


def _may_be(part: Schema, name: str) -> bool:
    types = types_of(part)
    return types is None or name in types


def of_value(value: Any) -> Schema:
    """Give the schema of one value."""
    return {"const": value}


def object_of(fields: Mapping[str, Schema]) -> Schema:
    """Give the schema of an object with these fields and no other."""
    return {"type": "object", "properties": dict(fields), "additionalProperties": False}


def array_of(item: Schema) -> Schema:
    """Give the schema of a list."""
    return {"type": "array", "items": item}
