"""The words of errors of the local stack that a person can cause: each names what is wrong, and most what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossdock.client.errors import StackError
from crossdock.stack import ports
from crossdock.stack.backup import restore
from crossdock.stack.postgres import PostgresServer
from crossdock.stack.settings_file import read_settings


@pytest.mark.parametrize("value", ["eighty", "0", "70000", "-1", ""])
def test_a_port_that_is_none_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("HUB_PORT_AIRFLOW", value)

    with pytest.raises(StackError, match=r"HUB_PORT_AIRFLOW is '.*'\. Expected a port number from 1 to 65535\."):
        ports.assign()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- a list", r"cannot be read: .*\. Expected a mapping `airflow:` of lists\."),
        (
            "airflow:\n  pools:\n    - {pool_name: erp, pool_slot: many}",
            r"pool erp has pool_slot 'many'\. Expected a number\.",
        ),
    ],
)
def test_a_settings_file_that_airflow_could_not_use_is_named(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "airflow_settings.yaml").write_text(text)

    with pytest.raises(StackError, match=words):
        read_settings(tmp_path / "airflow_settings.yaml")


def test_a_folder_without_a_backup_is_named(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"has no backup: expected a folder called .*<time> with a manifest"):
        restore.find(tmp_path)


def test_a_restore_writes_over_no_database(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path / "postgres-hub", 1, "a long password")
    server._data.mkdir(parents=True)

    with pytest.raises(StackError, match=r"holds a database already\. Move it away first\."):
        server.restore(tmp_path)
