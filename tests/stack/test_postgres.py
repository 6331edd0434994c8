"""The start, stop and recovery of one PostgreSQL server."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psycopg
import pytest

from crossdock.stack.postgres import HUB_OPTIONS, PostgresServer

ROOT_ONLY = pytest.mark.skipif(
    os.geteuid() != 0,
    reason="only root has to give the server away to another user: run ./hub test as root for this one",
)


def test_a_second_start_finds_the_running_server(server: PostgresServer) -> None:
    """`./hub up` must not start a second database when only Airflow has ended."""
    first = server.start()

    assert server.start() == first
    assert server.is_running()


def test_a_second_object_refers_to_the_same_server(server: PostgresServer) -> None:
    """`./hub down` is another process than the `./hub up` that started it."""
    pid = server.start()
    other = PostgresServer(server.folder, server.port, "a long password")

    assert other.pid() == pid
    assert other.stop()
    assert not server.is_running()


def test_data_survive_a_stop_and_a_start(server: PostgresServer) -> None:
    server.start()
    server.create_database("hub", owner="hub", password="made up")
    dsn = server.dsn("hub", user="hub", password="made up")
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    server.stop()

    server.start()

    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
    assert not server.initialise(), "there is a data directory already"


@pytest.mark.crash
def test_a_killed_server_starts_again(server: PostgresServer) -> None:
    """Kill -9 leaves a lock file and, for a moment, children that hold the shared memory."""
    killed = server.start()
    session = psycopg.connect(server.dsn())
    os.kill(killed, signal.SIGKILL)
    while server.is_running():
        time.sleep(0.01)

    again = server.start()

    assert again != killed
    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    session.close()


def test_a_lock_file_with_the_id_of_another_program_does_not_block_the_start(server: PostgresServer) -> None:
    """After a reboot the id in the lock file belongs to another process; PostgreSQL alone would refuse to start."""
    server.start()
    lock = server.folder.resolve() / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines()
    server.stop()
    lock.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")

    assert not server.is_running()
    server.start()

    assert server.is_running()
    os.kill(os.getppid(), 0)


def test_the_remains_of_an_interrupted_initialise_are_not_used_as_data(open_folder: Path, free_port: int) -> None:
    """Initdb writes its version file long before it has finished."""
    server = PostgresServer(open_folder / "postgres-half", free_port, "a long password")
    half = server.log.parent / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18")

    assert server.initialise()
    server.start()

    server.remove()


def test_a_login_needs_the_password(server: PostgresServer) -> None:
    """Other users of the machine reach 127.0.0.1 too."""
    server.start()

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.dsn(password="guess"))
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(f"host=127.0.0.1 port={server.port} user=postgres dbname=postgres")


def test_the_owner_of_a_database_is_an_ordinary_role(server: PostgresServer) -> None:
    """Code of the hub cannot read files of the machine through its database."""
    server.start()
    server.create_database("hub", owner="hub", password="first")
    server.create_database("hub", owner="hub", password="second")

    with psycopg.connect(server.dsn("hub", user="hub", password="second")) as connection:
        found = connection.execute(
            "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication FROM pg_roles WHERE rolname = 'hub'"
        ).fetchone()
        assert found == (False,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("COPY (SELECT 1) TO '/tmp/out'")


def test_the_settings_that_events_need_are_on(open_folder: Path, free_port: int) -> None:
    """Durable, readable by replication slots, and no forgotten transaction that holds every reader back."""
    server = PostgresServer(open_folder / "postgres-hub", free_port, "a long password", options=HUB_OPTIONS)
    server.initialise()
    server.start()
    names = ["fsync", "wal_level", "jit", "idle_in_transaction_session_timeout", "server_encoding", "listen_addresses"]

    with psycopg.connect(server.dsn()) as connection:
        found = [connection.execute(f"SHOW {name}").fetchone() for name in names]

    server.remove()
    assert found == [("on",), ("logical",), ("off",), ("5min",), ("UTF8",), ("127.0.0.1",)]


@ROOT_ONLY
def test_root_can_start_a_server_below_a_folder_closed_to_others(tmp_path: Path, free_port: int) -> None:
    """Root's server runs as nobody, who cannot enter /root or what mktemp -d makes."""
    closed = tmp_path / "a closed folder"
    closed.mkdir(mode=0o700)
    server = PostgresServer(closed / "postgres-ours", free_port, "a long password")
    server.initialise()
    server.start()
    moved = server.folder.resolve().parent

    with psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert server.folder.is_symlink()
    assert (moved.stat().st_uid, moved.stat().st_mode & 0o777) == (0, 0o711)
    assert closed.stat().st_mode & 0o777 == 0o700, "the closed folder stays closed"

    server.remove()
    assert not server.folder.is_symlink()
    assert not moved.exists()


def test_remove_leaves_nothing(open_folder: Path, free_port: int) -> None:
    server = PostgresServer(open_folder / "postgres-ours", free_port, "a long password")
    server.initialise()
    pid = server.start()

    server.remove()

    assert not list(open_folder.iterdir())
    deadline = time.monotonic() + 120
    while server.is_running() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.pid() is None, f"{pid} still runs"
