"""
The Airflow provider: a connection type for each connector, with a form and a class made from its `manifest.json`.

Airflow finds it by the package's entry point, and imports it in every process. So this module imports nothing heavy,
and a class imports its connector only when somebody presses Test.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec

from crossdock.core.errors import HubError
from crossdock.integrations.manifests import TESTED_AS, Manifest, manifests

#: The fields that Airflow's form has for every connection.
_STANDARD = ("host", "schema", "login", "password", "port", "extra")


def provider_info() -> dict[str, Any]:
    """Describe the provider as Airflow's `provider_info.schema.json` requires."""
    return {
        "package-name": "crossdock",
        "name": "Crossdock",
        "description": "Connections of a commerce integration hub.",
        "versions": ["0.1.0"],
        "connection-types": [_connection_type(manifest) for manifest in manifests().values()],
    }


def _connection_type(manifest: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = {**manifest.settings["properties"], **manifest.credentials["properties"]}
    standard = {field["x-connection"]: field for field in fields.values() if field["x-connection"] != "extra"}
    return {
        "connection-type": manifest.kind,
        "hook-class-name": f"{__name__}.{_class_name(manifest.kind)}",
        "hook-name": _hook_name(manifest),
        "ui-field-behaviour": {
            "hidden-fields": [name for name in _STANDARD if name not in standard],
            "relabeling": {place: field["title"] for place, field in standard.items()},
            "placeholders": {
                place: str(field["examples"][0]) for place, field in standard.items() if field.get("examples")
            },
        },
        "conn-fields": {name: _form_field(field) for name, field in fields.items() if field["x-connection"] == "extra"},
    }


def _form_field(field: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("pattern", "minLength", "maxLength", "minimum", "maximum", "enum", "items", "examples")
    schema = {name: field[name] for name in kept if name in field}
    if field.get("writeOnly"):
        schema["format"] = "password"
    # Allow null: Airflow's form sends it for an empty field.
    return {
        "label": field["title"],
        "description": field.get("description", ""),
        "schema": {**schema, "type": [field["type"], "null"]},
    }


def _hook_name(manifest: Manifest) -> str:
    return f"{manifest.title} (Crossdock)"


def _class_name(kind: str) -> str:
    """Name the class of a kind in CamelCase: `stripe_pay` → `StripePayConnection`."""
    return "".join(part.capitalize() for part in kind.split("_")) + "Connection"


class _TestableConnection:
    """A hook in Airflow's terms; it serves only the Test button of the form. The hub's tasks use the connectors."""

    conn_name_attr = "conn_id"
    conn_type = ""
    hook_name = ""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Run the connection test; return whether all checks passed, and what they found."""
        # Imported here, because every process of Airflow imports this module.
        from crossdock.integrations import airflow_connection, connection_test  # noqa: PLC0415

        connection = airflow_connection.find(self.conn_id)
        if connection is None:
            return False, f"Airflow has no connection {self.conn_id!r}"
        if own_id := connection.text(TESTED_AS):
            connection = msgspec.structs.replace(connection, connection_id=own_id)
        try:
            checks = connection_test.check_connection(manifests()[self.conn_type], connection)
        except HubError as error:
            return False, str(error)
        report = "; ".join(f"{check.name} {check.outcome}: {check.message}" for check in checks)
        return connection_test.all_passed(checks), report


@cache
def _connection_class(kind: str, hook_name: str) -> type[_TestableConnection]:
    return type(
        _class_name(kind),
        (_TestableConnection,),
        {"__module__": __name__, "conn_type": kind, "hook_name": hook_name},
    )


def __getattr__(name: str) -> type[_TestableConnection]:
    """Make the class of a connection type when Airflow imports it by the name in `provider_info`."""
    for manifest in manifests().values():
        if name == _class_name(manifest.kind):
            return _connection_class(manifest.kind, _hook_name(manifest))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
