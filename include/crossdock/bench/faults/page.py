"""The generated part of docs/reliability.md, from the rows in docs/benchmarks/."""

from __future__ import annotations

from pathlib import Path

import msgspec

from crossdock.bench.faults.injections import FAULTS
from crossdock.bench.faults.outcome import Measured, page_part

NOW, BEFORE = "faults.json", "faults-before.json"
_BEGIN, _END = "<!-- the table of faults: begin -->", "<!-- the table of faults: end -->"


def read(file: Path) -> Measured | None:
    """Read what an earlier run wrote; None where there is none."""
    return msgspec.json.decode(file.read_bytes(), type=Measured) if file.exists() else None


def write(file: Path, measured: Measured) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(measured)) + b"\n")


def write_page(page: Path, folder: Path) -> None:
    """Write the table of *page* anew, from the rows in *folder*."""
    page.write_text(with_table(page.read_text(), folder))


def with_table(text: str, folder: Path) -> str:
    """Put the table of the rows in *folder* between the marks of a page's *text*."""
    start, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    part = page_part(read(folder / BEFORE), read(folder / NOW), [fault.name for fault in FAULTS])
    return f"{text[:start]}\n\n{part}\n\n{text[end:]}"
