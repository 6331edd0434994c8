"""A database that answers may still take no writes."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from crossdock.db.database import Store
from crossdock.db.writable import refusal, refusal_of
from crossdock.stack.postgres import PostgresServer
from tests.shop import free_port


def test_a_database_that_takes_writes_refuses_nothing_and_keeps_nothing(hub_dsn: str) -> None:
    with Store(hub_dsn) as store:
        assert refusal(store) is None
        with store.question() as work:
            found = work.execute("SELECT count(*) FROM pg_class WHERE relname = 'write_test'").fetchone()
    assert found == (0,)


def test_a_database_that_can_only_be_read_says_so(hub_dsn: str) -> None:
    """As a full volume: what is there is read, and nothing can be added."""
    with Store(hub_dsn) as store:  # the first connection notes where the server's events begin
        assert refusal(store) is None
    with Store(hub_dsn, session="-c default_transaction_read_only=on") as store:
        assert "read-only" in str(refusal(store))

    with psycopg.connect(hub_dsn, autocommit=True, options="-c default_transaction_read_only=on") as connection:
        assert "read-only" in str(refusal_of(connection))


@pytest.fixture
def full_volume() -> Iterator[Path]:
    """A small volume of its own."""
    folder = Path(tempfile.mkdtemp(prefix="hub-full-"))
    mounted = subprocess.run(
        ["/usr/bin/mount", "-t", "tmpfs", "-o", "size=150m,mode=755", "tmpfs", str(folder)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a volume")
    yield folder
    subprocess.run(["/usr/bin/umount", "-l", str(folder)], check=True)
    folder.rmdir()


@pytest.mark.deep
def test_a_full_volume_is_found_by_a_write_and_not_by_a_question(full_volume: Path) -> None:
    """It still answers, and even takes what fits into pages that are there: every webhook got 503, and the doctor was content."""
    server = PostgresServer(full_volume / "postgres", free_port(), "a long password")
    server.initialise()
    server.start()
    try:
        with psycopg.connect(server.dsn(), autocommit=True) as connection:
            connection.execute("CREATE TABLE one AS SELECT 1 AS number")
            assert refusal_of(connection) is None
            _fill(full_volume)
            connection.execute("UPDATE one SET number = 2")

            assert "No space left on device" in str(refusal_of(connection))

            (full_volume / "filler").unlink()
            assert refusal_of(connection) is None
    finally:
        server.remove()


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
