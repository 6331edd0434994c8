"""A checked batch waits in two files and comes back as it was."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from crossdock.sync.batch_file import read_batch, write_batch
from crossdock.sync.landing import Landing, LandingUnavailable
from crossdock.sync.validate_rows import validate_rows
from tests.streams import INVENTORY
from tests.sync.records import SIDEBOARD, entry, page


def test_a_batch_comes_back_as_it_was_written(tmp_path: Path) -> None:
    """Rows, rejected records and counts: the load sees nothing else of the batch."""
    landing = Landing(str(tmp_path))
    content = validate_rows(
        INVENTORY,
        [
            page(
                entry(), entry(), entry(id="b", supplyChannel=None, sku="Möbel 沙发 🛋"), entry(id="c", sku="\x00\ud800")
            )
        ],
    )

    write_batch(landing, "run/batch-00000", content)
    back = read_batch(landing, "run/batch-00000")

    assert back == content
    row = back.accepted.to_pylist()[0]
    assert (row["id"], row["version"], row["sku"]) == (SIDEBOARD["id"], 3, "SIDEBOARD-OAK-01")
    assert datetime(2026, 11, 20, 17, 30, tzinfo=UTC) in row.values()


def test_a_batch_of_nothing_comes_back_as_nothing(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path))

    write_batch(landing, "run/batch-00000", validate_rows(INVENTORY, []))

    assert read_batch(landing, "run/batch-00000").accepted.num_rows == 0


def test_a_batch_that_is_written_again_replaces_the_first(tmp_path: Path) -> None:
    """A worker that died between the two files left one of another attempt."""
    landing = Landing(str(tmp_path))
    write_batch(landing, "run/batch-00000", validate_rows(INVENTORY, [page(entry(sku=""))]))
    content = validate_rows(INVENTORY, [page(entry())])

    write_batch(landing, "run/batch-00000", content)

    assert read_batch(landing, "run/batch-00000") == content


def test_a_batch_without_its_files_can_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(LandingUnavailable, match="Clear `extract`"):
        read_batch(Landing(str(tmp_path)), "run/batch-00000")
