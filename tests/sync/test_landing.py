"""Pages and batches in a folder: what was written is read, or the failure says that trying again may help."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.sync.landing import Landing, LandingUnavailable


@given(content=st.binary(max_size=2_000))
def test_what_was_written_is_read(content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    landing = Landing(str(tmp_path_factory.getbasetemp()))

    landing.write("run/range-00/page-000000.json.zst", content)

    assert landing.read("run/range-00/page-000000.json.zst") == content


def test_a_page_is_kept_compressed(tmp_path: Path) -> None:
    """A day of pages is gigabytes otherwise."""
    Landing(str(tmp_path)).write("page", b"stock " * 10_000)

    assert (tmp_path / "page").stat().st_size < 1_000


def test_a_name_that_is_written_again_is_replaced_whole(tmp_path: Path) -> None:
    """A page left over from a crash may be longer than the one that replaces it."""
    landing = Landing(str(tmp_path))
    landing.write("page", os.urandom(5_000))

    landing.write("page", b"short")

    assert landing.read("page") == b"short"


@pytest.mark.parametrize("content", [None, b"", b"no zstd at all", b"\x28\xb5\x2f\xfd\x24"])
def test_a_file_that_is_missing_or_damaged_can_be_tried_again(tmp_path: Path, content: bytes | None) -> None:
    """The message says what to clear, so that the source is read anew."""
    if content is not None:
        (tmp_path / "page").write_bytes(content)

    with pytest.raises(LandingUnavailable, match=r"Cannot read the landed page.*Clear"):
        Landing(str(tmp_path)).read("page")


def test_a_file_that_was_cut_is_never_read_as_a_shorter_one(tmp_path: Path) -> None:
    landing = Landing(str(tmp_path))
    landing.write("page", os.urandom(5_000))
    whole = (tmp_path / "page").read_bytes()

    for length in range(0, len(whole), 499):
        (tmp_path / "page").write_bytes(whole[:length])
        with pytest.raises(LandingUnavailable):
            landing.read("page")


def test_a_folder_that_takes_no_file_can_be_tried_again(tmp_path: Path) -> None:
    """A file where the folder should be: permissions do not stop root."""
    (tmp_path / "run").write_text("in the way")

    with pytest.raises(LandingUnavailable, match="Cannot write run/page"):
        Landing(str(tmp_path)).write("run/page", b"{}")


def test_a_full_disk_can_be_tried_again() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("only Linux has a disk that is always full")

    with pytest.raises(LandingUnavailable, match="No space left"):
        Landing("/dev").write("full", b"{}")


@pytest.mark.parametrize("name", ["plain", "with blank", "with#hash", "with%41percent", "with?question"])
def test_a_folder_is_found_under_its_path_and_its_url(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    Landing(str(folder)).write("page", b"{}")

    assert (folder / "page").exists()
    assert Landing(folder.as_uri()).read("page") == b"{}"


def test_a_flushed_file_is_on_disk_with_every_folder_that_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an fsync of its folder, a file may be missing after a power failure."""
    landing, settled = Landing(str(tmp_path)), []
    landing.write("run/range-00/page", b"{}")
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: settled.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
    )

    landing.sync_to_disk(["run/range-00/page"])

    assert settled == [str(tmp_path / part) for part in ("run/range-00/page", "run/range-00", "run", "")]


def test_a_file_that_cannot_be_flushed_can_be_written_again(tmp_path: Path) -> None:
    with pytest.raises(LandingUnavailable, match="Cannot flush files of the landing"):
        Landing(str(tmp_path)).sync_to_disk(["gone"])
