"""
What exists, as DAG files see it: snapshots of the registry in one folder that all of Airflow's processes read.

DAG files are parsed again and again, so they must not query a database. The integrations are divided among as many
snapshots as there are DAG files, by their IDs, so that a file builds only its share of the DAGs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.ids import prefixed
from crossdock.integrations import definition_files

if TYPE_CHECKING:
    from crossdock.db.database import Store

#: How many DAG files there are (`dags/streams_0.py` and so on); 500 integrations make about 30 in each.
FILES = 16
#: How many tasks may call an integration at the same time, until somebody changes its pool.
POOL_SLOTS = 4


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One integration of the registry, as its DAGs need it."""

    integration: str
    kind: str
    title: str


prepare(list[Definition])
_decode = msgspec.json.Decoder(list[Definition]).decode


def file_of(integration: str) -> int:
    """Choose the DAG file, from 0, that builds the DAGs of *integration*."""
    return zlib.crc32(integration.encode()) % FILES


def file_name(file_no: int) -> str:
    """Name a DAG file by its number."""
    return f"streams_{file_no}.py"


def pool_of(integration: str) -> dict[str, Any]:
    """Describe the pool of *integration* for Airflow: without it, its tasks would wait for ever."""
    return {
        "name": prefixed(integration),
        "slots": POOL_SLOTS,
        "description": f"Tasks that call {integration}",
    }


def read(file_no: int, *, url: str | None = None) -> list[Definition]:
    """Read the definitions of one DAG file; none before the first `write`. *url* replaces the setting."""
    snapshot = definition_files.read(_name(file_no), url=url)
    return _decode(snapshot) if snapshot else []


def read_all(*, url: str | None = None) -> Iterator[Definition]:
    """Read the definitions of all DAG files. *url* replaces the setting."""
    for file_no in range(FILES):
        yield from read(file_no, url=url)


def write(store: Store, *, url: str | None = None) -> list[int]:
    """
    Write the snapshots of the registry, and return the numbers of those that changed. Idempotent.

    Each is replaced as a whole, so that a reader sees the old or the new one. *url* replaces the setting
    `HUB_DEFINITIONS_URL`.
    """
    from crossdock.integrations import repository  # noqa: PLC0415  loads the database driver, which no DAG file needs

    with store.transaction() as work:
        # Otherwise the older of two changes could be written last.
        repository.lock_registry(work)
        found = [
            Definition(integration=each.integration_id, kind=each.kind, title=each.name)
            for each in repository.list_all(work)
        ]
        return write_snapshots(found, url=url)


def write_snapshots(found: Iterable[Definition], *, url: str | None = None) -> list[int]:
    """Divide *found* among the DAG files, write what differs, and return the numbers of those files."""
    snapshots: list[list[Definition]] = [[] for _ in range(FILES)]
    for definition in found:
        snapshots[file_of(definition.integration)].append(definition)
    return [file_no for file_no, snapshot in enumerate(snapshots) if _write(file_no, snapshot, url)]


def _write(file_no: int, snapshot: Iterable[Definition], url: str | None) -> bool:
    content = msgspec.json.encode(list(snapshot))
    if definition_files.read(_name(file_no), url=url) == content:
        return False
    definition_files.replace(_name(file_no), content, url=url)
    return True


def _name(file_no: int) -> str:
    return f"integrations-{file_no}.json"
