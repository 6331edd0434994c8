"""Which tests of a module are run first against a mutant: those that enter the function it is in, the quickest first."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.mutants.mutations import Mutant

_Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Touch:
    """What one test enters, and how long it takes."""

    test: str
    seconds: float
    #: Files, and the lines on which functions begin in them.
    entered: frozenset[tuple[str, int]]


@dataclass
class Order:
    """The order for each mutant. All tests are run against a mutant that survives: a child process is not looked into."""

    folder: Path
    touches: Sequence[Touch]
    #: Of the module's files, by their paths in *folder*, without a mutation.
    texts: Mapping[str, str]
    _kills: Counter[str] = field(default_factory=Counter)

    def of(self, mutant: Mutant) -> list[str]:
        """List every test: those that enter the mutant's function first; of these, what killed most, then the quickest."""
        path = str(self.folder / mutant.path)
        near = {(path, line) for line in functions_of(self.texts[mutant.path], mutant.line)}
        return [
            touch.test
            for touch in sorted(
                self.touches, key=lambda one: (not near & one.entered, -self._kills[one.test], one.seconds)
            )
        ]

    def note(self, killers: Iterable[str]) -> None:
        self._kills.update(killers)


def read_touches(notes: Path) -> list[Touch]:
    """Read what the plugin `touches` has written."""
    return [
        Touch(one["test"], one["seconds"], frozenset((file, line) for file, line in one["entered"]))
        for one in json.loads(notes.read_text())
    ]


def functions_of(text: str, line: int) -> set[int]:
    """Find where the functions begin that contain *line*; for a constant, those that read it."""
    tree = ast.parse(text)
    within = [one for one in ast.walk(tree) if isinstance(one, _Function) and _begin(one) <= line <= _end(one)]
    if within:
        return {max(_begin(one) for one in within)}
    statement = next((one for one in tree.body if _begin(one) <= line <= _end(one)), None)
    if isinstance(statement, ast.ClassDef):
        return {_begin(one) for one in ast.walk(statement) if isinstance(one, _Function)}
    names = set(_assigned(statement)) if statement else set()
    return set(_readers(tree, names))


def _readers(tree: ast.Module, names: set[str]) -> Iterator[int]:
    """Find the functions that read *names*, also by way of other constants."""
    known: set[str] = set()
    while names - known:
        known |= names
        for statement in tree.body:
            if assigned := set(_assigned(statement)):
                names |= assigned if known & _read(statement) else set()
    for node in ast.walk(tree):
        if isinstance(node, _Function) and known & _read(node):
            yield _begin(node)


def _assigned(statement: ast.stmt) -> Iterator[str]:
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    for target in targets:
        if isinstance(target, ast.Name):
            yield target.id


def _read(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def _begin(node: ast.stmt) -> int:
    return min([node.lineno, *(one.lineno for one in getattr(node, "decorator_list", []))])


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno
