"""Validate documents against JSON Schemas, and explain each error without showing a value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.integrations.model import FieldError


def errors_in(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[FieldError]:
    """Yield what *schema* (2020-12) refuses in *value*, with JSON pointers below *at*; never a value, which may be a secret."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  only to validate

    for error in Draft202012Validator(schema).iter_errors(value):
        path = at + "".join(f"/{step}" for step in error.absolute_path)
        yield from _explain(error, path)


def _explain(error: Any, path: str) -> Iterator[FieldError]:
    """Explain what was expected. jsonschema's own message quotes the value."""
    match error.validator:
        case "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            # jsonschema reports each missing field separately; only its text says which one this is.
            yield from (FieldError(f"{path}/{name}", "is missing") for name in missing if f"{name!r}" in error.message)
        case "additionalProperties":
            known = ", ".join(error.schema["properties"])
            unknown = sorted(set(error.instance) - set(error.schema["properties"]))
            yield from (FieldError(f"{path}/{name}", f"is not known; known fields: {known}") for name in unknown)
        case rule:
            examples = error.schema.get("examples")
            example = f", for example {json.dumps(examples[0])}" if examples else ""
            yield FieldError(path, f"must have {rule} {json.dumps(error.validator_value)}{example}")
