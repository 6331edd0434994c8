"""What an error says can be done: each surface has its own words for each hint, and names what is there."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup

from crossdock.api.app import create_app
from crossdock.api.hints import HintDocument
from crossdock.api.openapi import document
from crossdock.api.problems import of
from crossdock.app.airflow import hints as log_hints
from crossdock.cli import hints as command_line_hints
from crossdock.cli.app import app as command_line
from crossdock.cli.command_groups import LazyCommandGroup
from crossdock.client.hub import refusal
from crossdock.core.errors import LeaseHeld, NotFound
from crossdock.core.hints import Hint, HintId

PACKAGE = Path(__file__).parents[2] / "include" / "crossdock"
#: Rooms whose texts are read on every surface.
SHARED_ROOMS = (
    *("api", "app", "commerce", "connectors", "core", "db", "events", "http", "integrations", "maintenance"),
    *("observability", "sync"),
)
#: Texts for Airflow's own pages, whose readers have the command line too.
FOR_AIRFLOWS_PAGES = {
    *(
        "app/airflow/delivery_dag.py",
        "app/airflow/hints.py",
        "app/airflow/stream_dags.py",
        "app/airflow/workflow_dags.py",
    ),
    # The note of a run and the end of a log; the import error of a declaration.
    *("app/airflow/run_account.py", "app/airflow/declaration_errors.py"),
    "api/airflow_connections.py",
    # Messages of alerts: they name a command for whoever has the command line.
    *("maintenance/alerting/kinds.py", "maintenance/alerting/texts.py"),
    # The arguments of a child process.
    "app/airflow/metadata_cleanup.py",
}
#: Nothing that a client can send helps: a person has to do it on the machine.
WITHOUT_A_REQUEST = {HintId.MIGRATE}


@pytest.mark.parametrize("hint_id", HintId)
def test_the_command_line_has_words_for_each_hint_and_names_a_command_that_exists(hint_id: HintId) -> None:
    _assert_command(command_line_hints.phrase(Hint(hint_id, "inventory")))


def _assert_command(phrase: str) -> None:
    """What *phrase* names after its last colon can be typed or sent."""
    _, _, named = phrase.rpartition(": ")

    assert "{" not in phrase
    if named.startswith("GET "):
        _assert_route(named)
        return
    words = shlex.split(named)
    assert words[0] == "./hub"
    command = typer.main.get_command(command_line)
    for word in words[1:]:
        if not isinstance(command, TyperGroup):
            break
        assert word in command.commands, f"{named}: there is no {word}"
        command = command.load(word) if isinstance(command, LazyCommandGroup) else command.commands[word]
    options = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options


@pytest.mark.parametrize("hint_id", HintId)
def test_the_api_has_words_for_each_hint_and_names_a_request_that_exists(hint_id: HintId) -> None:
    found = HintDocument.of(Hint(hint_id, "inventory"))

    assert (found is None) == (hint_id in WITHOUT_A_REQUEST)
    if found is not None:
        assert found.id == hint_id
        assert "{" not in found.request
        assert "./hub" not in found.message
        if "/hub/" in found.request:
            _assert_route(found.request)


@pytest.mark.parametrize("hint_id", HintId)
def test_a_task_log_has_words_for_each_hint_and_names_a_command_that_exists(hint_id: HintId) -> None:
    _assert_command(log_hints.phrase(Hint(hint_id, "inventory")))


@cache
def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = document(create_app())["paths"]
    return paths


def _assert_route(request: str) -> None:
    method, path = request.split()
    path = path.removeprefix("/hub").replace("/inventory", "/{id}")
    paths = _paths()
    known = {_nameless(each) for each, verbs in paths.items() if method.lower() in verbs}
    assert _nameless(path) in known


def _nameless(path: str) -> str:
    """Whatever a parameter is called, and without a query."""
    return "/".join("{}" if part.startswith("{") else part for part in path.partition("?")[0].split("/"))


def test_a_problem_carries_the_hint_beside_its_text() -> None:
    problem = of(NotFound("There is no dead letter 5", hint=Hint(HintId.LIST_DEAD_LETTERS)))

    assert problem.detail == "There is no dead letter 5"
    assert problem.members["hint"] == {
        "id": "list_dead_letters",
        "subject": "",
        "message": "List the dead letters",
        "request": "GET /hub/v1/dead-letters",
    }
    assert "hint" not in of(NotFound("x", hint=Hint(HintId.MIGRATE))).members, "no client can run ./hub up"
    assert of(LeaseHeld("inventory", "run-1", 3.0)).members["hint"]["request"] == "GET /hub/v1/runs/run-1"


class Answer:
    status_code = 404

    def __init__(self, hint: object) -> None:
        self.problem = {"detail": "There is no run 'r'", "hint": hint}

    def json(self) -> object:
        return self.problem


def test_the_command_line_has_its_own_words_for_a_hint_of_the_api() -> None:
    problem = of(NotFound("There is no run 'r'", hint=Hint(HintId.LIST_RUNS)))

    error = refusal(Answer(problem.members["hint"]))

    assert command_line_hints.with_hint(str(error), error.hint) == "There is no run 'r'. Recent runs: ./hub runs"


@pytest.mark.parametrize("hint", [None, {}, {"id": "of_a_newer_hub", "subject": ""}, "text"])
def test_a_hint_that_the_client_does_not_know_is_left_out(hint: object) -> None:
    assert refusal(Answer(hint)).hint is None


def test_no_text_of_a_shared_room_names_a_command() -> None:
    """An error's text is read over REST, in a log and in the ledger as well: what to type there is its hint's."""
    files = [file for room in SHARED_ROOMS for file in (PACKAGE / room).rglob("*.py")]
    found = {
        f"{file.relative_to(PACKAGE)}:{line}: {text}"
        for file in files
        if str(file.relative_to(PACKAGE)) not in FOR_AIRFLOWS_PAGES
        for line, text in _texts(file)
        if "./hub" in text or re.search(r"(?<![\w-])--[a-z]", text)
    }

    assert len(files) > len(SHARED_ROOMS)
    assert found == set()


def test_core_names_neither_a_command_nor_a_path() -> None:
    for file in (PACKAGE / "core").rglob("*.py"):
        assert "./hub" not in file.read_text(), file
        assert "/hub/v1" not in file.read_text(), file


def _texts(file: Path) -> Iterator[tuple[int, str]]:
    """Every text of a program that is no docstring."""
    tree = ast.parse(file.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value
