"""The bootstrap script, in a copy of the project with nothing to install."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[2]
ANSWER = "import os, sys; print(sys.argv[1:], os.getcwd(), os.environ['HUB_PROJECT'], sys.executable, sep='|')"


#: A package that builds without any other: its backend lies beside it.
PYPROJECT = """
[project]
name = "crossdock"
version = "1"
[build-system]
requires = []
build-backend = "builder"
backend-path = ["."]
"""
#: PEP 660 by hand: an editable wheel is a zip of one line with a path, and three lines about the package.
BUILDER = """
import os, zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, about = "crossdock-1-py3-none-any.whl", "crossdock-1.dist-info"
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        wheel.writestr("_crossdock.pth", os.path.join(os.getcwd(), "include"))
        wheel.writestr(about + "/METADATA", "Metadata-Version: 2.1\\nName: crossdock\\nVersion: 1\\n")
        wheel.writestr(about + "/WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(about + "/RECORD", "")
    return name
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A project in a path with a space and a letter that is not ASCII, whose lock files list no package."""
    root = tmp_path / "mein Händler"
    cli = root / "include" / "crossdock" / "cli"
    cli.mkdir(parents=True)
    for package in (cli.parent, cli):
        (package / "__init__.py").touch()
    (cli / "__main__.py").write_text(ANSWER)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "builder.py").write_text(BUILDER)
    (root / "requirements.lock").write_text("# nothing\n")
    (root / "requirements-dev.lock").write_text("# nothing, for tests\n")
    shutil.copy(PROJECT / "hub", root / "hub")
    return root


def hub(script: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments], capture_output=True, text=True, check=False, timeout=600, **options
    )


def test_the_first_start_makes_the_venv_and_the_second_does_not(copy: Path) -> None:
    first, second = hub(copy / "hub", "status"), hub(copy / "hub", "status")

    assert "making .venv" in first.stderr
    assert second.stderr == ""
    assert first.stdout == second.stdout
    assert second.stdout.startswith("['status']|")


def test_the_project_is_found_from_anywhere(copy: Path, tmp_path: Path) -> None:
    """People link the command into their own bin folder, and stand in folders that also have a `crossdock`."""
    other = tmp_path / "other"
    (other / "crossdock").mkdir(parents=True)
    (other / "crossdock" / "__init__.py").write_text("raise RuntimeError('not this one')")
    (other / "h").symlink_to(copy / "hub")

    fields = hub(other / "h", "up", cwd=other).stdout.strip().split("|")

    assert fields == ["['up']", str(other), str(copy), str(copy / ".venv" / "bin" / "python")]


def test_a_closed_umask_an_empty_environment_and_a_proxy_that_leads_nowhere_are_no_hindrance(
    copy: Path, tmp_path: Path
) -> None:
    """Nothing has to be fetched here: uv is on the PATH."""
    proxies = dict.fromkeys(("http_proxy", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.defpath}", "HOME": str(tmp_path), **proxies}

    ended = [hub(copy / "hub", "up", umask=0o077, env=environment) for _ in range(2)]

    assert [each.returncode for each in ended] == [0, 0], ended[0].stderr
    assert ended[1].stderr == ""
    assert ended[1].stdout.startswith("['up']|")


def test_a_changed_lock_installs_again(copy: Path) -> None:
    hub(copy / "hub")
    (copy / "requirements.lock").write_text("# nothing else\n")

    assert "installing 0 packages from requirements.lock" in hub(copy / "hub").stderr
    assert hub(copy / "hub").stderr == ""


def test_tests_want_the_development_lock_and_it_is_enough_for_all(copy: Path) -> None:
    """Going to and fro between `./hub test` and `./hub up` must not install each time."""
    hub(copy / "hub", "up")

    assert "requirements-dev.lock" in hub(copy / "hub", "test").stderr
    assert hub(copy / "hub", "up").stderr == ""
    assert hub(copy / "hub", "--json", "test").stderr == ""


def test_a_command_that_writes_code_wants_the_development_lock(copy: Path) -> None:
    """What it writes is formatted by the same formatter that checks it."""
    assert "requirements-dev.lock" in hub(copy / "hub", "new", "connector", "acme_shop").stderr


@pytest.mark.crash
def test_a_half_made_venv_is_repaired(copy: Path) -> None:
    """The stamp is written last, so an interrupted installation is continued."""
    hub(copy / "hub")
    (copy / ".venv" / "hub-stamp").unlink()
    (copy / ".venv" / "bin" / "python").unlink()
    (copy / ".venv" / "bin" / "python").symlink_to("/nowhere/python3")

    repaired = hub(copy / "hub", "status")

    assert "does not work; making it again" in repaired.stderr
    assert repaired.stdout.startswith("['status']|")


def test_two_first_starts_at_once_make_one_venv(copy: Path) -> None:
    both = [
        subprocess.Popen([sys.executable, str(copy / "hub")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [each.communicate(timeout=600) for each in both]

    assert [each.returncode for each in both] == [0, 0]
    assert sum("making .venv" in stderr for _, stderr in outputs) == 1


def test_a_failed_install_says_what_to_do(copy: Path) -> None:
    """No network is the commonest reason; a stack trace of an installer does not say so."""
    (copy / "requirements.lock").write_text("no-such-package-at-all==1.0 --hash=sha256:" + "0" * 64 + "\n")
    nowhere = {"UV_DEFAULT_INDEX": "http://127.0.0.1:1/", "PIP_INDEX_URL": "http://127.0.0.1:1/", "UV_OFFLINE": "0"}
    quick = {"UV_HTTP_RETRIES": "0", "PIP_RETRIES": "0", "UV_EXTRA_INDEX_URL": "", "PIP_EXTRA_INDEX_URL": ""}

    failed = hub(copy / "hub", env={**os.environ, **nowhere, **quick})

    assert failed.returncode == 1
    assert "run ./hub again" in failed.stderr
    assert not (copy / ".venv" / "hub-stamp").exists()


@pytest.fixture
def script() -> ModuleType:
    """The script as a module: its functions alone."""
    loader = SourceFileLoader("hub_script", str(PROJECT / "hub"))
    spec = importlib.util.spec_from_loader("hub_script", loader)
    assert spec
    found = importlib.util.module_from_spec(spec)
    loader.exec_module(found)
    return found


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("", ""),
        ("Using Python 3.11.2 environment at: .venv\n", ""),
        (
            "Downloading numpy (15.5MiB)\nDownloading pyarrow (40.1MiB)\nDownloading babel (9.8MiB)\n Downloaded numpy\n",
            "16 of 65 MiB of the largest packages are here",
        ),
        (
            "Downloading numpy (15.5MiB)\n Downloaded numpy\nPrepared 230 packages in 20s\n",
            "all 230 packages are here; installing",
        ),
        (
            "Prepared 230 packages in 20s\nInstalled 230 packages in 1s\n",
            "all 230 packages are installed; compiling them",
        ),
        (
            "Collecting numpy==2.1 (from -r requirements.lock)\n  Downloading numpy.whl (15.5 MB)\nCollecting babel\n",
            "2 of 230 packages",
        ),
        ("Collecting numpy\nInstalling collected packages: numpy\n", "all 230 packages are here; installing them"),
    ],
)
def test_an_installation_says_how_far_it_is(script: ModuleType, printed: str, said: str) -> None:
    found = script.progress_of(printed, 230)

    assert found.startswith(said)
    assert bool(found) == bool(said)


def test_an_installation_that_takes_long_says_so_from_time_to_time(
    script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a person sees that it goes on, and the installer's output stays whole."""
    script.LOOK_EVERY_S, script.REPORT_EVERY_S = 0.05, 0.2
    slow = "import time; print('Collecting a', flush=True); time.sleep(2); print('Collecting b'); raise SystemExit(3)"
    with pytest.raises(SystemExit):
        script.run([sys.executable, "-c", slow], "installing", progress=lambda output: script.progress_of(output, 2))
    said = capsys.readouterr().err

    assert said.count("hub: installing, ") > 1
    assert "installing, 1 s: 1 of 2 packages fetched" in said
    assert "    Collecting a\n    Collecting b\n" in said


def test_an_old_python_can_read_the_script() -> None:
    """A syntax error would be all that a person with Python 3.6 learns."""
    source = (PROJECT / "hub").read_text()

    ast.parse(source, feature_version=(3, 6))
    assert "from __future__" not in source, "unknown to 3.6"
    assert os.access(PROJECT / "hub", os.X_OK)


def test_an_old_python_without_a_newer_one_says_what_is_needed(copy: Path, tmp_path: Path) -> None:
    """Simulated: the script believes that it runs on 3.8, and PATH is empty."""
    play = "import runpy, sys; sys.version_info = (3, 8, 0); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

    ended = subprocess.run(
        [sys.executable, "-c", play, str(copy / "hub"), "up"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "needs Python 3.11 or newer; this is 3.8.0" in ended.stderr


@pytest.mark.parametrize("newest", ["python3.14", "python3.11"])
def test_an_old_python_hands_over_to_a_newer_one_that_works(copy: Path, tmp_path: Path, newest: str) -> None:
    """Pyenv puts names on PATH that only say they are not installed."""
    for name in ("python3.14", "python3.13", "python3.12", "python3.11"):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n' if name == newest else "#!/bin/sh\nexit 127\n")
        program.chmod(0o755)
    play = "import runpy, sys; sys.version_info = (3, 8, 0); sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"

    ended = subprocess.run(
        [sys.executable, "-c", play, str(copy / "hub"), "up"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.stdout.startswith("['up']|")
