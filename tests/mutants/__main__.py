"""./hub test --mutants: change the files that hold promises, one place at a time, and see whether a test fails."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.mutants.modules import MODULES, Module
from tests.mutants.run import Equivalent, Outcome, Score, TestsFail, Tree, equivalents, score

_PROJECT = Path(__file__).parents[2]
_EQUIVALENT = Path(__file__).with_name("equivalent.toml")
#: Mutants of each module that one run draws. All of them would take a day.
_NUMBER = 16
#: As many test runs at once as the smallest machine has cores.
_AT_ONCE = 2
#: Of the mutants of each module that are not listed as equivalent.
_WANTED = 0.9


def main(arguments: Sequence[str]) -> int:
    """Run, and return the exit code: 1 when too many mutants survive, or when tests fail without one."""
    parser = argparse.ArgumentParser(prog="./hub test --mutants", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"one or more of: {', '.join(MODULES)}")
    parser.add_argument("--number", type=int, default=_NUMBER, help="mutants of each module (default: %(default)s)")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="test runs at once (default: %(default)s)")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.modules if name not in MODULES]
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)} (choose from {', '.join(MODULES)})")
    names = options.modules or list(MODULES)
    modules = {name: MODULES[name] for name in names}
    return run(_PROJECT, modules, equivalents(_EQUIVALENT), number=options.number, at_once=options.at_once)


def run(
    project: Path, modules: dict[str, Module], known: Sequence[Equivalent], *, number: int, at_once: int = _AT_ONCE
) -> int:
    """Draw *number* mutants of each of *modules*, run them, print what became of them, and return the exit code."""
    scores: list[Score] = []
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        trees = [Tree(project, Path(folder) / str(n)) for n in range(at_once)]
        for name, module in modules.items():
            try:
                scores.append(score(name, module, trees, number=number, known=known, say=_say))
            except TestsFail as error:
                failed.append(name)
                _say(f"✗ {error}")
    for line in report(scores):
        _say(line)
    if failed:
        _say(f"✗ The tests of these modules say nothing: {', '.join(failed)}")
    if found := weak(scores):
        _say(f"✗ Fewer than {_WANTED:.0%} of the mutants of these modules were killed: {', '.join(found)}")
    return 1 if failed or found else 0


def report(scores: Sequence[Score]) -> list[str]:
    """Write the survivors, each with its difference, and the table of the modules."""
    lines = []
    for survivor in [mutant for one in scores for mutant in one.survivors]:
        lines += ["", f"{survivor.place} survived:", survivor.diff]
    lines += ["", f"{'module':<16}{'killed':>8}{'survived':>10}{'equivalent':>12}{'mutants':>9}{'minutes':>9}"]
    for one in scores:
        counts = [one.count(outcome) for outcome in (Outcome.KILLED, Outcome.SURVIVED, Outcome.EQUIVALENT)]
        lines.append(f"{one.module:<16}{counts[0]:>8}{counts[1]:>10}{counts[2]:>12}{one.of:>9}{one.seconds / 60:>9.1f}")
    lines.append(
        f"{share(scores):.1%} of the mutants that are not equivalent were killed; wanted: {_WANTED:.0%} in each module."
    )
    return lines


def weak(scores: Sequence[Score]) -> list[str]:
    """Name the modules whose tests notice too little, each by itself."""
    return [one.module for one in scores if share([one]) < _WANTED]


def share(scores: Sequence[Score]) -> float:
    """Calculate how many of the mutants that are not equivalent were killed; 1 where there was none."""
    killed = sum(one.count(Outcome.KILLED) for one in scores)
    survived = sum(one.count(Outcome.SURVIVED) for one in scores)
    return killed / (killed + survived) if killed + survived else 1.0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
