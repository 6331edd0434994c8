"""./hub test: every check, the same on a laptop and in CI."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.stack.home import project

#: Name → command. Static checks first: they are quick, and say most plainly what is wrong.
_STATIC = {
    "lint": ["ruff", "check", "."],
    "format": ["ruff", "format", "--check", "."],
    "arrows": ["lint-imports"],
    "types": ["mypy"],
}


def test(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the whole stack and the killed processes.")] = False,
) -> None:
    """Lint, format, the house's arrows, types, and the tests. More words go to pytest."""
    failed = [name for name, command in _phases(context.args, quick=quick).items() if not _passes(name, command)]
    if failed:
        console.complain(f"Failed: {', '.join(failed)}")
        raise typer.Exit(Exit.FAILED)
    console.praise("Everything holds.")


def _phases(words: list[str], *, quick: bool) -> dict[str, list[str]]:
    """Name → command of each phase, in order."""
    if words:
        return {"tests": ["pytest", *words]}
    many = ["pytest", "-q", "-n", "2", "-m", "not e2e and not crash" if quick else "not e2e"]
    # The whole stack is one for all of its tests, so these run one after the other.
    whole = {} if quick else {"stack": ["pytest", "-m", "e2e"]}
    return {**_STATIC, "tests": many, **whole}


def _passes(name: str, command: list[str]) -> bool:
    started_at = time.monotonic()
    console.say(f"── {name}: {' '.join(command)}")
    tool = Path(sys.executable).parent / command[0]
    environment = {**os.environ, "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
    ended = subprocess.run([str(tool), *command[1:]], cwd=project(), env=environment, check=False)
    (console.praise if ended.returncode == 0 else console.complain)(
        f"{name} {'holds' if ended.returncode == 0 else 'fails'} ({time.monotonic() - started_at:.0f} s)"
    )
    return ended.returncode == 0
