"""
The streams that exist: those of each integration's connector, and the declared ones.

To add a stream to a connector: a module in its folder, and its name under `provides` in the connector's manifest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from crossdock.app import definitions
from crossdock.commerce.datasets import datasets
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.streams import declared_stream, declared_streams
from crossdock.core.errors import BadRequest
from crossdock.core.settings import settings
from crossdock.integrations.manifests import manifests
from crossdock.sync import Stream
from crossdock.sync.dataset import Record, Schema

#: The kind of the integrations that a file declares.
DECLARED = "declared"


@dataclass(frozen=True)
class ExistingStream:
    """A stream of this hub, with what the installation chose for it."""

    stream: Stream
    #: What people call the integration.
    title: str
    #: Whether the integration is in the registry, and so has a pool.
    registered: bool

    @property
    def schedule(self) -> str | None:
        """When it is synced, as cron; None: on demand only."""
        chosen = settings().of_stream(self.stream.id).schedule
        return (self.stream.schedule if chosen is None else chosen) or None

    @property
    def shards(self) -> int:
        """Among how many workers a sync is shared."""
        return (settings().of_stream(self.stream.id).shards or self.stream.shards) if self.stream.can_be_cut else 1


def existing(file_no: int | None = None) -> Iterator[ExistingStream]:
    """Yield the streams of one DAG file, or all of them. Reads snapshots and declarations, and never a database."""
    found = definitions.read_all() if file_no is None else definitions.read(file_no)
    registered = {definition.integration: definition for definition in found}
    for definition in registered.values():
        for stream in _of_connector(definition.integration, definition.kind):
            yield ExistingStream(_configured(stream), definition.title, registered=True)
    of_file = (lambda _: True) if file_no is None else (lambda name: definitions.file_of(name) == file_no)
    for declaration, stream in declared_streams(only=of_file):
        yield ExistingStream(_configured(stream), declaration.title, registered=declaration.name in registered)


def _configured(stream: Stream) -> Stream:
    """Give the stream its rules at the levels that the installation chose; of those for every stream, the ones that it has."""
    levels = settings().of_stream(stream.id).rules
    if stream.id not in settings().streams:
        known = {rule.name for rule in stream.expectations}
        levels = {name: level for name, level in levels.items() if name in known}
    return replace(stream, levels=levels)


def _of_connector(integration: str, kind: str) -> list[Stream]:
    return [stream.of(integration) for stream in manifests()[kind].streams] if kind in manifests() else []


def stream_of(stream_id: str) -> Stream:
    """
    Find a stream by its ID, `<integration>.<dataset>`.

    Raises:
        BadRequest: it does not exist; the message lists the existing ones.

    """
    integration, _, _ = stream_id.partition(".")
    for stream in streams_of(integration):
        if stream.id == stream_id:
            return stream
    known = sorted(one.stream.id for one in existing())
    raise BadRequest(f"Unknown stream {stream_id!r}. Streams: {', '.join(known) or 'none'}")


def streams_of(integration: str) -> list[Stream]:
    """List the streams of one integration; none if it does not exist."""
    found = existing(definitions.file_of(integration))
    return [one.stream for one in found if one.stream.integration == integration]


def streams_by_kind(integration: str, kind: str) -> list[Stream]:
    """List the streams of *integration* by its *kind*: the same before its snapshot is written."""
    declared = [stream for _, stream in declared_streams(only=lambda name: name == integration)]
    return [*_of_connector(integration, kind), *declared]


def datasets_of(integration: str) -> frozenset[str]:
    """List the datasets of one integration by name; none if it does not exist."""
    return frozenset(stream.dataset.name for stream in streams_of(integration))


def only_stream_of(name: str) -> ExistingStream:
    """
    Find a stream by its ID, or by its dataset or integration where only one is meant: `inventory`.

    Raises:
        BadRequest: no stream is meant, or several are; the message lists them.
        InvalidDeclaration: it is declared, with a mistake, and never was valid.

    """
    found = list(existing())
    streams = {one.stream.id: one.stream for one in found}
    meant = [one for one in found if name in (one.stream.id, one.stream.dataset.name, one.stream.integration)]
    if len(meant) == 1:
        return meant[0]
    if meant:
        raise BadRequest(f"{name!r} means several streams. Use one of: {', '.join(one.stream.id for one in meant)}")
    if path := files.paths().get(name):
        declared_stream(path)  # raises its mistakes
    shorter = {short for stream in streams.values() for short in (stream.dataset.name, stream.integration)}
    near = get_close_matches(name, sorted({*streams, *shorter}), n=1)
    suggested = f" Did you mean {near[0]!r}?" if near else ""
    raise BadRequest(f"Unknown stream {name!r}.{suggested} Streams: {', '.join(streams) or 'none'}")


def all_datasets() -> frozenset[Schema]:
    """List the datasets of the business, and that of records without one."""
    return frozenset({*(found.schema for found in datasets().values()), Record.schema})


def dataset_of(name: str) -> Schema:
    """
    Find the dataset of a *name*, which a run keeps after its stream is removed.

    Raises:
        BadRequest: it does not exist any more.

    """
    found = {dataset.name: dataset for dataset in all_datasets()}
    if name not in found:
        raise BadRequest(f"The hub has no dataset {name!r} any more")
    return found[name]


def declared_title(name: str) -> str | None:
    """Find the title of the declaration *name*; None where there is none that is valid."""
    return next((declaration.title for declaration, _ in declared_streams(only=lambda each: each == name)), None)
