"""Logs of old runs go by the folder; what somebody may still need, or write, stays."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from crossdock.maintenance import task_logs

LIMIT = datetime.now(UTC) - timedelta(days=30)


def a_log(root: Path, name: str, *, days: float) -> Path:
    """Write a log, last written so many days ago, as are its folders."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a line")
    at = time.time() - days * 86_400
    for each in (path, *path.parents):
        if each.is_relative_to(root) and each != root:
            os.utime(each, (at, at))
    return path


@pytest.fixture
def logs(tmp_path: Path) -> dict[str, Path]:
    names = {
        "old": "dag_id=sync_a/run_id=old/task_id=load/attempt=1.log",
        "young": "dag_id=sync_a/run_id=young/task_id=load/attempt=1.log",
        "day": "dag_processor/2026-01-01/dags-folder/clean_up.py.log",
        "foreign": "somebody/elses/file.log",
    }
    return {key: a_log(tmp_path, name, days=1 if key == "young" else 40) for key, name in names.items()}


def test_logs_of_runs_and_days_before_the_limit_are_deleted(tmp_path: Path, logs: dict[str, Path]) -> None:
    found = task_logs.clean(tmp_path, LIMIT)

    assert {key for key, path in logs.items() if path.exists()} == {"young", "foreign"}
    assert found.folders == 2
    assert found.bytes > 0
    assert not (tmp_path / "dag_id=sync_a/run_id=old").exists()


def test_a_run_that_wrote_a_line_lately_keeps_all_its_logs(tmp_path: Path, logs: dict[str, Path]) -> None:
    """A retry of today is in the folder of a run that began before the limit."""
    retried = logs["old"].with_name("attempt=2.log")
    retried.write_text("again")

    task_logs.clean(tmp_path, LIMIT)

    assert logs["old"].exists()
    assert retried.exists()


def test_a_dry_run_counts_the_same_and_deletes_nothing(tmp_path: Path, logs: dict[str, Path]) -> None:
    counted = task_logs.clean(tmp_path, LIMIT, dry_run=True)

    assert all(path.exists() for path in logs.values())
    assert task_logs.clean(tmp_path, LIMIT) == counted


def test_a_link_is_not_followed(tmp_path: Path, logs: dict[str, Path]) -> None:
    """`dag_processor/latest` names the folder of today, and a link could name any other."""
    outside = a_log(tmp_path.parent / "outside", "file.log", days=40)
    (tmp_path / "dag_processor" / "latest").symlink_to(outside.parent)

    task_logs.clean(tmp_path, LIMIT)

    assert outside.exists()
    assert not logs["day"].exists()
