"""Read the answer of a declared action as its output. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from crossdock.connectors.declarative.model import AnswerField, DeclaredAction, ValueType
from crossdock.connectors.declarative.paths import PathDoesNotFit, finder
from crossdock.connectors.declarative.values import Unreadable, read
from crossdock.core import exact_json
from crossdock.core.instants import utc_text
from crossdock.core.storable import storable
from crossdock.integrations.actions.model import Document

#: The name under which an answer is put out that is no object.
ANSWER = "answer"
#: The JSON Schema of each type, as it is put out. A decimal keeps its digits, which a number of JSON may not.
_SCHEMAS: Mapping[ValueType, Mapping[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "decimal": {"type": "string", "description": "A decimal number, exact."},
    "boolean": {"type": "boolean"},
    "instant": {"type": "string", "description": "ISO 8601 in UTC."},
    "json": {},
}


class AnswerInvalid(Exception):
    """An answer is not what is declared. The text completes `the answer …` and has no value; *field* is the one that is wrong."""

    def __init__(self, cause: str, field: str = "") -> None:
        self.field = field
        super().__init__(cause)


def output_of(declared: DeclaredAction, answer: Any, zone: str) -> Document:
    """
    Read *answer*, decoded with exact numbers, as the output; None is an answer without a body.

    Raises:
        AnswerInvalid: a value is missing, or has another type.

    """
    output: Document = storable(_whole(answer) if declared.answer is None else _picked(declared.answer, answer, zone))
    return output


def _picked(fields: Mapping[str, AnswerField], answer: Any, zone: str) -> dict[str, Any]:
    return {name: _value(name, _in_zone(field, zone), answer) for name, field in fields.items()}


def _whole(answer: Any) -> dict[str, Any]:
    found = _plain(answer)
    if isinstance(found, dict):
        return found
    return {} if found is None else {ANSWER: found}


def exact(sample: Any) -> Any:
    """Give the numbers of a *sample*, which came as YAML, the form of those in an answer."""
    return exact_json.decode(msgspec.json.encode(sample).decode())


def schema_of(declared: DeclaredAction, sample: Document | None) -> dict[str, Any]:
    """Write the JSON Schema of the output, with the values of *sample* as its examples."""
    if declared.answer is None:
        return {"type": "object", **({} if sample is None else {"examples": [sample]})}
    properties = {
        name: {**_field_schema(field), **({} if sample is None else {"examples": [sample[name]]})}
        for name, field in declared.answer.items()
    }
    return {"type": "object", "additionalProperties": False, "required": [*properties], "properties": properties}


def _field_schema(field: AnswerField) -> dict[str, Any]:
    schema = dict(_SCHEMAS[field.type])
    if "type" in schema and (field.missing == "null" or (field.missing is None and field.empty == "null")):
        schema["type"] = [schema["type"], "null"]
    return {**schema, "x-personal": True} if field.personal else schema


def _value(name: str, field: AnswerField, answer: Any) -> Any:
    try:
        found = finder(field.path)(answer)
        value = read(field, found)
    except (PathDoesNotFit, Unreadable) as error:
        expected = f"must be {error}" if isinstance(error, Unreadable) else str(error)
        raise AnswerInvalid(f"does not have {name}: {field.path} {expected}", name) from error
    if value is None:
        # What is empty may be no value, and what is not there be missed all the same.
        if field.missing == "reject" or (field.missing is None and found is None):
            raise AnswerInvalid(f"has no value at {field.path}, for {name}", name)
        return None
    if isinstance(value, datetime):
        return utc_text(value)
    return msgspec.json.decode(value) if field.type == "json" else value


def _in_zone(field: AnswerField, zone: str) -> AnswerField:
    return msgspec.structs.replace(field, zone=field.zone or zone)


def _plain(answer: Any) -> Any:
    """Write numbers as those of JSON, as documents of workflows have them."""
    try:
        return msgspec.json.decode(exact_json.encode(answer))
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        raise AnswerInvalid("has a value that cannot be kept") from error
