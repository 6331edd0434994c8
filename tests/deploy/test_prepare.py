"""airflow_settings.yaml in a deployment: the one file, completed by the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from include.cli.prepare_command import SECRETS, MissingSecrets, overrides
from include.cli.stack.settings_file import read_settings
from tests.deploy.compose import PROJECT

ENVIRONMENT = {
    "HUB_DB_HOST": "postgres-hub",
    "HUB_DB_PORT": "5432",
    "HUB_DB_PASSWORD": "made-up",
    "HUB_COMMERCETOOLS_SECRET": "made-up too",
}


def test_the_environment_completes_what_the_file_says() -> None:
    """Places and secrets come from outside; what is not said stays as the file has it."""
    settings = read_settings(overrides=overrides(ENVIRONMENT))
    hub, platform = (
        next(each for each in settings.connections if each["connection_id"] == conn_id)
        for conn_id in ("hub_db", "commercetools")
    )

    assert (hub["host"], hub["port"], hub["password"], hub["login"]) == ("postgres-hub", 5432, "made-up", "hub")
    assert (platform["host"], platform["password"]) == ("http://127.0.0.1:8090", "made-up too")


@pytest.mark.parametrize("name", [name for fields in SECRETS.values() for name in fields.values()])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_secret_is_named(name: str, value: str | None) -> None:
    """A connection without its password would fail hours later, in a task."""
    environment = {key: given for key, given in ENVIRONMENT.items() if key != name} | (
        {} if value is None else {name: ""}
    )

    with pytest.raises(MissingSecrets, match=name):
        overrides(environment)


def test_prepare_stops_before_it_touches_anything() -> None:
    """Exit code 1 and all missing names at once, so that nobody mends them one by one."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)}
    ended = subprocess.run(
        [sys.executable, "-m", "include.cli", "prepare"], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "HUB_DB_PASSWORD, HUB_COMMERCETOOLS_SECRET" in ended.stderr


def test_every_connection_of_the_file_can_be_completed() -> None:
    """A connection added to the file needs its secret named, or a deployment gets it without one."""
    assert {each["connection_id"] for each in read_settings().connections} == set(SECRETS)


def test_the_file_itself_holds_no_secret() -> None:
    """It is in version control, and Astro, ./hub and compose all read it."""
    assert not [each for each in read_settings().connections if "password" in each]
