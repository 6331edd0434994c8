"""Every kind of alert has words for whoever gets its message, and the words are true."""

from __future__ import annotations

import shlex

import pytest
import typer

from crossdock.cli.app import app
from crossdock.maintenance.alerting.kinds import KINDS, AlertKind, kind_of
from crossdock.observability.alerts import Kind


def test_every_kind_that_the_hub_opens_is_described() -> None:
    """`alerts.add` takes no other kind but those, and an installation's own."""
    assert set(KINDS) == set(Kind)


@pytest.mark.parametrize("kind", Kind)
def test_a_kind_says_all_that_a_person_needs(kind: Kind) -> None:
    """A message without a next step wakes a person for nothing."""
    described = KINDS[kind]

    texts = (described.hub_does, described.next_step, described.open_while, described.about, described.example)
    assert all(texts)


@pytest.mark.parametrize("described", [kind for kind in KINDS.values() if kind.command], ids=lambda kind: kind.command)
def test_the_command_of_a_kind_exists(described: AlertKind) -> None:
    """With its options: it is read at night, and copied."""
    program, *words = shlex.split(described.command.format(subject="subject", stream="shop.orders"))
    command = typer.main.get_command(app)
    while below := getattr(command, "list_commands", None):
        name = words.pop(0)
        assert name in below(None), described.command
        load = getattr(command, "load", None) or (lambda name, of=command: of.get_command(None, name))
        command = load(name)

    known = {option for parameter in command.params for option in parameter.opts}
    assert program == "./hub"
    assert {word for word in words if word.startswith("--")} <= known


def test_a_kind_of_an_installation_s_own_is_a_warning() -> None:
    """A subscriber may open its own kinds; nobody can describe them here."""
    assert kind_of("sold_out").severity == "warning"
