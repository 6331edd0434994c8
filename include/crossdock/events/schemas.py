"""
What the data of each event type promise: a JSON Schema for every version, and the way from an old version to the newest.

A new version is a schema file beside the old one and an entry in UPCASTERS; events that are stored stay as they are, and
every handler sees the newest.
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

#: (type, version) → the data of that version as those of the next. Pure.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {}


def upcast(event: Event, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Event:
    """*event* in the newest version of its type."""
    while (step := upcasters.get((event.type, event.schema_version))) is not None:
        data = json.dumps(step(json.loads(event.data)))
        event = msgspec.structs.replace(event, data=data, schema_version=event.schema_version + 1)
    return event


@cache
def schema(event_type: str, version: int) -> Mapping[str, Any]:
    """
    The JSON Schema (2020-12) of the data.

    Raises:
        NotFound: the hub has no such type or version.

    """
    if (event_type, version) not in versions():
        raise NotFound(f"There is no version {version} of {event_type!r}. There are: {', '.join(sorted(types()))}")
    found: dict[str, Any] = json.loads(_folder().joinpath(_file(event_type, version)).read_text())
    return found


def types() -> frozenset[str]:
    return frozenset(event_type for event_type, _ in versions())


def known(wanted: Iterable[str]) -> tuple[str, ...]:
    """
    *wanted*, each of them a type of event that the hub has.

    Raises:
        BadRequest: one is none; the nearest is named. An empty answer would say that there was no such event.

    """
    names = tuple(wanted)
    for name in names:
        if name not in types():
            near = get_close_matches(name, sorted(types()), n=1, cutoff=0.4)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise BadRequest(f"There is no type {name!r} of event.{meant} There are: {', '.join(sorted(types()))}")
    return names


@cache
def versions() -> frozenset[tuple[str, int]]:
    """Every type with every version that has a schema."""
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
