"""The connection types as Airflow sees them: found without being installed, and in its own words."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import airflow
import jsonschema
import pytest
from crossdock import __version__
from crossdock.integrations.manifests import kinds
from crossdock.integrations.provider import provider_info

_ASK = """
import json
from airflow.providers_manager import ProvidersManager
found = ProvidersManager()
print(json.dumps({
    "version": found.providers["crossdock"].version,
    "forms": sorted(found._connection_form_widgets_from_metadata),
    "behaviours": found._field_behaviours_from_metadata["commercetools"],
    "testable": {kind: found.hooks[kind].connection_testable for kind in %r},
}))
"""


def test_airflow_takes_the_description() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

    jsonschema.validate(provider_info(), schema)


def test_airflow_finds_the_installed_provider(tmp_path: Path) -> None:
    """By its entry point alone: no path is set, and the process stands in a folder of its own."""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-c", _ASK % (sorted(kinds()),)]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert "Inconsistency" not in ended.stdout + ended.stderr
    assert {"extra__commercetools__project", "extra__commercetools__scope"} <= set(found["forms"])
    assert found["behaviours"]["relabeling"]["password"] == "Client secret"
    assert set(found["testable"].values()) == {True}


def test_it_has_the_version_of_the_project() -> None:
    assert metadata.version("crossdock") == __version__
    assert provider_info()["versions"] == [__version__]


@pytest.mark.parametrize("kind", kinds().values(), ids=list(kinds()))
def test_every_field_of_a_kind_has_its_place_in_a_connection(kind: object) -> None:
    """A field without one would be accepted and lost; two in one place would overwrite each other."""
    fields = {**kind.settings["properties"], **kind.credentials["properties"]}  # type: ignore[attr-defined]
    places = [field["x-connection"] for field in fields.values() if field["x-connection"] != "extra"]

    assert set(places) <= {"host", "login", "password", "port", "schema"}
    assert len(places) == len(set(places))


@pytest.mark.parametrize("kind", kinds().values(), ids=list(kinds()))
def test_what_is_secret_is_write_only_and_never_a_setting(kind: object) -> None:
    secrets = {name for name, field in kind.credentials["properties"].items() if field.get("writeOnly")}  # type: ignore[attr-defined]

    assert secrets
    assert not any(field.get("writeOnly") for field in kind.settings["properties"].values())  # type: ignore[attr-defined]
