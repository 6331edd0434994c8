"""Validate documents against JSON Schemas, and explain each error without showing a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from crossdock.integrations.model import FieldError

#: Rule of JSON Schema → what it means.
_WORDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "minProperties": "must have at least {} fields",
    "maxProperties": "must have at most {} fields",
    "multipleOf": "must be a multiple of {}",
    "type": "must be of the type {}",
    "enum": "must be one of {}",
    "const": "must be {}",
    "format": "must be written as {}",
    "pattern": "does not have the expected form {}",
}
#: Their bounds are words, not values.
_WITHOUT_QUOTES = frozenset({"type", "format", "pattern"})


def validator_of(schema: Mapping[str, Any]) -> Any:
    """Build the validator of *schema* (2020-12)."""
    return _validator_class()(schema)


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, validators  # type: ignore[import-untyped]  # noqa: PLC0415  only to validate

    # To JSON Schema 3.0 is an integer. It would be sent and stored as it came, where others expect a 3.
    integers = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    return validators.extend(Draft202012Validator, {"pattern": _check_pattern}, type_checker=integers)


def _check_pattern(validator: Any, pattern: str, value: Any, _schema: Any) -> Iterator[Any]:
    from jsonschema import ValidationError  # noqa: PLC0415  as above

    # In JSON Schema `$` is the end of the text. Python's would let a final line feed pass: into a URL, a header or a log.
    exact = pattern[:-1] + r"\Z" if pattern.endswith("$") and not pattern.endswith(r"\$") else pattern
    if validator.is_type(value, "string") and not re.search(exact, value):
        yield ValidationError(f"{value!r} does not match {pattern!r}")


def errors_in(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[FieldError]:
    """Yield what *schema* (2020-12) refuses in *value*, with JSON pointers below *at*; never a value, which may be a secret."""
    for error in validator_of(schema).iter_errors(value):
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
            yield from _unknown_fields(error.schema, error.instance, path)
        case None:  # the schema `false`, which takes nothing; jsonschema does not say of which part
            yield FieldError(path, "has a part that must be left out")
        case rule:
            examples = error.schema.get("examples")
            example = f", for example {json.dumps(examples[0])}" if examples else ""
            yield FieldError(path, f"{_words_of(rule, error.validator_value)}{example}")


def _unknown_fields(schema: Mapping[str, Any], value: Mapping[str, Any], path: str) -> Iterator[FieldError]:
    """Yield the fields that neither `properties` nor `patternProperties` takes."""
    known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    listed = ", ".join([*known, *patterns]) or "none"
    for name in sorted(set(value) - set(known)):
        if not any(re.search(pattern, name) for pattern in patterns):
            yield FieldError(f"{path}/{name}", f"is not known; known fields: {listed}")


def _words_of(rule: str, bound: Any) -> str:
    """Say what *rule* expects."""
    if isinstance(bound, list):
        return _WORDS.get(rule, "must have {}").format(", ".join(json.dumps(each) for each in bound))
    words = _WORDS.get(rule, f"must have {rule} {{}}")
    return words.format(bound if rule in _WITHOUT_QUOTES else json.dumps(bound))
