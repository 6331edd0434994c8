"""A database server and a source for one measurement, gone at its end."""

from __future__ import annotations

import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crossdock.bench.interrupts import told_to_end
from crossdock.bench.sync.processes import Bench, SourceProcess
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer

#: As the hub's server, but with room for all that a run writes: a checkpoint in the middle of one loader's step, caused
#: by another's, would be noise. Durable as ever.
_OPTIONS = {**HUB_OPTIONS, "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


@contextmanager
def database_server(options: Mapping[str, str] | None = None) -> Iterator[tuple[str, int, Path]]:
    """A server's address, its process id, and a folder for the run's files; all gone afterwards, on SIGTERM too."""
    with told_to_end():
        yield from _database_server({**_OPTIONS, **(options or {})})


def _database_server(options: Mapping[str, str]) -> Iterator[tuple[str, int, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="crossdock-bench-"))
    server = PostgresServer(folder / "postgres", _free_port(), secrets.token_hex(16), options=options)
    try:
        server.initialise()
        pid = server.start()
        server.create_database("bench")
        yield server.dsn("bench"), pid, folder
    finally:
        server.remove()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def bench_of(
    server: tuple[str, int, Path], entity: str, rows: int, *, dataset: Path | None, ids: str
) -> Iterator[Bench]:
    """The source of *rows* records beside *server*."""
    dsn, pid, folder = server
    with SourceProcess(entity, rows, dataset=dataset, ids=ids) as source:
        yield Bench(source=source, dsn=dsn, postgres_pid=pid, folder=folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
