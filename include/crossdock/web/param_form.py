"""The form for the params of a workflow, made from their JSON Schemas."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from crossdock.core.errors import BadRequest
from crossdock.web.forms import Form
from crossdock.workflows.declared.model import Workflow

_LONGEST = 20_000
_DOCUMENT, _PLAIN = "json_", "param_"


class ParamField(NamedTuple):
    """One field: what it is called, and what it takes."""

    name: str
    #: Of the form.
    field: str
    #: choice, number, text or json.
    kind: str
    label: str
    about: str
    is_required: bool
    value: str
    options: tuple[str, ...]
    placeholder: str


def fields_of(workflow: Workflow, given: Mapping[str, Any] | None = None) -> list[ParamField]:
    """List a field for each param, filled in with what was *given*, or else with its default."""
    return [_field(name, schema, given or {}) for name, schema in workflow.params.items()]


def read(form: Form, workflow: Workflow) -> dict[str, Any]:
    """
    Read the params of a form; a field with nothing in it is left out.

    Raises:
        BadRequest: one is not of its type; the message names it, never its value.

    """
    return dict(_read(form, workflow))


def _read(form: Form, workflow: Workflow) -> Iterator[tuple[str, Any]]:
    for name, schema in workflow.params.items():
        field = _field(name, schema, {})
        if not form.has(field.field):
            continue
        if field.kind == "json":
            yield name, form.document(field.field)[0]
            continue
        text = form.text(field.field, most=_LONGEST)
        if field.kind == "text":
            yield name, text
        elif field.kind == "choice":
            yield name, _chosen(name, text, field.options)
        else:
            yield name, _number(name, text)


def _field(name: str, schema: Mapping[str, Any], given: Mapping[str, Any]) -> ParamField:
    kind, options = _kind_of(schema)
    has_value = name in given or "default" in schema
    value = given.get(name, schema.get("default"))
    examples = schema.get("examples")
    example = examples[0] if isinstance(examples, list) and examples else ""
    return ParamField(
        name=name,
        field=f"{_DOCUMENT if kind == 'json' else _PLAIN}{name}",
        kind=kind,
        label=str(schema.get("title") or name),
        about=str(schema.get("description") or ""),
        is_required="default" not in schema,
        value=_written(value, kind) if has_value else "",
        options=options,
        placeholder=f"such as {_written(example, kind)}" if example != "" else "",
    )


def _kind_of(schema: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    if isinstance(choices := schema.get("enum"), list):
        return "choice", tuple(json.dumps(choice, ensure_ascii=False) for choice in choices)
    match schema.get("type"):
        case "string":
            return "text", ()
        case "integer" | "number":
            return "number", ()
        case "boolean":
            return "choice", ("true", "false")
    return "json", ()


def _written(value: Any, kind: str) -> str:
    if kind == "text" and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2 if kind == "json" else None)


def _chosen(name: str, text: str, options: tuple[str, ...]) -> Any:
    if text not in options:
        raise BadRequest(f"/{name}: must be one of its choices. Open the page again")
    return json.loads(text)


def _number(name: str, text: str) -> int | float:
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not math.isfinite(found):
        raise BadRequest(f"/{name}: must be a number")
    return found
