"""What a stack occupies at one moment: files and bytes by area, sizes of tables, memory by process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import psycopg

from crossdock.bench.meter import pss_mb
from crossdock.stack import lifecycle, processes
from crossdock.stack.home import home
from crossdock.stack.lifecycle import Stack
from crossdock.stack.secrets import load_secrets

#: With indexes and TOAST; partitions one by one.
_TABLES = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
 WHERE relkind = 'r' AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace)
"""


class Area(msgspec.Struct, frozen=True, kw_only=True):
    """The files and folders below a folder: each occupies an inode."""

    inodes: int
    bytes: int


class Footprint(msgspec.Struct, frozen=True, kw_only=True):
    """What the stack occupies."""

    areas: dict[str, Area]
    #: Table → bytes.
    hub_tables: dict[str, int]
    airflow_tables: dict[str, int]
    #: Process → MiB.
    memory_mb: dict[str, float]


def footprint(running: Stack) -> Footprint:
    """Measure the stack now."""
    return Footprint(
        areas={name: _area(folder) for name, folder in _folders().items()},
        hub_tables=_tables(running.hub_dsn),
        airflow_tables=_tables(_metadata_dsn(running)),
        memory_mb={name: pss_mb(record.pid) for name, record in processes.alive().items()},
    )


def _folders() -> dict[str, Path]:
    return {
        "landing": home() / "landing",
        "definitions": home() / "definitions",
        "logs of tasks": home() / "airflow" / "logs",
        "logs of processes": home() / "logs",
    }


def _area(folder: Path) -> Area:
    sizes = list(_sizes(folder))
    return Area(inodes=len(sizes), bytes=sum(sizes))


def _sizes(folder: Path) -> Iterator[int]:
    """Bytes on disk of everything below *folder*; files come and go meanwhile."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            try:
                yield os.lstat(os.path.join(place, name)).st_blocks * 512  # noqa: PTH118  a million of them
            except FileNotFoundError:
                continue


def _tables(dsn: str) -> dict[str, int]:
    with psycopg.connect(dsn) as connection:
        return {str(name): int(size) for name, size in connection.execute(_TABLES)}


def _metadata_dsn(running: Stack) -> str:
    server = lifecycle.servers(running.ports, load_secrets())["postgres-metadata"]
    return server.dsn("airflow")
