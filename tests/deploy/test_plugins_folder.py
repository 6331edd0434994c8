"""Airflow finds one module in the plugins folder: it would run any other, under a name that may be another module's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]

_LIST = """
import sys
from airflow._shared.module_loading import find_path_from_directory
print(*sorted(find_path_from_directory(sys.argv[1], ".airflowignore", "glob")), sep="\\n")
"""


def test_the_folder_holds_no_other_module() -> None:
    assert {path.name for path in (PROJECT / "plugins").rglob("*.py")} <= {"hub_plugin.py"}


def test_airflowignore_lets_only_our_plugin_file_through(tmp_path: Path) -> None:
    """Airflow's own walk over a folder with our fence: an `email.py`, at any depth, would take the place of Python's."""
    (tmp_path / ".airflowignore").write_text((PROJECT / "plugins" / ".airflowignore").read_text())
    for name in ("hub_plugin.py", "email.py", "hub/email.py", "hub/__init__.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    walked = subprocess.run([sys.executable, "-c", _LIST, str(tmp_path)], capture_output=True, text=True, check=False)
    found = {Path(line).name for line in walked.stdout.splitlines() if line.endswith(".py")}
    assert found == {"hub_plugin.py"}, walked.stderr[-800:]
