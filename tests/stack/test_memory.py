"""How much memory the stack may use, and how many tasks that is enough for."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from crossdock.stack import memory

_GB = 1024**3


def _written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("ours", "files", "expected"),
    [
        (
            "0::/user.slice/run-7",
            {"user.slice/run-7/memory.max": "max\n", "user.slice/memory.max": "1073741824\n"},
            _GB,
        ),
        ("0::/", {"memory.max": "1073741824"}, _GB),
        ("0::/not/mounted/here", {"memory.max": "1073741824"}, _GB),
        ("4:cpu,memory:/hub\n0::/hub", {"memory/hub/memory.limit_in_bytes": "1073741824"}, _GB),
        ("4:cpu:/hub", {"memory/hub/memory.limit_in_bytes": "1073741824"}, None),
        ("4:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
    ],
    ids=["around", "root", "container", "version 1", "another controller", "no limit"],
)
def test_a_limit_of_the_control_group_counts(
    tmp_path: Path, ours: str, files: dict[str, str], expected: int | None
) -> None:
    (tmp_path / "ours").write_text(ours)
    groups = _written(tmp_path / "groups", files)

    assert memory.available(groups, tmp_path / "ours") == (expected or psutil.virtual_memory().total)


def test_where_there_are_no_control_groups_the_machine_counts(tmp_path: Path) -> None:
    assert memory.available(tmp_path, tmp_path / "none") == psutil.virtual_memory().total


def test_with_little_memory_fewer_tasks_run_at_once() -> None:
    """With six of them a stack in 2 GB lost its scheduler and its api-server; with four, that of Python 3.14."""
    assert [memory.tasks_at_once(bytes_) for bytes_ in (2 * _GB, 3 * _GB, 16 * _GB)] == [3, 6, 6]
