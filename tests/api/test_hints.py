"""What an error says can be done, over REST and on the command line: each is there, and neither speaks the other's words."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from crossdock.api.app import create_app
from crossdock.api.openapi import document
from crossdock.api.problems import of
from crossdock.cli.app import app as command_line
from crossdock.core import hints as remedies
from crossdock.core.errors import LeaseHeld, NotFound
from crossdock.core.hints import Remedy
from typer.core import TyperGroup

INCLUDE = Path(__file__).parents[2] / "include"
#: Text of Airflow's own pages, which the same people read who have the command line.
FOR_AIRFLOWS_PAGES = {"flows/on_airflow/sync_dags.py", "api/airflow_connections.py"}
ALL = {
    name: found if isinstance(found, Remedy) else found("inventory")
    for name, found in vars(remedies).items()
    if isinstance(found, Remedy) or (getattr(found, "__module__", "") == remedies.__name__ and found is not Remedy)
}


@pytest.mark.parametrize("remedy", ALL.values(), ids=ALL)
def test_what_a_remedy_names_is_there(remedy: Remedy) -> None:
    assert remedy.command or remedy.request
    if remedy.command:
        words = shlex.split(remedy.command)
        assert words[0] == "./hub"
        command = typer.main.get_command(command_line)
        for word in words[1:]:
            if not isinstance(command, TyperGroup):
                break
            assert word in command.commands, f"{remedy.command}: there is no {word}"
            command = command.commands[word]
    if remedy.request and "/hub/" in remedy.request:
        method, path = remedy.request.split()
        path = path.removeprefix("/hub").replace("/inventory", "/{id}")
        paths = document(create_app())["paths"]
        known = {_nameless(each) for each, verbs in paths.items() if method.lower() in verbs}
        assert _nameless(path) in known


def _nameless(path: str) -> str:
    """Whatever a parameter is called."""
    return "/".join("{}" if part.startswith("{") else part for part in path.split("/"))


def test_an_error_is_told_over_rest_with_its_remedy_beside_it() -> None:
    problem = of(NotFound("There is no dead letter 5", remedy=remedies.LETTERS))

    assert problem.detail == "There is no dead letter 5"
    assert problem.members["remedy"]["request"] == "GET /hub/v1/dead-letters"
    assert "remedy" not in of(NotFound("x", remedy=remedies.MIGRATE)).members, "no client can run ./hub up"
    assert of(LeaseHeld("inventory", "run-1", 3.0)).members["remedy"]["request"] == "GET /hub/v1/runs/run-1"


def test_no_text_outside_the_command_line_speaks_its_words() -> None:
    """An error's text is read over REST, in a log and in the ledger as well: what to type there is its remedy's."""
    rooms = ("api", "flows", "handlers", "connectors", "quality", "store", "model")
    files = [file for room in rooms for file in (INCLUDE / room).rglob("*.py") if file.name != "remedies.py"]
    found = {
        f"{file.relative_to(INCLUDE)}:{line}: {text}"
        for file in files
        if str(file.relative_to(INCLUDE)) not in FOR_AIRFLOWS_PAGES
        for line, text in _texts(file)
        if "./hub" in text or re.search(r"--[a-z]", text)
    }

    assert found == set()


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """Every text of a program that is no docstring."""
    tree = ast.parse(file.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value
