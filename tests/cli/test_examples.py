"""The help of every command has an example that can be typed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from typer import TyperException

from tests.cli.conftest import commands

_EXAMPLE = re.compile(r"^\s*Example: (.+)$", re.MULTILINE)
#: It runs in a container of a deployment, where there is no ./hub.
_PREPARE = "docker compose run --rm prepare"


def examples() -> list[Any]:
    return [
        pytest.param(name, command, example, id=f"{name} {number}")
        for name, command in commands()
        for number, example in enumerate(_EXAMPLE.findall(command.help or ""))
    ]


def test_the_help_of_every_command_has_an_example() -> None:
    """A list of twelve options does not say how a command is used."""
    without = [name for name, command in commands() if not _EXAMPLE.search(command.help or "")]

    assert without == []


@pytest.mark.parametrize(("name", "command", "example"), examples())
def test_an_example_is_a_command_that_can_be_typed(name: str, command: Any, example: str) -> None:
    """An option that is renamed stays in the examples otherwise."""
    if name == "prepare":
        assert example == _PREPARE
        return
    words = [list(part) for part in _commands_in(example) if part[: 1 + len(name.split())] == ["./hub", *name.split()]]

    assert words, f"{example} is no example of {name}"
    for each in words:
        _assert_parsed(command, name, each[1 + len(name.split()) :])


def _commands_in(line: str) -> list[list[str]]:
    """Split a line of a shell at its pipes."""
    found: list[list[str]] = [[]]
    for word in shlex.split(line):
        if word == "|":
            found.append([])
        else:
            found[-1].append(word)
    return found


def _assert_parsed(command: Any, name: str, arguments: list[str]) -> None:
    # The files of an example are those of whoever reads it.
    with suppress(_FileMissing), _files_may_be_missing():
        command.make_context(name, arguments)


class _FileMissing(Exception):
    """An example names a file that this machine does not have."""


@contextmanager
def _files_may_be_missing() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        if "does not exist" not in error.format_message():
            raise
        raise _FileMissing from error
