"""Where the project and the state of its local stack live."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any


def project() -> Path:
    """The folder that holds `dags/`, `include/` and `hub`."""
    named = os.environ.get("HUB_PROJECT")
    return Path(named).resolve() if named else Path(__file__).resolve().parents[3]


def home() -> Path:
    """The folder that holds everything a stack writes: HUB_HOME, else `.hub` in the project. May not exist yet."""
    named = os.environ.get("HUB_HOME")
    return Path(named).expanduser().resolve() if named else project() / ".hub"


def make_private_folder(folder: Path) -> Path:
    """*folder*, made where missing, closed to other users."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(stat.S_IRWXU)
    return folder


def read_json(path: Path) -> Any:
    """What *path* holds, or None where it is missing or not JSON (a full disk may have cut it)."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def write_json(path: Path, content: Any) -> None:
    """Put *content* at *path*, mode 0600, so that a reader sees the old or the new whole file, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
