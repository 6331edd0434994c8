"""`airflow_settings.yaml` as Astro reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from crossdock.client.errors import StackError
from crossdock.stack.settings_file import read_settings

PROJECT = Path(__file__).resolve().parents[2]


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "airflow_settings.yaml"
    path.write_text(text)
    return path


def test_the_projects_file_names_what_the_flows_use() -> None:
    settings = read_settings(PROJECT / "airflow_settings.yaml")

    assert [each["connection_id"] for each in settings.connections] == ["commercetools", "hub_db"]
    assert settings.pools[0]["name"] == "commercetools"
    assert json.loads(settings.connections[0]["extra"])["project"] == "demo"


def test_the_projects_file_holds_no_secret() -> None:
    """It is in the repository."""
    text = (PROJECT / "airflow_settings.yaml").read_text()
    settings = read_settings(PROJECT / "airflow_settings.yaml")

    assert not [each for each in settings.connections if "password" in each]
    assert not re.search(r"(?i)(secret|password|token)\w*:\s*\S", text.replace("token_path: /oauth/token", ""))


def test_the_running_stack_knows_ports_and_passwords_better(tmp_path: Path) -> None:
    path = written(
        tmp_path, "airflow: {connections: [{conn_id: hub_db, conn_type: postgres, conn_port: 1, conn_login: hub}]}"
    )

    settings = read_settings(path, overrides={"hub_db": {"port": 2, "password": "made up"}, "other": {"port": 3}})

    assert settings.connections == [
        {"connection_id": "hub_db", "conn_type": "postgres", "port": 2, "login": "hub", "password": "made up"}
    ]


def test_the_empty_entries_of_astros_template_are_skipped(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
airflow:
  connections: [{conn_id: , conn_type: , conn_host: }]
  pools: [{pool_name: , pool_slot: , pool_description: }]
  variables: [{variable_name: , variable_value: }]
""",
    )

    settings = read_settings(path)

    assert (settings.connections, settings.pools, settings.variables) == ([], [], [])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("airflow: {connections: [{conn_id: a, conn_type: http, conn_hots: b}]}", "conn_hots"),
        ("airflow: {connections: [{conn_id: a}]}", "conn_type"),
        ("airflow: {pools: [{pool_name: p, pool_slot: many}]}", "many"),
        ("airflow: [", "cannot be read"),
        ("- a list", "cannot be read"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, named: str) -> None:
    """A connection that is quietly left out shows up hours later as a failed task."""
    with pytest.raises(StackError, match=named):
        read_settings(written(tmp_path, text))
