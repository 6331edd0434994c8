"""The contents of a backup: a folder with a manifest, which names every file with its size and checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import msgspec

from crossdock.client.errors import StackError
from crossdock.core.decoding import prepare
from crossdock.stack.home import write_json

#: Of what a backup consists; a restore reads no other.
FORMAT = 1
PREFIX = "crossdock-"
_FILE = "manifest.json"
_CHUNK_BYTES = 1024**2

#: Called with a sentence, and with how many bytes of how many are done, where that is known.
Progress = Callable[..., None]


class BackupInvalid(StackError):
    """A backup is damaged, not whole, or not for this version of the hub."""


class ArchivedFile(msgspec.Struct, frozen=True):
    """One file of a backup."""

    size_bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a backup."""

    format: int
    #: The version of the hub that wrote it.
    crossdock: str
    airflow: str
    #: The major version of PostgreSQL: another one cannot read the files.
    postgres: int
    #: The newest migration of the hub's schema.
    schema: str
    started_at: datetime
    #: Everything that was committed in the hub's database until then is in the backup; so is part of what came in the seconds
    #: after that.
    instant: datetime
    ended_at: datetime
    landed_files: int
    #: Name, relative to the folder → file.
    files: dict[str, ArchivedFile]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files.values())


prepare(Manifest, dict[str, object])


def read(folder: Path) -> Manifest:
    """
    Read the manifest of the backup in *folder*.

    Raises:
        BackupInvalid: there is none, or another version of the hub wrote it.

    """
    try:
        content = (folder / _FILE).read_bytes()
    except OSError as error:
        raise BackupInvalid(f"{folder} is not a backup: {_FILE} cannot be read ({error.strerror})") from error
    try:
        # Its number first: what another format has in its manifest is not known.
        number = msgspec.json.decode(content, type=dict[str, object]).get("format")
        if number != FORMAT:
            raise BackupInvalid(
                f"{folder} has the format {number}, this version reads {FORMAT}. Use the version that wrote it"
            )
        return msgspec.json.decode(content, type=Manifest)
    except msgspec.MsgspecError as error:
        raise BackupInvalid(f"{folder / _FILE} is damaged: {error}") from error


def write(folder: Path, manifest: Manifest) -> None:
    """Write the manifest; it is on disk when this returns."""
    write_json(folder / _FILE, msgspec.to_builtins(manifest))


def checked(folder: Path, progress: Progress) -> Manifest:
    """
    Read the manifest of a backup, and compare each of its files with it.

    Raises:
        BackupInvalid: a file is missing or differs; the message names each.

    """
    manifest = read(folder)
    wrong, done = [], 0
    for name, expected in sorted(manifest.files.items()):
        progress("Checking the backup", done=done, total=manifest.size_bytes)
        try:
            found = describe(folder / name)
        except OSError as error:
            wrong.append(f"{name} cannot be read ({error.strerror})")
        else:
            if found != expected:
                wrong.append(
                    f"{name} has {found.size_bytes:,} bytes and another checksum (expected {expected.size_bytes:,} bytes)"
                )
        done += expected.size_bytes
    if wrong:
        raise BackupInvalid(f"{folder} is damaged: {'; '.join(wrong)}. Use another backup")
    return manifest


def describe(path: Path) -> ArchivedFile:
    """Compute size and checksum of a file."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return ArchivedFile(size, digest.hexdigest())


def files_below(folder: Path) -> Iterator[Path]:
    """List the files of a backup that is being written."""
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def flush(folder: Path) -> None:
    """Flush all files and folders below *folder* to disk."""
    for path in (*folder.rglob("*"), folder):
        flush_one(path)


def flush_one(path: Path) -> None:
    """Flush one file or folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def whole_ones(folder: Path) -> list[Path]:
    """List the whole backups in *folder*, oldest first. Their names begin with their times."""
    return sorted(path for path in folder.glob(f"{PREFIX}*") if (path / _FILE).is_file())
