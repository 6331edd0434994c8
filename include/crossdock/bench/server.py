"""A PostgreSQL server for one measurement, removed at its end."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from crossdock.bench.interrupts import exit_on_signals
from crossdock.stack.ports import free_port
from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer

#: The hub's own settings, as durable, but with room for all that a run writes: a checkpoint that one loader caused
#: would slow down the next.
ROOMY_OPTIONS = {**HUB_OPTIONS, "shared_buffers": "1GB", "max_wal_size": "8GB", "checkpoint_timeout": "30min"}


class Server(NamedTuple):
    dsn: str
    pid: int
    #: For the files of the run; removed at its end.
    folder: Path


@contextmanager
def database_server(options: Mapping[str, str]) -> Iterator[Server]:
    """Start a server with one empty database; remove it with all its files afterwards, on SIGTERM too."""
    with exit_on_signals():
        folder = Path(tempfile.mkdtemp(prefix="crossdock-bench-"))
        server = PostgresServer(folder / "postgres", free_port(), secrets.token_hex(16), options=options)
        try:
            server.initialise()
            pid = server.start()
            server.create_database("bench")
            yield Server(server.dsn("bench"), pid, folder)
        finally:
            server.remove()
            shutil.rmtree(folder, ignore_errors=True)
