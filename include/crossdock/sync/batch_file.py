"""A checked batch as two files beside the raw pages: accepted rows as Arrow columns, rejected records as JSON."""

from __future__ import annotations

import msgspec

from crossdock.sync.batches import Content
from crossdock.sync.landing import Landing
from crossdock.sync.model import Fates
from crossdock.sync.quarantine.model import Rejected


class _Kept(msgspec.Struct, frozen=True):
    rejected: tuple[Rejected, ...]
    repeats: Fates


def write_batch(landing: Landing, name: str, content: Content) -> None:
    """*content* under *name*, on disk when this returns; written again, it replaces what was there."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.accepted.schema) as stream:
        stream.write_table(content.accepted)
    rows, rejected = f"{name}.arrow.zst", f"{name}.rejected.json.zst"
    landing.write(rows, sink.getvalue().to_pybytes())
    landing.write(rejected, msgspec.json.encode(_Kept(content.rejected, content.repeats)))
    landing.settle([rows, rejected])


def read_batch(landing: Landing, name: str) -> Content:
    """What `write_batch` kept."""
    import pyarrow as pa

    accepted = pa.ipc.open_stream(landing.read(f"{name}.arrow.zst")).read_all()
    kept = msgspec.json.decode(landing.read(f"{name}.rejected.json.zst"), type=_Kept)
    return Content(accepted=accepted, rejected=kept.rejected, repeats=kept.repeats)
