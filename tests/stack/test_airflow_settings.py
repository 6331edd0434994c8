"""The settings of Airflow's processes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import make_url

from crossdock.core.errors import Terminal
from crossdock.stack import starts
from crossdock.stack.airflow import airflow_environment, database_connection, new_logins, write_files
from crossdock.stack.ports import PREFERRED
from crossdock.stack.secrets import load_secrets


def test_airflow_listens_on_loopback_only() -> None:
    """Airflow's own default is every interface."""
    environment = airflow_environment(PREFERRED, load_secrets())

    assert environment["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert not [value for name, value in environment.items() if name.startswith("AIRFLOW__") and "0.0.0.0" in value]  # noqa: S104


def test_each_address_of_a_database_refuses_a_server_that_asks_for_the_password() -> None:
    """A program that took the port would get it in clear text. What uses asyncpg cannot refuse: ADR 0055."""
    secrets = load_secrets()
    addresses = [
        starts.hub_dsn(PREFERRED, secrets),
        starts.metadata_dsn(PREFERRED, secrets),
        airflow_environment(PREFERRED, secrets)["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
    ]

    assert [address for address in addresses if not address.endswith("?require_auth=scram-sha-256")] == []
    assert json.loads(str(database_connection(PREFERRED, secrets)["extra"])) == {"require_auth": "scram-sha-256"}


def test_a_password_that_somebody_wrote_by_hand_is_the_one_in_each_address() -> None:
    """One with a / or @ would be taken for another server."""
    password = "p@ss/w?rd#%2F &:$HOME"
    secrets = replace(load_secrets(), hub_password=password, metadata_password=password)
    settings = airflow_environment(PREFERRED, secrets)
    for address in (starts.hub_dsn(PREFERRED, secrets), starts.metadata_dsn(PREFERRED, secrets)):
        read = conninfo_to_dict(address)
        assert (read["password"], read["host"]) == (password, "127.0.0.1")
    for name in ("SQL_ALCHEMY_CONN", "SQL_ALCHEMY_CONN_ASYNC"):
        url = make_url(settings[f"AIRFLOW__DATABASE__{name}"])
        assert (url.password, url.host, url.database) == (password, "127.0.0.1", "airflow")


def test_settings_of_another_airflow_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's shell often has the settings of the company's Airflow."""
    monkeypatch.setenv("AIRFLOW_HOME", "/elsewhere")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTOR", "CeleryExecutor")
    monkeypatch.setenv("AIRFLOW__CELERY__BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", "http://shop")
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/writable")

    environment = airflow_environment(PREFERRED, load_secrets())

    assert environment["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert not [name for name, value in environment.items() if "elsewhere" in value]
    assert environment["AIRFLOW_CONN_SHOP"] == "http://shop", "a person passes a secret by it"
    assert environment["PYTHONPYCACHEPREFIX"] == "/writable", "needed where the project's folder is read-only"


@pytest.mark.skipif(sys.platform != "linux", reason="macOS cannot fork safely")
def test_workers_share_what_the_scheduler_has_loaded() -> None:
    """Python 3.14 does not fork unless it is told to: in 2 GB, the scheduler was killed again and again."""
    assert airflow_environment(PREFERRED, load_secrets())["AIRFLOW__CORE__MP_START_METHOD"] == "fork"


def test_a_proxy_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks report their state to 127.0.0.1; behind a company's proxy they would all fail."""
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "intern.example")
    monkeypatch.delenv("no_proxy", raising=False)

    assert airflow_environment(PREFERRED, load_secrets())["NO_PROXY"] == "intern.example,127.0.0.1,localhost"


def test_a_colleague_gets_a_login_and_keeps_it(stack_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it, a team shares `admin`, and the audit trail says nothing of who did what."""

    def started() -> tuple[set[str], dict[str, str]]:
        write_files(load_secrets())
        users = airflow_environment(PREFERRED, load_secrets())["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"]
        return set(users.split(",")), json.loads((stack_home / "airflow-passwords.json").read_text())

    ours = {"admin:admin", "otto:op", "vera:viewer"}
    monkeypatch.setenv("HUB_LOGINS", "ada:user, ben:op")
    assert new_logins() == ["ada", "ben"]
    users, passwords = started()
    assert new_logins() == []
    assert users == {"ada:user", "ben:op", *ours}
    assert all(len(passwords[name]) >= 24 for name in ("ada", "ben", "admin", "otto", "vera"))

    # Whoever starts it from another shell has not heard of her.
    monkeypatch.delenv("HUB_LOGINS")
    assert (new_logins(), started()) == ([], (users, passwords))

    monkeypatch.setenv("HUB_LOGINS", "ben:viewer")
    assert new_logins() == ["ada", "ben"]
    assert started() == ({"ben:viewer", *ours}, passwords)


@pytest.mark.parametrize(
    "logins", ["ada", "ada:boss", "ada:user:team", ":user", "a da:user", "admin:viewer", "ada:op,ada:user"]
)
def test_a_login_without_a_role_is_refused(logins: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUB_LOGINS", logins)

    with pytest.raises(Terminal, match=r"expected NAME:ROLE|is there already"):
        airflow_environment(PREFERRED, load_secrets())


def test_files_with_passwords_are_closed(stack_home: Path) -> None:
    write_files(load_secrets())

    assert (stack_home / "airflow-passwords.json").stat().st_mode & 0o777 == 0o600
    assert (stack_home / "airflow").stat().st_mode & 0o077 == 0
