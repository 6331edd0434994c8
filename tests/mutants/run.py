"""Run the tests of a module against its mutants, each in a copy of the tree, and say which survive."""

from __future__ import annotations

import importlib.util
import os
import queue
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from tests.mutants.modules import Module
from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.order import Order, Touch, read_touches
from tests.mutants.touches import NOTES, WATCHED

#: Where pytest finds our plugin. A tree of other tests has none.
_PLUGINS = Path(__file__).parent
_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
#: A mutant that makes tests wait is killed by waiting: this many times as long as they take, and a little more.
_TIMES_AS_LONG, _MORE_S = 3, 60.0
_PYTEST = (
    *("-q", "-x", "--tb=line", "-p", "no:cacheprovider", "-p", "pytest_timeout"),
    *("-m", "not e2e and not crash and not deep"),
)
#: The line of a test that failed, at the end of what pytest prints.
_FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_TESTS_FAILED, _INTERRUPTED = 1, 2


class Outcome(StrEnum):
    KILLED = "killed"
    SURVIVED = "survived"
    #: Listed in equivalent.toml; not run.
    EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Equivalent:
    """A mutant that breaks no promise, and why."""

    file: str
    #: Its lines with - and +, stripped, as a survivor is shown.
    diff: tuple[str, ...]
    reason: str


@dataclass
class Score:
    """What became of the mutants of a module."""

    module: str
    #: How many mutants there are, of which some were drawn.
    of: int = 0
    outcomes: list[tuple[Mutant, Outcome]] = field(default_factory=list)
    seconds: float = 0.0

    def count(self, outcome: Outcome) -> int:
        return sum(one is outcome for _, one in self.outcomes)

    @property
    def survivors(self) -> list[Mutant]:
        return [mutant for mutant, outcome in self.outcomes if outcome is Outcome.SURVIVED]


class TestsFail(Exception):
    """The tests of a module fail without any mutation, so that they say nothing."""


class Tree:
    """A copy of the project in which one file at a time is changed. The checkout itself is never touched."""

    def __init__(self, project: Path, folder: Path) -> None:
        self.folder = folder / "project"
        self._temporary = folder / "tmp"
        shutil.copytree(project, self.folder, ignore=_NOT_COPIED)

    def touches(self, module: Module) -> list[Touch]:
        """
        Run the module's tests, which must pass, and note which functions of its files each of them enters.

        Raises:
            TestsFail: They fail without a mutation, or do not run at all.

        """
        notes = self.folder.parent / "touches.json"
        watched = os.pathsep.join(str(self.folder / file) for file in module.files)
        path = os.pathsep.join([self._environment()["PYTHONPATH"], str(_PLUGINS)])
        more = {WATCHED: watched, NOTES: str(notes), "PYTHONPATH": path}
        code, printed = self.run_tests(["-p", "touches", *module.tests], None, more)
        if code != 0:
            raise TestsFail(f"the tests do not pass without a mutation:\n{printed[-2000:]}")
        return read_touches(notes)

    def run_tests(
        self, tests: Sequence[str], timeout_s: float | None, more: Mapping[str, str] | None = None
    ) -> tuple[int | None, str]:
        """
        Run *tests* until the first fails; return pytest's exit code, None when they hang, and what it printed.

        *more* is added to the environment.
        """
        self._temporary.mkdir(exist_ok=True)
        with (self.folder.parent / "output").open("w+") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "pytest", *_PYTEST, f"--basetemp={self._temporary}/pytest", *tests],
                cwd=self.folder,
                env={**self._environment(), **(more or {})},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                code = child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                code = None
            finally:
                _end(child)
            output.seek(0)
            printed = output.read()
        shutil.rmtree(self._temporary, ignore_errors=True)
        return code, printed

    def _environment(self) -> dict[str, str]:
        # Before the folder of the editable install, which is the checkout's.
        path = os.pathsep.join([str(self.folder / "include"), str(self.folder)])
        folders = {"PYTHONPATH": path, "HUB_PROJECT": str(self.folder), "TMPDIR": str(self._temporary)}
        # Importing plugins that these tests do not use is half of what it takes to kill a mutant.
        return {**os.environ, **folders, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        path = self.folder / mutant.path
        text = path.read_text()
        try:
            _write(path, mutant.applied_to(text))
            yield
        finally:
            _write(path, text)


def _write(path: Path, text: str) -> None:
    """Write *path* and forget what it was compiled to: it may be as long as before, and written in the same second."""
    path.write_text(text)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def _end(child: subprocess.Popen[bytes]) -> None:
    """End pytest, if it hangs, and every process that it started: a PostgreSQL server among them."""
    if child.poll() is not None:
        return
    started = psutil.Process(child.pid).children(recursive=True)
    child.kill()
    child.wait()
    for process in started:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def mutants(project: Path, module: Module) -> list[Mutant]:
    """List all mutants of the module."""
    return [mutant for file, text in _texts(project, module).items() for mutant in mutants_of(file, text)]


def _texts(project: Path, module: Module) -> dict[str, str]:
    return {file: (project / file).read_text() for file in module.files}


def drawn(found: Sequence[Mutant], number: int) -> list[Mutant]:
    """Draw *number* of the mutants, the same in every run, in the order of their lines."""
    chosen = sorted(found, key=lambda mutant: mutant.lot)[:number]
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.line))


def equivalents(path: Path) -> list[Equivalent]:
    """Read the list of mutants that break no promise."""
    listed = tomllib.loads(path.read_text()).get("equivalent", [])
    return [Equivalent(one["file"], tuple(_stripped(one["diff"])), one["reason"]) for one in listed]


def is_equivalent(mutant: Mutant, known: Sequence[Equivalent]) -> bool:
    return any(one.file == mutant.path and list(one.diff) == _stripped(mutant.diff) for one in known)


def _stripped(diff: str) -> list[str]:
    return [line[0] + " ".join(line[1:].split()) for line in diff.strip().splitlines()]


def score(
    name: str,
    module: Module,
    trees: Sequence[Tree],
    *,
    number: int,
    known: Sequence[Equivalent],
    say: Callable[[str], None],
) -> Score:
    """
    Run the tests of *module* against *number* of its mutants, as many at once as there are *trees*.

    Raises:
        TestsFail: they fail without a mutation, or do not run at all.

    """
    began = time.monotonic()
    try:
        order = Order(trees[0].folder, trees[0].touches(module), _texts(trees[0].folder, module))
    except TestsFail as error:
        raise TestsFail(f"{name}: {error}") from error
    timeout_s = _MORE_S + _TIMES_AS_LONG * (time.monotonic() - began)
    found = mutants(trees[0].folder, module)
    result = Score(name, of=len(found))
    free: queue.SimpleQueue[Tree] = queue.SimpleQueue()
    for tree in trees:
        free.put(tree)

    def outcome_of(mutant: Mutant) -> Outcome:
        if is_equivalent(mutant, known):
            return Outcome.EQUIVALENT
        tree = free.get()
        try:
            with tree.mutated(mutant):
                code, printed = tree.run_tests(order.of(mutant), timeout_s)
        finally:
            free.put(tree)
        if code not in {None, 0, _TESTS_FAILED, _INTERRUPTED}:
            raise TestsFail(f"{mutant.place}: pytest ended with {code}:\n{printed[-2000:]}")
        order.note(_FAILED.findall(printed))
        return Outcome.SURVIVED if code == 0 else Outcome.KILLED

    chosen = drawn(found, number)
    with ThreadPoolExecutor(len(trees)) as pool:
        for mutant, outcome in zip(chosen, pool.map(outcome_of, chosen), strict=True):
            result.outcomes.append((mutant, outcome))
            say(f"{name} {len(result.outcomes)}/{len(chosen)}: {mutant.place} {outcome}")
    result.seconds = time.monotonic() - began
    return result
