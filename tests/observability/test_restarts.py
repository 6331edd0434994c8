"""The restarts of processes: in a file, and when they are too many."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crossdock.observability.restarts import KEPT, Restart, Restarts, alarming, as_json, file_in, read

NOW = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)


def at(*minutes: float) -> list[Restart]:
    return [Restart(NOW + timedelta(minutes=each), "ended") for each in minutes]


@pytest.mark.parametrize(
    ("minutes", "number"),
    [
        ([], 0),
        ([-1, 0], 0),
        ([-2, -1, 0], 3),
        ([-10, -5, 0], 3),
        ([-11, -5, 0], 0),
        ([-18, -13, -9], 3),
        ([-12, -11, -10], 0),
        ([-30, -20, -10, 0], 0),
        ([-9, -8, -7, -6, -5], 5),
        ([-1, 0, 60], 0),
    ],
)
def test_three_restarts_within_ten_minutes_alarm_until_the_process_has_stayed_up_for_ten(
    minutes: list[float], number: int
) -> None:
    """One restart is what the supervisor is for; an alert is for a process that does not stay up."""
    assert alarming(at(*minutes), NOW) == number


def test_restarts_survive_in_their_file_and_only_the_latest_are_kept(tmp_path: Path) -> None:
    """A supervisor that was itself replaced goes on counting."""
    restarts = Restarts()
    for minute in range(KEPT + 5):
        restarts = restarts.with_one(Restart(NOW + timedelta(minutes=minute), "ended"))
    file_in(tmp_path).write_text(json.dumps(as_json({"scheduler": restarts})))

    found = read(file_in(tmp_path))["scheduler"]

    assert found == restarts
    assert (found.number, len(found.latest)) == (KEPT + 5, KEPT)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"scheduler": 3}', '{"scheduler": {"number": 1, "latest": [{"at": "x"}]}}']
)
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    """A full disk may have cut it short; alarms and `status` must not end for it."""
    file_in(tmp_path).write_text(text)

    assert read(file_in(tmp_path)) == {}
    assert read(tmp_path / "missing") == {}
