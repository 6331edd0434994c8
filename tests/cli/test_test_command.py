"""./hub test itself: what it runs, what it fails for, and its last line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from crossdock.cli import test as test_command
from tests.cli.conftest import Hub

REPORT = """<testsuites><testsuite>
<testcase name="a"><skipped type="pytest.skip" message="needs a browser, which cannot be had"/></testcase>
<testcase name="b"><skipped type="pytest.skip" message="needs a browser, which cannot be had"/></testcase>
<testcase name="c"><skipped type="pytest.skip" message="only Linux has it"/></testcase>
<testcase name="d"/>
</testsuite></testsuites>"""
NOTHING = "<testsuites><testsuite><testcase name='a'/></testsuite></testsuites>"


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[list[str]]]:
    """Every phase passes at once, and each pytest reports what is given here. Gives the commands."""
    monkeypatch.delenv("CI", raising=False)

    def reporting(report: str) -> list[list[str]]:
        commands: list[list[str]] = []

        def run(_: str, command: list[str]) -> bool:
            commands.append(command)
            for word in command:
                if word.startswith("--junitxml="):
                    Path(word.removeprefix("--junitxml=")).write_text(report)
            return True

        monkeypatch.setattr(test_command, "_passes", run)
        return commands

    return reporting


def test_the_last_line_says_what_was_skipped_and_why(
    stackless_hub: Hub, passes: Callable[[str], list[list[str]]]
) -> None:
    passes(REPORT)
    ended = stackless_hub("test", "--quick")

    assert ended.code == 0
    last = ended.err.splitlines()[-1]
    assert last.startswith(
        "Skipped: 3 (2: needs a browser, which cannot be had; 1: only Linux has it). Not in --quick:"
    )


def test_a_missing_program_fails_in_ci_alone(
    stackless_hub: Hub, passes: Callable[[str], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A developer may lack it; but a check that skips tests without a word checks nothing."""
    passes(REPORT)
    assert stackless_hub("test", "tests/cli").code == 0
    monkeypatch.setenv("CI", "true")

    ended = stackless_hub("test", "tests/cli")
    passes(NOTHING)

    assert ended.code == 1
    assert "tests that CI must not leave out (needs a browser, which cannot be had)" in ended.text
    assert stackless_hub("test", "tests/cli").code == 0


@pytest.mark.parametrize(
    ("tier", "left_out"),
    [
        (["--quick"], ["not e2e and not crash and not deep"]),
        ([], ["not e2e and not deep", "e2e and not deep"]),
        (["--deep"], ["not e2e", "e2e"]),
    ],
)
def test_each_tier_contains_the_one_before(
    stackless_hub: Hub, passes: Callable[[str], list[list[str]]], tier: list[str], left_out: list[str]
) -> None:
    commands = passes(NOTHING)
    ended = stackless_hub("test", *tier)

    tests = [command for command in commands if command[0] == "pytest"]
    assert [command[command.index("-m") + 1] for command in tests] == left_out
    assert all("--durations=10" in command for command in tests)
    assert [command[0] for command in commands[:4]] == ["ruff", "ruff", "lint-imports", "mypy"]
    assert "all checks passed" in ended.text
    assert "Skipped: none." in ended.text


def test_mutants_are_run_instead_of_the_tiers(
    stackless_hub: Hub, passes: Callable[[str], list[list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = passes(NOTHING)

    assert stackless_hub("test", "--mutants", "lease", "--number", "3").code == 0
    assert commands == [["python", "-m", "tests.mutants", "lease", "--number", "3"]]
    monkeypatch.setattr(test_command, "_passes", lambda *_: False)
    assert stackless_hub("test", "--mutants").code == 1


@pytest.mark.parametrize("other", ["--deep", "--mutants"])
def test_two_tiers_at_once_are_refused(stackless_hub: Hub, other: str) -> None:
    assert stackless_hub("test", "--quick", other).code == 2
