"""
What changed since the shop was made, in a file, so that a restarted retailer has not forgotten its day.

Without it a shop that is started again has every version it began with, and whoever synced the changes
in between would find newer versions at home than at the source: no real platform does that.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crossdock.sandbox.commercetools.state import World
from crossdock.sandbox.engine import codec

Json = dict[str, Any]


class Journal:
    """One line a change: the whole resource, or null where it was deleted; the first line says of which shop."""

    def __init__(self, path: Path, shop: Json) -> None:
        self._path = path
        self._shop = shop

    def attach(self, world: World) -> int:
        """Puts the kept changes into *world* and keeps those to come; how many resources that were."""
        changes = self._kept()
        for (entity, resource_id), document in changes.items():
            shelf = world.shelf(entity)
            if document is None:
                shelf.remove(resource_id)
            else:
                shelf.put(document)
        self._rewrite(changes)
        for entity, shelf in world.shelves.items():
            shelf.on_change = self._keeper(entity)
        return len(changes)

    def begin_anew(self, world: World) -> None:
        """Forgets what was kept: *world* was just made again."""
        self._shop = {**self._shop, "shop": asdict(world.size)}
        self._path.unlink(missing_ok=True)
        self.attach(world)

    def _kept(self) -> dict[tuple[str, str], Json | None]:
        """The last state of each changed resource; nothing when the file is of another shop."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        if not lines or _decoded(lines[0]) != self._shop:
            return {}
        changes: dict[tuple[str, str], Json | None] = {}
        for line in lines[1:]:
            change = _decoded(line)
            if change is not None:  # the last line of a killed process may be cut
                changes[change["entity"], change["id"]] = change["document"]
        return changes

    def _rewrite(self, changes: dict[tuple[str, str], Json | None]) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(codec.encode(self._shop) + b"\n")
            for (entity, resource_id), document in changes.items():
                file.write(codec.encode({"entity": entity, "id": resource_id, "document": document}) + b"\n")
        fresh.replace(self._path)

    def _keeper(self, entity: str) -> Callable[[str, Json | None], None]:
        def keep(resource_id: str, document: Json | None) -> None:
            with self._path.open("ab") as file:
                file.write(codec.encode({"entity": entity, "id": resource_id, "document": document}) + b"\n")

        return keep


def _decoded(line: bytes) -> Any:
    try:
        return codec.decode(line)
    except (ValueError, json.JSONDecodeError):
        return None
