"""Store a validated batch as two files beside the raw pages: accepted rows as Arrow columns, rejected records as JSON."""

from __future__ import annotations

import msgspec

from crossdock.sync.batches import Content
from crossdock.sync.landing import Landing
from crossdock.sync.model import RowCounts
from crossdock.sync.quarantine.model import Rejected, Warned


class _NotAccepted(msgspec.Struct, frozen=True):
    rejected: tuple[Rejected, ...]
    repeats: RowCounts
    warned: tuple[Warned, ...] = ()


#: Made once: batches are loaded by several threads, see `core.decoding`.
_decode_not_accepted = msgspec.json.Decoder(_NotAccepted).decode


def write_batch(landing: Landing, name: str, content: Content) -> None:
    """Write *content* under *name*; it is on disk when this returns. Writing a name again replaces it."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.accepted.schema) as stream:
        stream.write_table(content.accepted)
    rows, rejected = f"{name}.arrow.zst", f"{name}.rejected.json.zst"
    landing.write(rows, sink.getvalue().to_pybytes())
    landing.write(rejected, msgspec.json.encode(_NotAccepted(content.rejected, content.repeats, content.warned)))
    landing.sync_to_disk([rows, rejected])


def read_batch(landing: Landing, name: str) -> Content:
    """Read a batch that `write_batch` stored."""
    import pyarrow as pa

    accepted = pa.ipc.open_stream(landing.read(f"{name}.arrow.zst")).read_all()
    kept = _decode_not_accepted(landing.read(f"{name}.rejected.json.zst"))
    return Content(accepted=accepted, rejected=kept.rejected, repeats=kept.repeats, warned=kept.warned)
