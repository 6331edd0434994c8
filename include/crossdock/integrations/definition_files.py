"""The folder of definitions that all of Airflow's processes read: `HUB_DEFINITIONS_URL`, local or in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from crossdock.core.settings import settings


def read(name: str, *, url: str | None = None) -> bytes | None:
    """Read the file *name*; None if it does not exist. *url* replaces the setting."""
    try:
        content: bytes = _location(name, url).read_bytes()
    except FileNotFoundError:
        return None
    return content


def replace(name: str, content: bytes, *, url: str | None = None) -> None:
    """Write the file *name* as a whole: a reader sees the old or the new one. *url* replaces the setting."""
    location = _location(name, url)
    if not isinstance(location, Path):
        location.write_bytes(content)  # an object store replaces an object as a whole
        return
    location.parent.mkdir(parents=True, exist_ok=True)
    beside = location.with_suffix(f".{os.getpid()}.new")
    beside.write_bytes(content)
    beside.replace(location)


def _location(name: str, url: str | None) -> Any:
    url = url or settings().definitions_url
    if url.startswith("file://"):
        return Path(url.removeprefix("file://")) / name
    from airflow.sdk import ObjectStoragePath  # noqa: PLC0415  only where an object store is used

    return ObjectStoragePath(url) / name
