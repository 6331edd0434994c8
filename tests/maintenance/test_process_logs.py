"""A log is bounded while its process writes it, for as long as that lives."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from crossdock.maintenance import process_logs
from crossdock.maintenance.process_logs import rotate, size_of
from tests.events.worlds import eventually


def test_a_process_goes_on_writing_to_the_log_that_was_emptied(tmp_path: Path) -> None:
    """It holds the file open: after a renaming it would write to the old one, for a year."""
    path = tmp_path / "scheduler.log"
    with path.open("ab", buffering=0) as of_process:
        of_process.write(b"a line of before\n" * 100)
        rotate([tmp_path], most_bytes=1_000)
        of_process.write(b"a line of after\n")

    assert path.read_bytes() == b"a line of after\n"
    assert (tmp_path / "scheduler.old.log").read_bytes().endswith(b"a line of before\n")


def test_a_year_of_lines_leaves_two_bounded_files(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as of_process:
        for _ in range(50):
            of_process.write(b"x" * 900)
            rotate([path], most_bytes=1_000)

    assert size_of([path]) <= 2 * (1_000 + 900)
    assert {file.name for file in tmp_path.iterdir()} == {"log", "log.old.log"}


def test_what_is_kept_of_gigabytes_is_their_end(tmp_path: Path) -> None:
    path = tmp_path / "triggerer.log"
    path.write_bytes(b"0" * 10_000 + b"the reason")

    freed = rotate([tmp_path], most_bytes=1_000)

    kept = (tmp_path / "triggerer.old.log").read_bytes()
    assert (len(kept), kept[-10:], freed) == (1_000, b"the reason", 9_010)


def test_a_log_without_room_for_its_copy_is_emptied_all_the_same(tmp_path: Path) -> None:
    """A full disk is the moment at which a log must not grow."""
    path = tmp_path / "sandbox.log"
    path.write_bytes(b"x" * 2_000)
    (tmp_path / "sandbox.old.log").mkdir()

    rotate([tmp_path], most_bytes=1_000)

    assert path.stat().st_size == 0


def test_the_alert_sender_rotates_in_a_thread_until_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_logs, "_LOOK_EVERY_S", 0.01)
    path, over = tmp_path / "api-server.log", threading.Event()
    path.write_bytes(b"x" * (process_logs.MOST_BYTES + 1))

    thread = process_logs.keep_bounded([tmp_path], over)
    eventually(lambda: path.stat().st_size, 0)
    over.set()

    thread.join(60)
    assert not thread.is_alive()
