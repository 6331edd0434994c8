"""./hub login and logout, and the other ways in which a command learns which hub it speaks to, and as whom."""

from __future__ import annotations

import io
import json
import stat
import sys
from pathlib import Path

import pytest

from crossdock.stack.home import home
from tests.api.conftest import Hub as ServedHub
from tests.cli.conftest import Hub


def logged_in(hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch, user: str = "otto") -> Path:
    """Log in as a script does, and return the file."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{user * 2}\n"))
    ended = hub("login", served.url, "--user", user, "--json")
    assert ended.code == 0, ended.err
    return home() / "login.json"


def test_a_login_is_kept_as_a_token_that_only_its_owner_can_read(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password on disk opens everything else that its owner uses it for."""
    file = logged_in(stackless_hub, served, monkeypatch)

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "ottootto" not in file.read_text()
    assert stackless_hub("runs").code == 0


@pytest.mark.usefixtures("hub_dsn")
def test_the_roles_of_the_login_apply(stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the shell says: a viewer is a viewer, also on the machine of an administrator."""
    logged_in(stackless_hub, served, monkeypatch, "vera")

    assert stackless_hub("quarantine", "list").code == 0
    refused = stackless_hub("quarantine", "replay", "--all")
    assert refused.code == 1
    assert "vera needs the operator role" in refused.text


def test_after_a_logout_the_local_stack_is_meant_again(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = logged_in(stackless_hub, served, monkeypatch)

    assert stackless_hub("logout", "--json").document == {"removed": True}
    assert not file.exists()
    assert "The stack is stopped" in stackless_hub("runs").text


def test_an_expired_login_says_how_to_log_in_again(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = logged_in(stackless_hub, served, monkeypatch)
    file.write_text(json.dumps({**json.loads(file.read_text()), "token": "of yesterday"}))

    ended = stackless_hub("runs")

    assert ended.code == 1
    assert f"Log in again: ./hub login {served.url}" in ended.text
    assert "of yesterday" not in ended.text


def test_a_token_in_the_environment_is_enough(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline has a token of its own and no file."""
    monkeypatch.setenv("HUB_URL", served.url)
    monkeypatch.setenv("HUB_TOKEN", served.token("vera"))

    assert stackless_hub("runs").code == 0


def test_an_address_without_a_login_says_how_to_get_one(stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_URL", "http://hub.example")

    ended = stackless_hub("runs")

    assert ended.code == 2
    assert "./hub login http://hub.example, or set HUB_USER and HUB_PASSWORD" in ended.text


@pytest.mark.parametrize("words", [["runs"], ["quarantine", "list"], ["sync", "inventory"], ["audit", "verify"]])
def test_the_address_of_the_database_is_no_way_in(
    stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """It had no roles, and an actor that nobody checked. Left unread, a command would speak to another hub than meant."""
    monkeypatch.setenv("HUB_DATABASE_URL", "postgresql://hub@nowhere/hub")

    ended = stackless_hub(*words)

    assert ended.code == 2
    assert "HUB_DATABASE_URL is no longer used" in ended.text
    assert "Set HUB_URL" in ended.text


@pytest.mark.parametrize(
    "words", [["runs"], ["integration", "pause", "acme"], ["audit", "verify"], ["clean"], ["sandbox", "move"]]
)
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"HUB_USER": "vera", "HUB_PASSWORD": "x"}, "HUB_USER and HUB_PASSWORD without HUB_URL"),
        ({"HUB_TOKEN": "x"}, "HUB_TOKEN without HUB_URL"),
    ],
)
def test_a_login_without_an_address_is_refused(
    stackless_hub: Hub, monkeypatch: pytest.MonkeyPatch, words: list[str], given: dict[str, str], named: str
) -> None:
    """Left unread, a viewer's login acted as the administrator of the local stack, and a wrong password worked too."""
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    ended = stackless_hub(*words)

    assert ended.code == 2
    assert named in ended.text
    assert "Set HUB_URL to the address of the hub's Airflow" in ended.text


def test_a_login_in_the_environment_is_for_the_address_of_the_command(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_USER", "otto")
    monkeypatch.setenv("HUB_PASSWORD", "ottootto")

    assert stackless_hub("login", served.url).code == 0


def test_a_password_for_one_hub_is_not_sent_to_another(
    stackless_hub: Hub, served: ServedHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HUB_PASSWORD belongs to HUB_URL: a command that names another address asks for its own."""
    for name, value in {"HUB_URL": "http://hub.example", "HUB_USER": "otto", "HUB_PASSWORD": "of hub.example"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdin", io.StringIO("ottootto\n"))

    assert stackless_hub("login", served.url, "--user", "otto").code == 0
