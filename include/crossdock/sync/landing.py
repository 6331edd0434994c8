"""
The landing: pages as they came, as compressed files in object storage, with an index row for each.

The file is on disk before its row is written, so a row never names a missing page. A file without a row is left
over from a crash: the page is read again, under a name with the new worker's token.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import msgspec
import zstandard

from crossdock.core.errors import HubUnavailable
from crossdock.db.database import Work
from crossdock.sync.source import Axis, Cursor, Range


class Folder(Protocol):
    """The part of pathlib that both a local path and Airflow's ObjectStoragePath have."""

    def __truediv__(self, name: str) -> Any: ...


class LandingUnavailable(HubUnavailable):
    """Object storage could not be written or read."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """One landed page."""

    range_no: int
    page_no: int
    records: int
    lines: int
    path: str
    #: Where the next page of the range starts; None on a page without a usable record.
    cursor: Cursor | None


class Landing:
    """The storage of the pages of all runs: a local folder (`file://…` or a path), `s3://conn_id@bucket/…` or `gs://…`."""

    #: Whether pages outlive their run, so that another process can go on with it.
    is_kept = True

    def __init__(self, url: str) -> None:
        self.root = _folder(url)

    def write(self, name: str, content: bytes) -> None:
        """Write *content*, compressed, under *name*. Writing a name again replaces it."""
        packed = zstandard.ZstdCompressor(level=1).compress(content)
        try:
            path = self.root / name
            try:
                path.write_bytes(packed)
            except (
                FileNotFoundError
            ):  # The folder is missing. Usually it exists, and checking first costs as much as writing.
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(packed)
        except OSError as error:
            raise LandingUnavailable(
                f"Cannot write {name} to the landing {self.root}: {error.strerror or error}"
            ) from error

    def read(self, name: str) -> bytes:
        """
        Read what was written under *name*.

        Raises:
            LandingUnavailable: it is missing or cannot be read. Clear the run's `extract` to read it from the source.

        """
        try:
            packed: bytes = (self.root / name).read_bytes()
            return zstandard.ZstdDecompressor().decompress(packed)
        except (OSError, zstandard.ZstdError) as error:
            raise LandingUnavailable(
                f"Cannot read the landed page {name} ({error}). Clear `extract` to read the source again"
            ) from error

    def sync_to_disk(self, names: Collection[str]) -> None:
        """
        Flush the files *names* to disk (fsync), so that rows that name them may be committed.

        A file that was only written is lost in a power failure, and its row is not. Object stores confirm a write once it
        is durable. Flushing many files together is cheaper.

        Raises:
            LandingUnavailable: the disk does not confirm it. Write them again.

        """
        if not isinstance(self.root, Path):
            return
        paths = [self.root / name for name in names]
        folders = {folder for path in paths for folder in path.parents if folder.is_relative_to(self.root)}
        try:
            for path in (*paths, *sorted(folders, reverse=True)):
                _fsync(path)
        except OSError as error:
            raise LandingUnavailable(
                f"Cannot flush files of the landing {self.root} to disk: {error.strerror or error}"
            ) from error

    def remove(self, name: str) -> None:
        """Delete the folder *name* with its content. Idempotent."""
        folder = self.root / name
        try:
            if isinstance(folder, Path):
                shutil.rmtree(folder)
            else:
                folder.rmdir(recursive=True)
        except (FileNotFoundError, NotADirectoryError):  # An object store has no empty folders.
            return
        except OSError as error:
            raise LandingUnavailable(
                f"Cannot delete {name} from the landing {self.root}: {error.strerror or error}"
            ) from error


class LandingInMemory(Landing):
    """
    The storage of the pages of one run that nobody continues: a fetch of single records, whose retry is another run.

    Five webhooks a second would otherwise leave 1.3 million files a day, for a week.
    """

    is_kept = False

    def __init__(self) -> None:
        self._pages: dict[str, bytes] = {}

    def write(self, name: str, content: bytes) -> None:
        """Keep *content* under *name* until the run ends."""
        self._pages[name] = content

    def read(self, name: str) -> bytes:
        """
        Read what was written under *name*.

        Raises:
            LandingUnavailable: another process wrote it.

        """
        try:
            return self._pages[name]
        except KeyError:
            raise LandingUnavailable(f"The page {name} was in the memory of another process. Fetch it again") from None

    def sync_to_disk(self, names: Collection[str]) -> None:
        """Do nothing: a page that is lost with its process belongs to a run that is lost with it."""

    def remove(self, name: str) -> None:
        """Drop what was written below *name*. Idempotent."""
        self._pages = {path: page for path, page in self._pages.items() if not path.startswith(f"{name}/")}


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _folder(url: str) -> Folder:
    parts = urlsplit(url)
    if not parts.scheme:
        return Path(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    from airflow.sdk import ObjectStoragePath  # noqa: PLC0415  seconds to import, and only object stores need it

    return ObjectStoragePath(url)


_ADD_RANGE = b"""
INSERT INTO sync_range (run_id, range_no, axis, low, high, id_low, id_high, field, keys)
VALUES (%(run_id)s, %(range_no)s, %(axis)s, %(low)s, %(high)s, %(id_low)s, %(id_high)s, %(field)s, %(keys)s)
"""

_RANGES = b"""
SELECT range_no, axis, low, high, id_low, id_high, field, keys, read_done
  FROM sync_range WHERE run_id = %(run_id)s ORDER BY range_no
"""

_ADD_PAGE = b"""
INSERT INTO landed_page (run_id, range_no, page_no, records, lines, bytes, path, cursor_at, cursor_id)
VALUES (%(run_id)s, %(range_no)s, %(page_no)s, %(records)s, %(lines)s, %(bytes)s, %(path)s, %(cursor_at)s, %(cursor_id)s)
"""

_PAGES = b"""
SELECT range_no, page_no, records, lines, path, cursor_at, cursor_id
  FROM landed_page WHERE run_id = %(run_id)s ORDER BY range_no, page_no
"""

#: Its pages go with its ranges. The run must not be continued without them.
_FORGET = b"""
WITH gone AS (DELETE FROM sync_range WHERE run_id = %(run_id)s)
UPDATE sync_run SET landing_cleared_at = clock_timestamp() WHERE run_id = %(run_id)s
"""

_RANGES_DONE = b"UPDATE sync_range SET read_done = true WHERE run_id = %(run_id)s AND range_no = ANY(%(range_nos)s)"


def add_ranges(work: Work, run_id: str, ranges: list[Range]) -> None:
    """Record the ranges that the run will read."""
    for part in ranges:
        values = {**msgspec.structs.asdict(part), "axis": part.axis.value, "keys": list(part.keys) or None}
        work.execute(_ADD_RANGE, {"run_id": run_id, **values})


def ranges_of(work: Work, run_id: str) -> list[Range]:
    """List the run's ranges."""
    return [
        Range(
            range_no=no,
            axis=Axis(axis),
            low=low,
            high=high,
            id_low=id_low,
            id_high=id_high,
            field=field,
            keys=tuple(keys or ()),
            read_done=done,
        )
        for no, axis, low, high, id_low, id_high, field, keys, done in work.execute(_RANGES, {"run_id": run_id})
    ]


def add_pages(work: Work, run_id: str, pages: Sequence[tuple[Page, int]]) -> None:
    """Record *pages*, each with its size in bytes, as landed."""
    work.cursor().executemany(
        _ADD_PAGE,
        [
            {
                "run_id": run_id,
                "bytes": size_bytes,
                "range_no": page.range_no,
                "page_no": page.page_no,
                "records": page.records,
                "lines": page.lines,
                "path": page.path,
                "cursor_at": page.cursor and page.cursor.at,
                "cursor_id": page.cursor and page.cursor.id,
            }
            for page, size_bytes in pages
        ],
    )


def pages_of(work: Work, run_id: str) -> list[Page]:
    """List the run's pages in reading order."""
    return [
        Page(
            range_no=range_no,
            page_no=no,
            records=records,
            lines=lines,
            path=path,
            cursor=Cursor(at, last_id) if at else None,
        )
        for range_no, no, records, lines, path, at, last_id in work.execute(_PAGES, {"run_id": run_id})
    ]


def mark_ranges_read(work: Work, run_id: str, range_nos: Sequence[int]) -> None:
    """Mark these ranges as fully read."""
    if range_nos:
        work.execute(_RANGES_DONE, {"run_id": run_id, "range_nos": list(range_nos)})


def forget(work: Work, run_id: str) -> None:
    """Delete the index of the run's pages, in the transaction that ends it: they were in the memory of its process."""
    work.execute(_FORGET, {"run_id": run_id})
