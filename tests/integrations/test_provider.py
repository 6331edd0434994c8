"""The connection types as Airflow sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from crossdock import __version__
from crossdock.http.connection import Connection
from crossdock.integrations import airflow_connection, connection_test, provider
from crossdock.integrations.manifests import Manifest, manifests
from crossdock.integrations.model import Check, CheckOutcome
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


def test_airflow_accepts_the_description() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())

    jsonschema.validate(provider_info(), schema)


def test_airflow_finds_the_installed_provider(tmp_path: Path) -> None:
    """The entry point alone is enough: no path is set, and the process runs in another folder."""
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path)}
    command = [sys.executable, "-P", "-c", _ASK % (sorted(manifests()),)]
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


@pytest.mark.parametrize("manifest", manifests().values(), ids=list(manifests()))
def test_every_field_of_a_manifest_has_its_place_in_a_connection(manifest: Manifest) -> None:
    """A field without a place would be accepted and lost; two fields in one place would overwrite each other."""
    fields = {**manifest.settings["properties"], **manifest.credentials["properties"]}
    places = [field["x-connection"] for field in fields.values() if field["x-connection"] != "extra"]

    assert set(places) <= {"host", "login", "password", "port", "schema"}
    assert len(places) == len(set(places))


@pytest.mark.parametrize("manifest", manifests().values(), ids=list(manifests()))
def test_a_secret_is_write_only_and_never_a_setting(manifest: Manifest) -> None:
    secrets = {name for name, field in manifest.credentials["properties"].items() if field.get("writeOnly")}

    assert secrets
    assert not any(field.get("writeOnly") for field in manifest.settings["properties"].values())


class TestConnectionClass:
    @pytest.mark.parametrize(
        "connection_type", provider_info()["connection-types"], ids=lambda found: found["connection-type"]
    )
    def test_every_kind_has_a_class_under_the_described_name(self, connection_type: dict[str, Any]) -> None:
        made = getattr(provider, connection_type["hook-class-name"].rpartition(".")[2])

        assert made.conn_type == connection_type["connection-type"]
        assert made.hook_name == connection_type["hook-name"]

    def test_a_kind_of_two_words_has_a_class_in_camel_case(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """`capitalize` alone would make `Stripe_payConnection`; a class written by hand would be missing."""
        stripe = replace(manifests()["commercetools"], kind="stripe_pay", title="Stripe")
        monkeypatch.setattr(provider, "manifests", lambda: {"stripe_pay": stripe})

        [described] = provider_info()["connection-types"]
        made = getattr(provider, described["hook-class-name"].rpartition(".")[2])

        assert described["hook-class-name"] == "crossdock.integrations.provider.StripePayConnection"
        assert (made.__module__, made.__name__) == ("crossdock.integrations.provider", "StripePayConnection")
        assert (made.conn_type, made.hook_name) == ("stripe_pay", "Stripe (Crossdock)")

    def test_its_test_button_runs_the_checks_of_its_manifest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stripe = replace(manifests()["commercetools"], kind="stripe_pay")
        tested: list[str] = []

        def check(manifest: Manifest, _: Connection) -> tuple[Check, ...]:
            tested.append(manifest.kind)
            return (
                Check(name="address", outcome=CheckOutcome.FAILED, duration_ms=1, message="port 1 does not answer"),
            )

        monkeypatch.setattr(provider, "manifests", lambda: {"stripe_pay": stripe})
        monkeypatch.setattr(
            airflow_connection, "find", lambda name: Connection(connection_id=name, conn_type="stripe_pay")
        )
        monkeypatch.setattr(connection_test, "check_connection", check)

        passed, report = provider.StripePayConnection("pay").test_connection()

        assert tested == ["stripe_pay"]
        assert (passed, report) == (False, "address failed: port 1 does not answer")

    def test_a_name_without_a_manifest_is_not_a_class(self) -> None:
        with pytest.raises(AttributeError, match="no attribute 'NopeConnection'"):
            _ = provider.NopeConnection
