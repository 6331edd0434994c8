"""
The JSON Schemas of the event types, one for each version, and the upcasters from each version to the next.

Stored events stay as they are; every subscriber receives the newest version. `app` provides the schemas of the business.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, NotFound
from crossdock.events.cloudevents import schema_path
from crossdock.events.model import WEBHOOK_RECEIVED, Event

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]

#: A dataset's name of before → its name.
_DATASETS = {"product": "products", "order": "orders"}


def _webhook_names_dataset(data: dict[str, Any]) -> dict[str, Any]:
    entity = data.pop("entity")
    return {"dataset": _DATASETS.get(entity, entity), **data}


#: (type, version) → a pure function that converts the data of that version to the next one.
UPCASTERS: Mapping[tuple[str, int], Upcaster] = {(WEBHOOK_RECEIVED, 1): _webhook_names_dataset}


def upcast(event: Event, upcasters: Mapping[tuple[str, int], Upcaster] = UPCASTERS) -> Event:
    """Convert *event* to the newest version of its type."""
    while (step := upcasters.get((event.type, event.schema_version))) is not None:
        data = json.dumps(step(json.loads(event.data)))
        event = msgspec.structs.replace(event, data=data, schema_version=event.schema_version + 1)
    return event


def engine_schemas() -> dict[tuple[str, int], dict[str, Any]]:
    """Load the schemas of the engine's own events, from one file for each type and version."""
    found = {}
    for path in (files("crossdock.events") / "event_schemas").iterdir():
        name, dot, version = path.name.removesuffix(".json").rpartition(".v")
        if dot:
            found[name, int(version)] = json.loads(path.read_text())
    return found


@dataclass(frozen=True)
class EventTypes:
    """The event types of a hub, with the JSON Schema (2020-12) of the data of each version."""

    schemas: Mapping[tuple[str, int], Mapping[str, Any]]

    @property
    def names(self) -> list[str]:
        return sorted({name for name, _ in self.schemas})

    def versions_of(self, name: str) -> list[int]:
        return sorted(version for known, version in self.schemas if known == name)

    def schema(self, name: str, version: int) -> dict[str, Any]:
        """
        Give the JSON Schema of the data.

        Raises:
            NotFound: there is no such event type or version.

        """
        if (name, version) not in self.schemas:
            raise NotFound(f"There is no version {version} of {name!r}. Event types: {', '.join(self.names)}")
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": schema_path(name, version)}
        return {**head, **self.schemas[name, version]}

    def known(self, names: Iterable[str]) -> tuple[str, ...]:
        """
        Check that each of *names* is an event type of the hub, and return them.

        Raises:
            BadRequest: one is unknown; the message names the nearest. An empty result would look like "no such event".

        """
        found = tuple(names)
        for name in found:
            if name not in self.names:
                near = get_close_matches(name, self.names, n=1, cutoff=0.4)
                meant = f" Did you mean {near[0]}?" if near else ""
                raise BadRequest(f"Unknown event type {name!r}.{meant} Event types: {', '.join(self.names)}")
        return found
