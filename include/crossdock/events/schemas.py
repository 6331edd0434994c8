"""
The JSON Schemas of the event types, one for each version, and the upcasters from each version to the next.

To add a version, add a schema file beside the old one and an entry in UPCASTERS. Stored events stay as they are; every
subscriber receives the newest version.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, NotFound
from crossdock.events.model import Event

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: (type, version) → a pure function that converts the data of that version to the next one.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


def upcast(event: Event, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Event:
    """Convert *event* to the newest version of its type."""
    while (step := upcasters.get((event.type, event.schema_version))) is not None:
        data = json.dumps(step(json.loads(event.data)))
        event = msgspec.structs.replace(event, data=data, schema_version=event.schema_version + 1)
    return event


@cache
def schema(event_type: str, version: int) -> Mapping[str, Any]:
    """
    Load the JSON Schema (2020-12) of the data.

    Raises:
        NotFound: there is no such event type or version.

    """
    if (event_type, version) not in versions():
        raise NotFound(f"There is no version {version} of {event_type!r}. Event types: {', '.join(sorted(types()))}")
    found: dict[str, Any] = json.loads(_folder().joinpath(_file(event_type, version)).read_text())
    return found


def types() -> frozenset[str]:
    """List the event types that have a schema."""
    return frozenset(event_type for event_type, _ in versions())


def known(names: Iterable[str]) -> tuple[str, ...]:
    """
    Check that each of *names* is an event type of the hub, and return them.

    Raises:
        BadRequest: one is unknown; the message names the nearest. An empty result would look like "no such event".

    """
    found = tuple(names)
    for name in found:
        if name not in types():
            near = get_close_matches(name, sorted(types()), n=1, cutoff=0.4)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise BadRequest(f"Unknown event type {name!r}.{meant} Event types: {', '.join(sorted(types()))}")
    return found


@cache
def versions() -> frozenset[tuple[str, int]]:
    """List the event types with their versions, one pair for each schema file."""
    found = set()
    for path in _folder().iterdir():
        name, dot, version = path.name.removesuffix(".json").rpartition(".v")
        if dot:
            found.add((name, int(version)))
    return frozenset(found)


def _file(event_type: str, version: int) -> str:
    return f"{event_type}.v{version}.json"


def _folder() -> Any:
    return files("crossdock.events") / "event_schemas"
