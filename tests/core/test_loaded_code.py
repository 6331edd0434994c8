"""A process learns that the code that it has loaded is older than its files, and loads it anew."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crossdock.app import definitions
from crossdock.connectors.commercetools import KIND
from crossdock.core import loaded_code
from tests.streams import define_shop

PACKAGE = "acme_code"
DAG_FILE = Path(__file__).parents[2] / "dags" / "deliver_events.py"


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


def refreshed() -> Any:
    loaded_code.refresh(f"{PACKAGE}.worker", package=PACKAGE)
    return sys.modules[f"{PACKAGE}.worker"]


def test_code_that_has_not_changed_is_not_loaded_again(package: Path) -> None:
    del package
    before = sys.modules[f"{PACKAGE}.worker"]

    assert refreshed() is before


def test_changed_code_is_loaded_with_all_that_it_imports(package: Path) -> None:
    """The module that imports the changed one has the old value too."""
    (package / "stock.py").write_text("LEAST = 22\n")

    assert refreshed().LEAST == 22


def test_a_file_that_is_replaced_by_an_older_one_has_changed(package: Path) -> None:
    """As by an archive, or by `git stash`: the time of its content is long ago."""
    other = package.parent / "other.py"
    other.write_text("LEAST = 333\n")
    os.utime(other, (1, 1))
    other.replace(package / "stock.py")

    assert refreshed().LEAST == 333


def test_the_changed_files_are_named(package: Path) -> None:
    before = loaded_code.stamps(PACKAGE)
    (package / "stock.py").write_text("LEAST = 4444\n")
    (package / "worker.py").unlink()

    assert loaded_code.changed(before, loaded_code.stamps(PACKAGE)) == [package / "stock.py", package / "worker.py"]


def test_a_file_that_was_written_while_it_was_loaded_counts_as_changed(package: Path) -> None:
    (package / "stock.py").write_text("LEAST = 1 \n")
    began = loaded_code.stamps_at_loading(PACKAGE)

    assert loaded_code.changed(began, loaded_code.stamps(PACKAGE)) == [package / "stock.py"]


def test_a_file_that_is_edited_before_it_is_loaded_has_not_changed(package: Path) -> None:
    """Only the worker loads it, and the process that it is forked from is weeks old: it ended for ever, every few seconds."""
    (package / "prices.py").write_text("PRICE = 1\n")
    time.sleep(0.05)
    loaded_code.refresh(f"{PACKAGE}.prices", package=PACKAGE)

    began = loaded_code.stamps_at_loading(PACKAGE)

    assert package / "prices.py" in began
    assert loaded_code.changed(began, loaded_code.stamps(PACKAGE)) == []


def test_changed_code_is_as_old_as_its_loading(package: Path) -> None:
    (package / "stock.py").write_text("LEAST = 22\n")
    time.sleep(0.05)
    refreshed()

    assert loaded_code.changed(loaded_code.stamps_at_loading(PACKAGE), loaded_code.stamps(PACKAGE)) == []


def test_code_that_says_not_when_it_was_loaded_is_loaded_anew(package: Path) -> None:
    """That of the version before this one, in a process that was not restarted."""
    before = sys.modules[f"{PACKAGE}.worker"]
    del vars(sys.modules[PACKAGE])["LOADED_AT"]

    assert refreshed() is not before
    assert package / "worker.py" in loaded_code.stamps_on_disk(PACKAGE)


def test_code_that_cannot_be_loaded_leaves_the_old_one(package: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half of an edit stopped all delivery as soon as the lifetime of a worker was over."""
    before = {name: module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE}
    (package / "stock.py").write_text("LEAST = (\n")

    assert refreshed() is before[f"{PACKAGE}.worker"]
    assert {name: module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE} == before
    assert "SyntaxError" in caplog.text
    assert loaded_code.changed(loaded_code.stamps_at_loading(PACKAGE), loaded_code.stamps(PACKAGE)) == [
        package / "stock.py"
    ], "the correction is still noticed"


def test_code_that_was_never_loaded_and_cannot_be_is_an_error(package: Path) -> None:
    (package / "stock.py").write_text("LEAST = 22\n")
    (package / "prices.py").write_text("PRICE = (\n")

    with pytest.raises(SyntaxError):
        loaded_code.refresh(f"{PACKAGE}.prices", package=PACKAGE)


_FORKED = """
import os, runpy, sys, time
import crossdock.app.airflow.task_failures, crossdock.core.errors
from crossdock.app.subscribers import subscribers
time.sleep(0.05)
path = sys.modules["crossdock.app.subscribers"].__file__
text = open(path).read()
open(path, "w").write(text.replace('"availability": Subscriber', sys.argv[2]))
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "deliver_events"
from airflow.sdk import DAG
dag = runpy.run_path(sys.argv[1])["deliver_events"]
from crossdock.app.airflow import delivery_worker as worker, task_failures
from crossdock.core.errors import Terminal
print(sorted(worker.subscribers(worker.services())), flush=True)
failed = task_failures.TaskFailed(Terminal("as before"))
print(dag.task_dict["deliver"].retry_policy.evaluate(failed, 1, 10).action, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    ("written", "known"), [('"renamed": Subscriber', "'renamed'"), ('"renamed: Subscriber', "'availability'")]
)
def test_a_task_forked_from_a_process_with_old_subscribers_has_the_new_ones_if_they_can_be_loaded(
    tmp_path: Path, written: str, known: str
) -> None:
    """Airflow's scheduler loads them with the plugin, and forks every task from there until it is restarted."""
    original = Path(loaded_code.__file__).parents[1]
    shutil.copytree(original, tmp_path / "crossdock", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}

    ended = subprocess.run(
        [sys.executable, "-c", _FORKED, str(DAG_FILE), written],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert known in ended.stdout
    assert "FAIL" in ended.stdout, "its retry policy knows the errors that it raises"


_FORKED_SYNC = """
import os, runpy, sys, time
import crossdock.app.airflow.stream_dags as old
time.sleep(0.05)
text = open(old.__file__).read()
open(old.__file__, "w").write(text.replace('title="Full"', 'title="Everything"'))
pid = os.fork()
if pid:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = "sync_commercetools_inventory"
dag = runpy.run_path(sys.argv[1])["sync_commercetools_inventory"]
print(dag.params.get_param("full").schema["title"], flush=True)
os._exit(0)
"""


def test_a_task_of_a_sync_forked_from_a_process_with_old_code_has_the_new_one(tmp_path: Path) -> None:
    """A rule that somebody corrected counted from the next start of the scheduler on."""
    original = Path(loaded_code.__file__).parents[1]
    shutil.copytree(original, tmp_path / "crossdock", ignore=shutil.ignore_patterns("__pycache__"))
    url = define_shop(tmp_path / "definitions")
    file = DAG_FILE.with_name(f"streams_{definitions.file_of(KIND)}.py")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}

    ended = subprocess.run(
        [sys.executable, "-c", _FORKED_SYNC, str(file)],
        env={**environment, "HUB_DEFINITIONS_URL": url},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip().endswith("Everything")
