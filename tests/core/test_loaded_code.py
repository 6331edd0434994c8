"""A process learns that the code that it has loaded is older than its files, and loads it anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crossdock.core import loaded_code

PACKAGE = "acme_code"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of two modules, one of which imports the other."""
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").write_text("import time\nLOADED_AT = time.time()\n")
    (folder / "stock.py").write_text("LEAST = 1\n")
    (folder / "worker.py").write_text(f"from {PACKAGE}.stock import LEAST\n")
    # The time of the last change of an inode cannot be set: let it be over.
    time.sleep(0.05)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    __import__(f"{PACKAGE}.worker")
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_code_that_has_not_changed_is_not_loaded_again(package: Path) -> None:
    del package
    before = sys.modules[f"{PACKAGE}.worker"]

    assert loaded_code.fresh(f"{PACKAGE}.worker", package=PACKAGE) is before


def test_changed_code_is_loaded_with_all_that_it_imports(package: Path) -> None:
    """The module that imports the changed one has the old value too."""
    (package / "stock.py").write_text("LEAST = 22\n")

    assert loaded_code.fresh(f"{PACKAGE}.worker", package=PACKAGE).LEAST == 22


def test_a_file_that_is_replaced_by_an_older_one_has_changed(package: Path) -> None:
    """As by an archive, or by `git stash`: the time of its content is long ago."""
    other = package.parent / "other.py"
    other.write_text("LEAST = 333\n")
    os.utime(other, (1, 1))
    other.replace(package / "stock.py")

    assert loaded_code.fresh(f"{PACKAGE}.worker", package=PACKAGE).LEAST == 333


def test_the_changed_files_are_named(package: Path) -> None:
    before = loaded_code.stamps(PACKAGE)
    (package / "stock.py").write_text("LEAST = 4444\n")
    (package / "worker.py").unlink()

    assert loaded_code.changed(before, loaded_code.stamps(PACKAGE)) == [package / "stock.py", package / "worker.py"]


def test_a_file_that_was_written_while_it_was_loaded_counts_as_changed(package: Path) -> None:
    (package / "stock.py").write_text("LEAST = 1 \n")
    began = loaded_code.stamps_at_loading(PACKAGE)

    assert loaded_code.changed(began, loaded_code.stamps(PACKAGE)) == [package / "stock.py"]


_FORKED = """
import os, sys, time
from crossdock.core import loaded_code
from crossdock.app.subscribers import subscribers
time.sleep(0.05)
path = sys.modules["crossdock.app.subscribers"].__file__
text = open(path).read()
open(path, "w").write(text.replace('"availability": Subscriber', '"renamed": Subscriber'))
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
worker = loaded_code.fresh("crossdock.app.airflow.delivery_worker")
print(sorted(worker.subscribers(worker.services())), flush=True)
os._exit(0)
"""


def test_a_task_that_is_forked_from_a_process_with_old_subscribers_has_the_new_ones(tmp_path: Path) -> None:
    """Airflow's scheduler loads them with the plugin, and forks every task from there until it is restarted."""
    original = Path(loaded_code.__file__).parents[1]
    shutil.copytree(original, tmp_path / "crossdock", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}

    ended = subprocess.run(
        [sys.executable, "-c", _FORKED], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stderr
    assert "'renamed'" in ended.stdout
