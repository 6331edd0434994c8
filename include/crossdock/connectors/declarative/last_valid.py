"""
The last valid version of each declaration, kept beside the other definitions.

A file with a mistake must not stop its integration, and validating hundreds of files takes seconds, while DAG files
are parsed again and again: a file that is as it was when it was valid is not validated again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.files import Checks, InvalidDeclaration
from crossdock.connectors.declarative.model import Declaration
from crossdock.core.decoding import prepare
from crossdock.core.log import logger
from crossdock.integrations import definition_files

log = logger(__name__)


class _Snapshot(msgspec.Struct, frozen=True):
    """A declaration, and the hash of the file that it was read from."""

    digest: str
    declaration: Declaration


prepare(_Snapshot)
_decode = msgspec.json.Decoder(_Snapshot).decode


def read(path: Path, checks: Checks, *, url: str | None = None) -> Declaration | None:
    """
    Read the declaration in *path*; as it was when it was last valid, if it has a mistake; None if it never was.

    *url* replaces the setting of the folder of definitions.
    """
    known = _known(path.stem, url)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if known and known.digest == digest:
            return known.declaration
        declaration = files.read(path, checks)
    except (InvalidDeclaration, OSError) as error:
        log.warning("%s; its last valid version keeps running" if known else "%s; it has no DAG yet", error)
        return known.declaration if known else None
    _keep(path.stem, _Snapshot(digest, declaration), url)
    return declaration


def changed(place: Path | None = None, *, url: str | None = None) -> list[Path]:
    """List the declarations whose file is not as it was when it was last valid. Costs no validation."""
    return [path for path in files.paths(place).values() if not _is_as_it_was(path, url)]


def has_valid_version(path: Path, *, url: str | None = None) -> bool:
    """Check whether a version of the declaration in *path* was valid once; it keeps running."""
    return _known(path.stem, url) is not None


def _is_as_it_was(path: Path, url: str | None) -> bool:
    known = _known(path.stem, url)
    try:
        return known is not None and known.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return False  # to be read again, which says why it cannot be


def _known(name: str, url: str | None) -> _Snapshot | None:
    content = definition_files.read(_file(name), url=url)
    try:
        return _decode(content) if content else None
    except msgspec.DecodeError:
        return None  # written by another version of the hub


def _keep(name: str, snapshot: _Snapshot, url: str | None) -> None:
    try:
        definition_files.replace(_file(name), msgspec.json.encode(snapshot), url=url)
    except (OSError, msgspec.MsgspecError, TypeError, ValueError, OverflowError) as error:
        # Without it the file is validated at each parse, and a later mistake stops the integration.
        log.warning("Cannot keep the valid version of %s: %s", name, error)


def _file(name: str) -> str:
    return f"declared-{name}.json"
