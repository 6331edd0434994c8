"""The runner of mutants itself: a mutant that a test notices is killed, one that no test notices is shown."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.__main__ import main, run, share, weak
from tests.mutants.modules import MODULES, Module
from tests.mutants.mutations import mutants_of
from tests.mutants.order import functions_of
from tests.mutants.run import Outcome, Score, Tree, drawn, equivalents, is_equivalent, mutants

PROJECT = Path(__file__).parents[2]
CODE = """
def is_full(litres: float) -> bool:
    return litres >= 10
"""
#: Does not notice that ten litres are no longer full.
TESTS = """
from tank import is_full

def test_a_tank_is_full_from_ten_litres_on():
    assert is_full(10.5)
    assert not is_full(9)
"""
EQUIVALENT = '''
[[equivalent]]
file = "include/tank.py"
diff = """
-    return litres >= 10
+    return litres > 10
"""
reason = "no tank is filled to the drop"
'''
TANK = {"tank": Module(("include/tank.py",), ("test_tank.py",))}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "include").mkdir(parents=True)
    (folder / "include" / "tank.py").write_text(CODE)
    (folder / "test_tank.py").write_text(TESTS)
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return folder


def test_a_mutant_that_no_test_notices_is_shown_and_fails_the_run(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = run(project, TANK, [], number=100)
    printed = capsys.readouterr().out

    assert ended == 1
    assert "include/tank.py:3 survived:\n-    return litres >= 10\n+    return litres > 10\n" in printed
    assert printed.count("survived:") == 1
    assert "66.7% of the mutants that are not equivalent were killed" in printed
    assert (project / "include" / "tank.py").read_text() == CODE


def test_each_module_must_be_tested_well_by_itself() -> None:
    """One whose promise nothing holds must not hide behind others whose tests notice all."""
    (mutant, *_) = mutants_of("tank.py", CODE)
    well = Score("well", outcomes=[(mutant, Outcome.KILLED)] * 19 + [(mutant, Outcome.EQUIVALENT)])
    enough = Score("enough", outcomes=[(mutant, Outcome.KILLED)] * 9 + [(mutant, Outcome.SURVIVED)])
    poor = Score("poor", outcomes=[(mutant, Outcome.KILLED)] * 8 + [(mutant, Outcome.SURVIVED)])

    assert share([well, enough, poor]) > 0.9
    assert weak([well, enough, poor]) == ["poor"]


def test_a_mutant_that_is_listed_as_equivalent_is_not_run(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "equivalent.toml").write_text(EQUIVALENT)
    ended = run(project, TANK, equivalents(tmp_path / "equivalent.toml"), number=100)

    assert ended == 0
    assert "100.0% of the mutants that are not equivalent were killed" in capsys.readouterr().out


def test_tests_that_fail_without_a_mutant_fail_the_run(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They would kill every mutant."""
    (project / "test_tank.py").write_text(TESTS.replace("not ", ""))

    assert run(project, TANK, [], number=100) == 1
    assert "these modules say nothing: tank" in capsys.readouterr().out


def test_statements_lose_conditions_order_and_locks() -> None:
    statement = '''_OLDEST = b"""
SELECT id FROM item WHERE state = 'open' AND shop = %(shop)s AND version < %(version)s
 ORDER BY stored_at, id LIMIT 1 FOR UPDATE
"""'''
    changed = {line for mutant in mutants_of("x.py", statement) for line in mutant.diff.splitlines() if line[0] == "+"}

    assert changed == {
        "+SELECT id FROM item WHERE state = 'open' AND shop = %(shop)s AND version <= %(version)s",
        "+SELECT id FROM item WHERE state = 'open'  AND version < %(version)s",
        "+SELECT id FROM item WHERE state = 'open' AND shop = %(shop)s ",
        "+ ORDER BY stored_at DESC, id DESC LIMIT 1 FOR UPDATE",
        "+ ORDER BY stored_at, id LIMIT 1",
    }


def test_a_change_elsewhere_in_the_file_draws_the_same_mutants() -> None:
    """Otherwise each edit would ask about other places, and a score could not be compared with the last one."""
    code = (PROJECT / "include/crossdock/db/leases.py").read_text()
    before = drawn(mutants_of("leases.py", code), 5)
    after = drawn(mutants_of("leases.py", f"{code}\n\nX = {{}}\n"), 5)

    assert [mutant.diff for mutant in before] == [mutant.diff for mutant in after]


#: Two functions of the mutated file, and a test of each. The slow one comes first, as a person wrote it.
TWO = """
def quick(litres: float) -> bool:
    return litres >= 10

def slow(litres: float) -> bool:
    return litres < 3
"""
TESTS_OF_TWO = """
import pathlib
from tank import quick, slow

def note(name):
    with pathlib.Path(__file__).with_name("ran").open("a") as ran:
        ran.write(name + " ")

def test_slow():
    note("slow")
    assert slow(2) and not slow(3)

def test_quick():
    note("quick")
    assert quick(10) and not quick(9)
"""


def test_a_test_that_enters_what_was_changed_is_run_before_the_others(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant is killed by the first test that fails: the order is what a run costs."""
    (project / "include" / "tank.py").write_text(TWO)
    (project / "test_tank.py").write_text(TESTS_OF_TWO)
    ran: list[list[str]] = []
    run_tests = Tree.run_tests

    def noted(tree: Tree, tests: Sequence[str], *more: Any) -> tuple[int | None, str]:
        ended = run_tests(tree, tests, *more)
        ran.append((tree.folder / "ran").read_text().split())
        (tree.folder / "ran").unlink()
        return ended

    monkeypatch.setattr(Tree, "run_tests", noted)

    assert run(project, TANK, [], number=100, at_once=1) == 0
    assert ran == [["slow", "quick"], *[["quick"]] * 3, *[["slow"]] * 3]


def test_a_constant_belongs_to_the_functions_that_read_it() -> None:
    """By way of other constants too: a statement is made of parts."""
    code = "A = 1\nB = A + 1\nC = 7\n\ndef one():\n    return B\n\ndef two():\n    return C\n\ndef three():\n    return A\n"

    assert functions_of(code, 1) == {5, 11}
    assert functions_of(code, 3) == {8}
    assert functions_of(code, 9) == {8}


@pytest.mark.parametrize("name", MODULES)
def test_each_module_is_where_it_is_said_to_be(name: str) -> None:
    module = MODULES[name]

    assert [test for test in module.tests if not (PROJECT / test.split("::")[0]).exists()] == []
    assert len(mutants(PROJECT, module)) > 10


def test_each_equivalent_mutant_exists_and_has_a_reason() -> None:
    """One that matches nothing any more is no longer the reason for anything."""
    listed = equivalents(PROJECT / "tests/mutants/equivalent.toml")
    known = [mutant for module in MODULES.values() for mutant in mutants(PROJECT, module)]

    assert [one for one in listed if not any(is_equivalent(mutant, [one]) for mutant in known)] == []
    assert [one for one in listed if len(one.reason.split()) < 4] == []


def test_a_module_that_is_not_there_is_refused() -> None:
    with pytest.raises(SystemExit):
        main(["no-such-module"])
