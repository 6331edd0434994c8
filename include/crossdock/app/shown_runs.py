"""Personal data in what a run is shown with: one rule for the route and the page."""

from __future__ import annotations

import msgspec

from crossdock.app import personal_data
from crossdock.sync.ledger import Run
from crossdock.sync.quarantine.model import Warned
from crossdock.sync.run_rows_repository import Row


def shown_row(row: Row, dataset: str) -> Row:
    """Mask the ID and the key of a row of *dataset* where they are personal."""
    return msgspec.structs.replace(
        row,
        record_id=personal_data.masked_id(row.record_id, row.record_key, dataset),
        record_key=personal_data.masked_key(row.record_key, dataset),
    )


def shown_warnings(run: Run) -> list[Warned]:
    """List the warnings of *run* with their examples masked where they may be personal keys."""
    return [
        msgspec.structs.replace(
            warned,
            examples=tuple(personal_data.masked_unknown_id(record_id, run.dataset) for record_id in warned.examples),
        )
        for warned in run.warnings
    ]
