"""The folders of the project and of its local stack, and how files in them are read and written."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

#: In a home that is being restored from a backup.
RESTORING = "restore-unfinished.json"


def project() -> Path:
    """Find the folder that holds `dags/`, `include/` and `hub`."""
    named = os.environ.get("HUB_PROJECT")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[3]


def home() -> Path:
    """Find the folder for everything a stack writes: HUB_HOME, or `.hub` in the project. It may not exist yet."""
    named = os.environ.get("HUB_HOME")
    return Path(named).expanduser().resolve() if named else project() / ".hub"


def make_private_folder(folder: Path) -> Path:
    """Create *folder* where it is missing, and close it to other users."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(stat.S_IRWXU)
    return folder


def read_json(path: Path) -> Any:
    """Read *path*; None where it is missing or not JSON (a full disk may have truncated it)."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Write *content* to *path* atomically, mode 0600: a reader sees the old or the new file, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
