"""./hub test: every check, the same on a laptop and in CI, in three tiers, each of which contains the one before."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET

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
#: Two at a time; tests that share a server stay together, so that it is started once.
_TWO = ("-n", "2", "--dist", "loadgroup")
#: Tier → the phases of pytest in it. The whole stack is one for all of its tests, so these run one after the other.
_TIERS = {
    "quick": {"tests": [*_TWO, "-m", "not e2e and not crash and not deep"]},
    "gate": {"tests": [*_TWO, "-m", "not e2e and not deep"], "stack": ["-m", "e2e and not deep"]},
    "deep": {"tests": [*_TWO, "-m", "not e2e", "--hypothesis-profile=deep"], "stack": ["-m", "e2e"]},
}
_LEFT_OUT = {
    "quick": "Not in --quick: the whole stack, killed processes, and what --deep has.",
    "gate": "Not in the gate: what --deep has.",
    "deep": "",
}
#: Begins the reason of a test that is skipped because this machine lacks a program.
_NEEDS = "needs "


def test(
    context: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the whole stack and the killed processes.")] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Add the long tests: many examples, programs of others.")
    ] = False,
    mutants: Annotated[
        bool, typer.Option("--mutants", help="Change the files that hold promises, and see whether a test fails.")
    ] = False,
) -> None:
    """
    Check lint, format, import contracts and types, and run the tests. Extra arguments are passed to pytest.

    Example: ./hub test tests/cli/test_sync.py
    """
    if quick + deep + mutants > 1:
        raise typer.BadParameter("--quick, --deep and --mutants exclude each other")
    if mutants:
        if not _passes("mutants", ["python", "-m", "tests.mutants", *context.args]):
            raise typer.Exit(Exit.FAILED)
        return
    tier = "quick" if quick else "deep" if deep else "gate"
    started_at = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        phases = _phases(context.args, tier, Path(folder))
        failed = [name for name, command in phases.items() if not _passes(name, command)]
        reports = list(Path(folder).glob("*.xml"))
        skipped = _skipped(reports)
    lacking = [reason for reason in skipped if reason.startswith(_NEEDS)]
    if lacking and os.environ.get("CI") == "true":
        failed.append(f"tests that CI must not leave out ({'; '.join(lacking)})")
    _show_result("tests" if context.args else tier, time.monotonic() - started_at, failed)
    # A person who names another report, and a pytest that was killed, leave none.
    if reports:
        console.say(_skipped_sentence(skipped, "" if context.args else _LEFT_OUT[tier]))
    if failed:
        raise typer.Exit(Exit.FAILED)


def _phases(words: list[str], tier: str, folder: Path) -> dict[str, list[str]]:
    """Name → command of each phase, in order. Each pytest writes what became of its tests into *folder*."""
    if words:
        return {"tests": ["pytest", f"--junitxml={folder}/tests.xml", *words]}
    tests = {
        name: ["pytest", "-q", "--durations=10", f"--junitxml={folder}/{name}.xml", *more]
        for name, more in _TIERS[tier].items()
    }
    return {**_STATIC, **tests}


def _passes(name: str, command: list[str]) -> bool:
    started_at = time.monotonic()
    console.say(f"── {name}: {' '.join(command)}")
    tool = Path(sys.executable).parent / command[0]
    environment = {**os.environ, "AIRFLOW__CORE__UNIT_TEST_MODE": "False"}
    ended = subprocess.run([str(tool), *command[1:]], cwd=project(), env=environment, check=False)
    (console.success if ended.returncode == 0 else console.error)(
        f"{name} {'holds' if ended.returncode == 0 else 'fails'} ({time.monotonic() - started_at:.0f} s)"
    )
    return ended.returncode == 0


def _skipped(reports: list[Path]) -> Counter[str]:
    """How many tests were skipped, by reason, as pytest wrote it down."""
    reasons: Counter[str] = Counter()
    for path in reports:
        for case in ET.parse(path).iter("skipped"):  # noqa: S314  pytest wrote it a moment ago
            reasons[case.get("message") or "no reason given"] += 1
    return reasons


def _show_result(what: str, seconds: float, failed: list[str]) -> None:
    took = f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if failed:
        console.error(f"{what}: failed after {took}: {', '.join(failed)}")
    else:
        console.success(f"{what}: all checks passed ({took}).")


def _skipped_sentence(skipped: Counter[str], beside: str) -> str:
    """Write the last line: how many tests were skipped and why, and what the tier leaves out."""
    listed = "; ".join(f"{count}: {reason}" for reason, count in skipped.most_common())
    return " ".join(filter(None, [f"Skipped: {skipped.total()} ({listed})." if skipped else "Skipped: none.", beside]))
