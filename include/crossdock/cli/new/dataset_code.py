"""The code of a stream that follows from the declaration of its dataset: record type, mapping, contract, sample records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crossdock.commerce.datasets import datasets
from crossdock.core.errors import BadRequest
from crossdock.sync.dataset import Dataset, Field, Schema

#: Type of the column → type in Python, and in JSON. A JSON column has either of two, which its event schema says.
_TYPES = {
    "text": ("str", "string"),
    "int8": ("Int64", "integer"),
    "bool": ("bool", "boolean"),
    "timestamptz": ("Instant", "string"),
}
_JSON_TYPES = {"object": "dict[str, Any]", "array": "list[dict[str, Any]]"}
#: Samples of values that a rule of a dataset wants in a form of their own, by the end of the field's name.
_FORMS = {"email": "ada{number}@example.com", "currency": "EUR", "state": "Open"}
_LINE = {"id": "1", "sku": "CHAIR", "quantity": 1}
#: A value that is only checked and must not be the empty one: the names that a product has.
_CHECKED = {"names_given": "len(record.name)"}
#: What cleansing changed; a new mapping cleanses nothing.
_LINEAGE = "lineage"
_SAMPLES = 3


def record_class(dataset: str) -> type[Dataset]:
    """
    Find the class of *dataset*.

    Raises:
        BadRequest: there is none; the message lists them.

    """
    if dataset not in datasets():
        raise BadRequest(
            f"Unknown dataset {dataset!r}. Datasets: {', '.join(sorted(datasets()))}. "
            "A new one is a folder in commerce/ with schema.py and expectations.py, and a migration"
        )
    return datasets()[dataset].record


def field_types(schema: Schema) -> str:
    """Name what the module imports from the connector's `field_types.py`."""
    found = {_python_type(field) for field in _fields_read(schema)} & {"Int64", "Instant"}
    return ", ".join(sorted({*found, *(["as_json"] if any(map(_is_json, _fields_read(schema))) else [])}))


def record_fields(schema: Schema) -> str:
    """Write the fields of the record type, those without a default first."""
    needed = [f"    {field.name}: {_python_type(field)}" for field in _fields_read(schema) if not field.nullable]
    others = [
        f"    {field.name}: {_python_type(field)} | None = None" for field in _fields_read(schema) if field.nullable
    ]
    return "\n".join([*needed, *others])


def mapping(schema: Schema) -> str:
    """Write one argument for each field of the dataset, those that are only checked last."""
    fields = sorted(schema.fields, key=lambda field: field.check_only)
    lines = [f"        {field.name}={_column(schema, field)}," for field in fields]
    stored = sum(not field.check_only for field in fields)
    remark = ["        # What is only checked. Constants pass each rule: compute it from the record."]
    return "\n".join([*lines[:stored], *(remark if stored < len(fields) else []), *lines[stored:]])


def lines_fields(schema: Schema) -> str:
    """Write the argument that names the list of lines; empty for records without lines."""
    return '    lines_fields=("lines",),\n' if schema.lines else ""


def contract(schema: Schema, title: str) -> dict[str, Any]:
    """Build the JSON Schema of the record."""
    fields = list(_fields_read(schema))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": schema.name,
        "description": f"The fields of the record that {title} documents. What else comes is reported as drift.",
        "type": "object",
        "required": [camel(field.name) for field in fields if not field.nullable],
        "properties": {camel(field.name): {"type": _json_type(field)} for field in fields},
    }


def samples(schema: Schema) -> list[dict[str, Any]]:
    """Make sample records with the fields that none may lack."""
    needed = [field for field in _fields_read(schema) if not field.nullable]
    return [{camel(field.name): _sample(field, number) for field in needed} for number in range(1, _SAMPLES + 1)]


def camel(name: str) -> str:
    """Write *name* in camel case: `last_modified_at` → `lastModifiedAt`."""
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def _fields_read(schema: Schema) -> Iterator[Field]:
    """Yield the fields that the source sends: not what is only checked, counted, or written by cleansing."""
    for field in schema.fields:
        if not field.check_only and field.name not in {schema.lines, _LINEAGE}:
            yield field


def _column(schema: Schema, field: Field) -> str:
    value = f"record.{field.name}"
    if field.name == schema.lines:
        return "[len(record.lines) for record in records]"
    if field.name == _LINEAGE:
        return "[None] * len(records)"
    if field.check_only:
        if field.name in _CHECKED:
            return f"[{_CHECKED[field.name]} for record in records]"
        empty = "None" if field.nullable else "0" if field.pg_type == "int8" else '""'
        return f"[{empty}] * len(records)"
    if _is_json(field):
        value = f"as_json({value})" + (f" if {value} is not None else None" if field.nullable else "")
    return f"[{value} for record in records]"


def _is_json(field: Field) -> bool:
    return field.pg_type == "jsonb"


def _json_type(field: Field) -> str:
    if not _is_json(field):
        return _TYPES[field.pg_type][1]
    declared = field.schema["type"]
    return str(declared if isinstance(declared, str) else declared[0])


def _python_type(field: Field) -> str:
    return _JSON_TYPES[_json_type(field)] if _is_json(field) else _TYPES[field.pg_type][0]


def _sample(field: Field, number: int) -> Any:
    if form := next((form for end, form in _FORMS.items() if field.name.endswith(end)), None):
        return form.format(number=number)
    if field.name == "lines":
        return [_LINE]
    return {
        "Int64": number,
        "bool": True,
        "Instant": f"2025-01-0{number}T00:00:00.000Z",
        "str": f"{field.name.upper()}-{number}",
        _JSON_TYPES["object"]: {"en": f"{field.name} {number}"},
        _JSON_TYPES["array"]: [],
    }[_python_type(field)]
