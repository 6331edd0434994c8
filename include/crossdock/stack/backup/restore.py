"""
Restore a backup into an empty home. Afterwards `up` starts the hub as it was at the backup's instant.

A home that is being restored has a marker, with which no stack starts: a restore that was killed is begun anew.
"""

from __future__ import annotations

import getpass
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from packaging.version import Version

from crossdock.app.database import migrate
from crossdock.client.errors import StackError
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store
from crossdock.db.migrate import knows
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.stack import lifecycle, ports, postgres_location, turns
from crossdock.stack.backup import archives, manifest, repository
from crossdock.stack.backup.manifest import BackupInvalid, Manifest, Progress
from crossdock.stack.backup.repository import MissingPages
from crossdock.stack.home import RESTORING, home, write_json
from crossdock.stack.postgres import PostgresServer, major_version
from crossdock.stack.secrets import load_secrets
from crossdock.sync.landing import Landing
from crossdock.sync.quarantine import repository as quarantine

#: Process → its port, as `ports` calls it.
_PORTS = {"postgres-metadata": "metadata", "postgres-hub": "hub-db"}


@dataclass(frozen=True)
class Restored:
    """What a restore has found and done."""

    folder: Path
    manifest: Manifest
    #: Where the home of before is now; None where there was none.
    moved_to: Path | None
    missing: tuple[MissingPages, ...]
    #: Files of the backup that the project has not, or otherwise.
    undeclared: tuple[Path, ...]
    #: Open items of the quarantine, and open dead letters.
    in_quarantine: int
    dead_letters: int


@dataclass(frozen=True)
class _Opened:
    missing: tuple[MissingPages, ...]
    in_quarantine: int
    dead_letters: int


def find(folder: Path) -> Path:
    """
    Find the backup that *folder* is, or the newest whole one in it.

    Raises:
        BackupInvalid: there is none.

    """
    folder = folder.expanduser().resolve()
    if folder.name.startswith(manifest.PREFIX) and folder.is_dir():
        return folder
    found = manifest.whole_ones(folder)
    if not found:
        raise BackupInvalid(f"{folder} has no backup: expected a folder called {manifest.PREFIX}<time> with a manifest")
    return found[-1]


def verify(folder: Path, progress: Progress) -> tuple[Path, Manifest]:
    """
    Check the backup that *folder* is, or the newest in it: whole, undamaged, and for this version. Changes nothing.

    Raises:
        BackupInvalid: it is not; the message says what is wrong, and what to do.

    """
    chosen = find(folder)
    checked = manifest.checked(chosen, progress)
    _refuse_other_versions(checked)
    return chosen, checked


def restore(folder: Path, *, force: bool = False, progress: Progress) -> Restored:
    """
    Restore the backup that *folder* is, or the newest whole one in it, into `home()`. The stack is stopped afterwards.

    Args:
        folder: Only read.
        force: Moves a home that is not empty aside, with its databases; nothing is deleted.
        progress: Called with a sentence, and bytes where they are known.

    Raises:
        BackupInvalid: as `verify`; nothing was changed.
        StackError: the stack runs, the home is not empty, or the disk is full. Running it again is safe.

    """
    chosen, checked = verify(folder, progress)
    moved_to = _empty_home(force=force)
    with turns.in_turn(progress):
        _clear_what_an_unfinished_one_left()
        write_json(home() / RESTORING, {"backup": str(chosen)})
        failpoint("restore.begun")
        try:
            _unpack(chosen, moved_to, progress)
            opened = _put_right(checked, progress)
        except OSError as error:
            raise StackError(
                f"The backup could not be restored to {home()}: {error.strerror or error}. Make room, then run it again"
            ) from error
        failpoint("restore.opened")
        # The files that no database flushes: else a power failure leaves a home that looks whole without its secrets.
        os.sync()
        (home() / RESTORING).unlink()
    return Restored(
        folder=chosen,
        manifest=checked,
        moved_to=moved_to,
        missing=opened.missing,
        undeclared=tuple(archives.undeclared(chosen / "declared")),
        in_quarantine=opened.in_quarantine,
        dead_letters=opened.dead_letters,
    )


def _refuse_other_versions(found: Manifest) -> None:
    """Refuse what this version cannot read: no database goes back to an older schema."""
    if not knows(found.schema):
        raise BackupInvalid(
            f"The backup was written by a newer version of the hub (schema {found.schema}). Use that version ({found.crossdock})"
        )
    if Version(found.airflow) > Version(metadata.version("apache-airflow")):
        raise BackupInvalid(
            f"The backup was written with Airflow {found.airflow}. Install that version, or a newer one"
        )
    if found.postgres != major_version():
        raise BackupInvalid(
            f"The backup has files of PostgreSQL {found.postgres}, and PostgreSQL {major_version()} is installed. Restore it with "
            "a version of the hub that has the same, then move the data with pg_dump"
        )


def _empty_home(*, force: bool) -> Path | None:
    """Have an empty home, or one with an unfinished restore; return where what was there is now."""
    requested = [home() / name for name in lifecycle.POSTGRES]
    _refuse_running()
    held = _held()
    if (home() / RESTORING).exists() or (not held and not postgres_location.has_moved_data(requested)):
        return None
    if not force:
        what = ", ".join(sorted(path.name for path in held)[:5]) or "databases of a home that is gone"
        raise StackError(
            f"{home()} is not empty ({what}). Add --force to move it aside, or set HUB_HOME to another folder"
        )
    aside = home().with_name(f"{home().name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    postgres_location.move_aside(requested, home(), aside)
    return aside if aside.exists() else None


def _refuse_running() -> None:
    if lifecycle.status().state != "stopped" or any(server.is_running() for server in _servers().values()):
        raise StackError("The stack runs. Stop it first: ./hub down")


def _held() -> list[Path]:
    return [path for path in home().iterdir() if path.name != "lock"] if home().exists() else []


def _clear_what_an_unfinished_one_left() -> None:
    """
    Remove what a restore that did not end has written: the home was empty before it.

    Only in turn: otherwise the restore that writes it may be at work. Until the turn came, another may also have ended, or `up`.
    """
    _refuse_running()
    if not (home() / RESTORING).exists():
        if held := _held():
            raise StackError(
                f"Another command has filled {home()} meanwhile ({held[0].name}, …). Look at it, then decide"
            )
        return
    for server in _servers().values():
        server.remove()
    for path in home().iterdir():
        if path.name in ("lock", RESTORING):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _servers() -> dict[str, PostgresServer]:
    """Describe both servers without writing secrets into a home that is to be filled."""
    numbers = {**ports.PREFERRED, **ports.saved()}
    return {name: PostgresServer(home() / name, numbers[port], "") for name, port in _PORTS.items()}


def _unpack(folder: Path, moved_to: Path | None, progress: Progress) -> None:
    archives.unpack(folder / "home.tar", home())
    # Outside systems have gone on since the backup, and so have the simulated ones, where their memory is there.
    for journal in moved_to.glob(archives.JOURNALS) if moved_to else ():
        shutil.copy2(journal, home() / journal.name)
    progress("Unpacking the landing zone")
    archives.unpack(folder / "landing.tar", home() / "landing")
    progress("Unpacking the databases")
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda pair: pair[1].restore(folder / pair[0]), _servers().items()))
    failpoint("restore.unpacked")


def _put_right(found: Manifest, progress: Progress) -> _Opened:
    """Start both servers, put right what has changed by going back, and stop them again."""
    numbers = ports.assign()
    servers = lifecycle.servers(numbers, load_secrets())
    progress("Starting the databases: each reads its write-ahead log")
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: server.start(), servers.values()))
        dsn = lifecycle.Stack(numbers).hub_dsn
        migrate(dsn)
        landing = Landing(str(home() / "landing"))
        detail = {"instant": found.instant.isoformat(), "started_at": found.started_at.isoformat()}
        with Store(dsn) as store, store.transaction() as work:
            missing = repository.put_right(
                work, lambda name: (landing.root / name).exists(), actor=f"cli:{getpass.getuser()}", detail=detail
            )
            items = sum(cause.items for cause in quarantine.causes(work))
            dead = sum(cause.dead_letters for cause in dead_letters.causes(work))
        return _Opened(tuple(missing), items, dead)
    finally:
        for server in servers.values():
            server.stop()
