"""Forms made from the JSON Schemas of a kind of integration: a field for each property, read back with the schema's types. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from crossdock.integrations.model import FieldError
from crossdock.web.forms import Form

_LONGEST = 10_000


class SchemaField(NamedTuple):
    """One property of a schema as a field of a form."""

    #: In the form: `settings.base_url`.
    name: str
    title: str
    description: str
    #: text, secret, lines or switch.
    kind: str
    is_required: bool
    #: What it shows: text, the entries of a list, or whether it is on. Never a secret.
    value: Any
    #: What stands there if nobody fills it in, or an example; empty if there is neither.
    hint: str
    most: int
    error: str


def fields_of(
    schema: Mapping[str, Any], part: str, values: Mapping[str, Any], errors: Iterable[FieldError] = ()
) -> list[SchemaField]:
    """List the fields for *part* (`settings`, `credentials`) with what *values* has, and what was wrong with it."""
    wrong: dict[str, list[str]] = {}
    for error in errors:
        of, _, name = error.pointer.removeprefix("/").partition("/")
        if of == part:
            wrong.setdefault(name.partition("/")[0], []).append(error.message)
    required = schema.get("required", ())
    return [
        _field(part, name, declared, values.get(name), name in required, "; ".join(wrong.get(name, ())))
        for name, declared in schema["properties"].items()
    ]


def errors_of_whole(part: str, errors: Iterable[FieldError]) -> list[str]:
    """List what was wrong with *part* as a whole, and with no field of it."""
    return [error.message for error in errors if error.pointer == f"/{part}"]


def read_back(schema: Mapping[str, Any], part: str, form: Form) -> dict[str, Any]:
    """
    Read what the form of *schema* says; what was left empty is left out.

    Raises:
        Problem: 400, a field is too long or has control characters.

    """
    found: dict[str, Any] = {}
    for name, declared in schema["properties"].items():
        match _kind_of(declared):
            case "switch":
                value: Any = form.has(f"{part}.{name}")
            case "lines":
                value = _lines(form.text(f"{part}.{name}", most=_LONGEST))
            case "secret":
                value = form.text(f"{part}.{name}", most=_LONGEST, strip=False)
            case _:
                value = form.text(f"{part}.{name}", most=_LONGEST)
        if value:
            found[name] = value
    return found


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _field(part: str, name: str, declared: Mapping[str, Any], value: Any, is_required: bool, error: str) -> SchemaField:
    kind = _kind_of(declared)
    return SchemaField(
        name=f"{part}.{name}",
        title=declared.get("title", name),
        description=declared.get("description", ""),
        kind=kind,
        is_required=is_required and kind != "switch",
        value=None if kind == "secret" else value,
        hint=_hint(declared),
        most=declared.get("maxLength", _LONGEST),
        error=error,
    )


def _kind_of(declared: Mapping[str, Any]) -> str:
    match declared:
        case {"writeOnly": True}:
            return "secret"
        case {"type": "boolean"}:
            return "switch"
        case {"type": "array"}:
            return "lines"
    return "text"


def _hint(declared: Mapping[str, Any]) -> str:
    if "default" in declared:
        return str(declared["default"])
    example = next(iter(declared.get("examples", ())), "")
    return "\n".join(map(str, example)) if isinstance(example, list) else str(example)
