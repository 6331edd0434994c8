"""
The journal: a file with what changed since the system's data was generated, so that a restart continues from there.

Without it every record of a restarted system is back at its first version, and a hub that synced the changes
in between would hold newer versions than the source has. That does not happen with a real platform.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from crossdock.sandbox.engine import codec

Json = dict[str, Any]


class JournaledCollection(Protocol):
    """A collection of documents whose changes a journal keeps."""

    #: Called after each change, with the ID and the document, or None if it was removed.
    on_change: Callable[[str, Json | None], None]

    def put(self, document: Json, /) -> object: ...

    def remove(self, resource_id: str, /) -> None: ...


class Journal:
    """
    Writes one line for each change: the whole document, or null if it was deleted.

    The first line identifies the data that the changes belong to; a file with another first line is started anew.
    """

    def __init__(self, path: Path, identity: Json) -> None:
        self._path = path
        self._identity = identity

    def attach(self, collections: Mapping[str, JournaledCollection]) -> int:
        """Apply the kept changes to *collections* and record further ones; returns how many documents were applied."""
        changes = self._read()
        for (name, resource_id), document in changes.items():
            if document is None:
                collections[name].remove(resource_id)
            else:
                collections[name].put(document)
        self._rewrite(changes)
        for name, collection in collections.items():
            collection.on_change = self._recorder(name)
        return len(changes)

    def restart(self, collections: Mapping[str, JournaledCollection], identity: Json) -> None:
        """Drop the kept changes: *collections* were generated anew."""
        self._identity = identity
        self._path.unlink(missing_ok=True)
        self.attach(collections)

    def _read(self) -> dict[tuple[str, str], Json | None]:
        """Read the last state of each changed document; nothing if the file belongs to other data."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return {}
        if not lines or _decode_line(lines[0]) != self._identity:
            return {}
        changes: dict[tuple[str, str], Json | None] = {}
        for line in lines[1:]:
            change = _decode_line(line)
            if change is not None:
                changes[change["entity"], change["id"]] = change["document"]
        return changes

    def _rewrite(self, changes: dict[tuple[str, str], Json | None]) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            file.write(codec.encode(self._identity) + b"\n")
            for (name, resource_id), document in changes.items():
                file.write(_line(name, resource_id, document))
        fresh.replace(self._path)

    def _recorder(self, name: str) -> Callable[[str, Json | None], None]:
        def record(resource_id: str, document: Json | None) -> None:
            with self._path.open("ab") as file:
                file.write(_line(name, resource_id, document))

        return record


def _line(name: str, resource_id: str, document: Json | None) -> bytes:
    return codec.encode({"entity": name, "id": resource_id, "document": document}) + b"\n"


def _decode_line(line: bytes) -> Any:
    """Decode one line; None if it is incomplete, as the last line of a killed process may be."""
    try:
        return codec.decode(line)
    except ValueError:
        return None
