"""A checked batch as two files beside the raw pages: accepted rows as Arrow columns, rejected records as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from include.flows.sync.gate import Sifted
from include.model.quality import Rejected
from include.model.sync import Fates
from include.store.batches import Content, jsonb_bytes
from include.store.landing import Landing
from include.store.tables import EntityTable

if TYPE_CHECKING:
    import pyarrow as pa


class _Kept(msgspec.Struct, frozen=True):
    rejected: tuple[Rejected, ...]
    repeats: Fates


def write_batch(landing: Landing, name: str, content: Sifted) -> None:
    """*content* under *name*; written again, it replaces what was there."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.accepted.schema) as stream:
        stream.write_table(content.accepted)
    landing.write(f"{name}.arrow.zst", sink.getvalue().to_pybytes())
    landing.write(f"{name}.rejected.json.zst", msgspec.json.encode(_Kept(content.rejected, content.repeats)))


def read_batch(landing: Landing, table: EntityTable, name: str) -> Content:
    """What `write_batch` kept, as rows."""
    import pyarrow as pa

    accepted = pa.ipc.open_stream(landing.read(f"{name}.arrow.zst")).read_all()
    kept = msgspec.json.decode(landing.read(f"{name}.rejected.json.zst"), type=_Kept)
    return as_content(table, Sifted(accepted, kept.rejected, kept.repeats))


def as_content(table: EntityTable, content: Sifted) -> Content:
    """*content* with its columns turned into rows, as the store takes them."""
    columns = [_values(column, of.pg_type) for column, of in zip(content.accepted.columns, table.columns, strict=True)]
    return Content(accepted=list(zip(*columns, strict=True)), rejected=content.rejected, repeats=content.repeats)


def _values(column: pa.ChunkedArray, pg_type: str) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return [jsonb_bytes(value) for value in values] if pg_type == "jsonb" else values
