"""Files of a checkout that `./hub new` writes or changes: all are planned before the first is written."""

from __future__ import annotations

import ast
import builtins
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from string import Template

from crossdock.core.errors import BadRequest, Conflict, Terminal

#: Names become folders, modules, and parts of IDs.
_NAME = re.compile(r"[a-z][a-z0-9_]{1,30}")
#: Imports that a template has for all cases are removed where they are not used; the order depends on the names.
_TIDY = (["check", "--no-cache", "--quiet", "--fix", "--select", "F401,I"], ["format", "--no-cache", "--quiet"])


def checked_name(name: str, what: str) -> str:
    """
    Check that *name* can be a folder and a module.

    Raises:
        BadRequest: it cannot.

    """
    import keyword  # noqa: PLC0415  only here

    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise BadRequest(
            f"{name!r} cannot name {what}: 2 to 31 lower-case letters, digits and underscores are expected, beginning with "
            "a letter, such as acme_shop"
        )
    return name


def rendered(template: str, values: Mapping[str, str]) -> str:
    """Fill in the template `templates/<template>.txt`."""
    text = (files(__package__) / "templates" / f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(values)


@dataclass
class Plan:
    """What is written into a checkout."""

    root: Path
    #: Paths below the root, in the order in which they are listed.
    created: dict[str, str] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (self.root / "include/crossdock/connectors").is_dir() or not (self.root / "tests").is_dir():
            raise BadRequest(f"{self.root} is not a checkout of Crossdock: run ./hub new in one")

    def create(self, path: str, content: str) -> None:
        """
        Plan a new file.

        Raises:
            Conflict: it exists. Nothing is ever overwritten.

        """
        if (self.root / path).exists():
            raise Conflict(f"{path} exists and is not overwritten. Choose another name, or remove it first")
        self.created[path] = content

    def change(self, path: str, edit: Callable[[str], str]) -> None:
        """Plan a change of a file that exists, or that is planned; further changes of it follow one another."""
        if path in self.created:
            self.created[path] = edit(self.created[path])
        else:
            before = self.changed.get(path) or (self.root / path).read_text(encoding="utf-8")
            self.changed[path] = edit(before)

    def exists(self, path: str) -> bool:
        """Check whether *path* exists, or is planned."""
        return path in self.created or (self.root / path).exists()

    def write(self) -> None:
        """
        Write all files, and format those in Python; all of it or nothing.

        Raises:
            BadRequest: the names make no valid Python, or hide what a file uses.
            Terminal: a file could not be written or formatted.

        """
        python = [path for path in (*self.created, *self.changed) if path.endswith(".py")]
        for path in python:
            _refuse_clash(path, self.created.get(path) or self.changed[path])
        before = {path: (self.root / path).read_bytes() for path in self.changed}
        folders = {folder for path in self.created for folder in self._missing_folders(path)}
        try:
            self._write_and_format(python)
        except BaseException as error:
            self._undo(before, folders)
            if not isinstance(error, OSError | subprocess.CalledProcessError):
                raise
            said = getattr(error, "stderr", None) or str(error)
            raise Terminal(f"Nothing was written: {said.strip()}") from error

    def _write_and_format(self, python: list[str]) -> None:
        for path, content in {**self.created, **self.changed}.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(content, encoding="utf-8")
        ruff = Path(sys.executable).parent / "ruff"
        for words in _TIDY:
            subprocess.run([str(ruff), *words, *python], cwd=self.root, check=True, capture_output=True, text=True)

    def _missing_folders(self, path: str) -> Iterator[Path]:
        for folder in (self.root / path).parents:
            if folder.exists():
                return
            yield folder

    def _undo(self, before: Mapping[str, bytes], folders: set[Path]) -> None:
        for path in self.created:
            (self.root / path).unlink(missing_ok=True)
        for path, content in before.items():
            (self.root / path).write_bytes(content)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


def _refuse_clash(path: str, content: str) -> None:
    """
    Refuse Python in which a name that came from the command line hides another.

    Raises:
        BadRequest: it does, or it is no Python at all.

    """
    try:
        statements = ast.parse(content).body
    except SyntaxError as error:
        raise BadRequest(f"{path} would not be valid Python ({error.msg}). Choose another name") from error
    origins: dict[str, str] = {name: "Python itself" for name in dir(builtins) if not name.startswith("_")}
    for statement in statements:
        for name, origin in _bound(statement):
            if origins.setdefault(name, origin) != origin:
                raise BadRequest(
                    f"{path} would have two {name}: of {origins[name]} and of {origin}. Choose another name"
                )


def _bound(statement: ast.stmt) -> Iterator[tuple[str, str]]:
    """Yield the names that a statement of a module binds, each with where it comes from."""
    match statement:
        case ast.Import(names=names):
            yield from ((alias.asname or alias.name, alias.name) for alias in names)
        case ast.ImportFrom(module=module, names=names):
            yield from ((alias.asname or alias.name, f"{module}.{alias.name}") for alias in names)
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
            yield name, f"line {statement.lineno}"
