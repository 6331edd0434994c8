"""
Write a backup of the running stack: both servers, the landing zone, and the files without which none of them can be read.

The order matters. Airflow's metadata come first: what the hub knows may be newer than what Airflow knows, so that a task is
at most done again. The landing zone comes last: a page is on disk before the row that names it.
"""

from __future__ import annotations

import fcntl
import getpass
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from crossdock import __version__
from crossdock.client.errors import StackError
from crossdock.core.failpoints import failpoint
from crossdock.db.database import Store
from crossdock.stack import lifecycle, ports, processes
from crossdock.stack.backup import archives, manifest, repository
from crossdock.stack.backup.manifest import FORMAT, PREFIX, Manifest, Progress
from crossdock.stack.home import home, make_private_folder
from crossdock.stack.postgres import major_version
from crossdock.stack.secrets import load_secrets

#: A backup that is not whole yet; what a killed one leaves, the next one removes.
_DRAFT = ".unfinished-"


@dataclass(frozen=True)
class Written:
    """A whole backup, and what was removed for it."""

    folder: Path
    manifest: Manifest
    removed: tuple[Path, ...]


def back_up(parent: Path, *, keep: int | None = None, progress: Progress) -> Written:
    """
    Write a backup to a new folder below *parent*, named by its time; it has that name only when it is whole and on disk.

    Needs nothing but the two PostgreSQL servers. What else runs goes on.

    Args:
        parent: Created where it is missing; closed to other users.
        keep: How many whole backups stay there, this one included; None for all.
        progress: Called with a sentence, and bytes where they are known.

    Raises:
        StackError: A server does not run, another backup is being written, or the disk is full. Nothing is left behind.

    """
    _refuse_without_servers()
    parent = parent.expanduser().resolve()
    with _alone_in(parent):
        started_at = datetime.now(UTC)
        name = f"{PREFIX}{started_at:%Y%m%dT%H%M%SZ}"
        if (parent / name).exists():
            raise StackError(f"{parent / name} exists. Wait a second, then run it again")
        draft = make_private_folder(parent / f"{_DRAFT}{name}")
        try:
            written = _write(draft, started_at, progress)
            failpoint("backup.written")
            (parent / name).parent.mkdir(exist_ok=True)
            draft.rename(parent / name)
            manifest.flush_one(parent)
        except OSError as error:
            raise StackError(
                f"The backup in {parent} could not be written: {error.strerror or error}. Nothing of it is left. Make room, or "
                "choose another folder"
            ) from error
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        failpoint("backup.named")
        _record(parent / name, written)
        return Written(parent / name, written, _remove_old(parent, keep))


def _write(draft: Path, started_at: datetime, progress: Progress) -> Manifest:
    stack = lifecycle.Stack(ports.saved())
    servers = lifecycle.servers(stack.ports, load_secrets())
    instant = started_at
    with Store(stack.hub_dsn) as store:
        for name in lifecycle.POSTGRES:
            with store.question() as work:
                instant, schema = repository.now(work), repository.schema(work)
            progress(f"Copying {name}")
            servers[name].base_backup(draft / name, lambda size, name=name: progress(_words(name, size)))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            failpoint("backup.copied")
    pages = archives.write_landing(draft / "landing.tar", home() / "landing", progress)
    archives.write_home(draft / "home.tar", home())
    archives.write_declared(draft / "declared")
    progress("Writing checksums")
    close(draft)
    whole = Manifest(
        format=FORMAT,
        crossdock=__version__,
        airflow=metadata.version("apache-airflow"),
        postgres=major_version(),
        schema=schema,
        started_at=started_at,
        instant=instant,
        ended_at=datetime.now(UTC),
        landed_files=pages,
        files={path.relative_to(draft).as_posix(): manifest.describe(path) for path in manifest.files_below(draft)},
    )
    manifest.write(draft, whole)
    manifest.flush(draft)
    return whole


def close(folder: Path) -> None:
    """Close all files and folders below *folder* to other users."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def _words(name: str, size_bytes: int) -> str:
    # Whole steps: in a log, each new sentence is a line.
    return f"Copying {name}: {size_bytes // 50_000_000 * 50:,} MB"


def _refuse_without_servers() -> None:
    living = processes.alive()
    missing = [name for name in lifecycle.POSTGRES if name not in living]
    if missing:
        raise StackError(f"{' and '.join(missing)} must run for a backup. Start what is missing with: ./hub up")


@contextmanager
def _alone_in(parent: Path) -> Iterator[None]:
    """Lock out a second backup to the same folder, and remove what killed ones have left."""
    try:
        if not parent.exists():
            make_private_folder(parent)
        with (parent / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(f"Another ./hub backup writes to {parent}. Wait for it") from None
            for left in parent.glob(f"{_DRAFT}*"):
                shutil.rmtree(left)
            yield
    except OSError as error:
        raise StackError(f"{parent} cannot be written: {error.strerror or error}. Choose another folder") from error


def _record(folder: Path, written: Manifest) -> None:
    """Note the backup in the hub; one that cannot be noted is whole all the same."""
    detail = {"folder": folder.name, "bytes": written.size_bytes, "instant": written.instant.isoformat()}
    with Store(lifecycle.Stack(ports.saved()).hub_dsn) as store, store.transaction() as work:
        repository.record_backup(work, written.instant, actor=f"cli:{getpass.getuser()}", detail=detail)


def _remove_old(parent: Path, keep: int | None) -> tuple[Path, ...]:
    """Remove the oldest whole backups; each is renamed first, so that a half deleted one is never taken for whole."""
    old = manifest.whole_ones(parent)[:-keep] if keep else []
    for path in old:
        condemned = path.with_name(f"{_DRAFT}{path.name}")
        path.rename(condemned)
        shutil.rmtree(condemned)
    return tuple(old)
