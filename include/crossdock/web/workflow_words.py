"""The words that the editor of workflows completes: fields of the form, actions with their arguments, types of events. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crossdock.workflows.declared.document import schema
from crossdock.workflows.declared.model import Workflow
from crossdock.workflows.declared.ports import Catalog

Words = Mapping[str, Any]


def words_of(catalog: Catalog, integrations: Mapping[str, str]) -> Words:
    """
    Collect what can be written where.

    Args:
        catalog: What workflows may call and listen to.
        integrations: Integration → its kind.

    """
    form = schema()
    return {
        "fields": dict(_fields(form)),
        "values": dict(_values(form)),
        "actions": dict(_actions(catalog, integrations)),
        "events": sorted(catalog.event_types()),
        "integrations": dict(sorted(integrations.items())),
    }


def integrations_of(registered: Mapping[str, str], workflow: Workflow | None) -> dict[str, str]:
    """Name the integrations that can be called: those of the registry, and those that the text declares."""
    return {**registered, **(dict(workflow.integrations) if workflow is not None else {})}


def _fields(form: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the name of what holds fields ("" for the whole text, `do` for a step), and its fields with what they mean."""
    yield "", _described(form["properties"], form)
    parts = form["$defs"]
    yield "triggers", _described(parts["trigger"]["properties"], form)
    step = parts["step"]["properties"]
    yield "do", _described(step, form)
    for name, part in step.items():
        inner = part.get("items", part)
        if "properties" in inner:
            yield name, _described(inner["properties"], form)


def _described(fields: Mapping[str, Any], form: Mapping[str, Any]) -> dict[str, str]:
    return {name: str({**_target(part, form), **part}.get("description", "")) for name, part in fields.items()}


def _target(part: Mapping[str, Any], form: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a reference within the form."""
    found: Mapping[str, Any] = form["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else {}
    return found


def _values(form: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield each field that takes one of a few words, with these."""
    yield "schema", [form["properties"]["schema"]["const"]]
    yield "errors", form["$defs"]["error"]["enum"]
    yield "backoff", form["$defs"]["step"]["properties"]["retry"]["properties"]["backoff"]["enum"]
    yield "pivot", ["true"]


def _actions(catalog: Catalog, integrations: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for integration, kind in sorted(integrations.items()):
        for name, action in (catalog.actions_of(integration, kind) or {}).items():
            yield (
                f"{integration}.{name}",
                {
                    "about": action.title,
                    "with": sorted(action.input.get("properties", {})),
                    "output": sorted(action.output.get("properties", {})),
                },
            )
