"""
The connectors as connection types of Airflow's own form, each with its fields, made from their `integration.json`.

Airflow finds this through `crossdock-0.1.0.dist-info` in the project's folder; see docs/decisions. It asks in every
process, so nothing heavy is loaded here, and the class below loads its connector only when somebody presses Test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.core.errors import HubError
from crossdock.integrations.manifests import Kind, kinds

#: What Airflow's form has for every connection.
_STANDARD = ("host", "schema", "login", "password", "port", "extra")


def provider_info() -> dict[str, Any]:
    """As Airflow's `provider_info.schema.json` has it."""
    return {
        "package-name": "crossdock",
        "name": "Crossdock",
        "description": "Connections of a commerce integration hub.",
        "versions": ["0.1.0"],
        "connection-types": [_connection_type(kind) for kind in kinds().values()],
    }


def _connection_type(kind: Kind) -> dict[str, Any]:
    fields: dict[str, Any] = {**kind.settings["properties"], **kind.credentials["properties"]}
    standard = {field["x-connection"]: field for field in fields.values() if field["x-connection"] != "extra"}
    return {
        "connection-type": kind.kind,
        "hook-class-name": f"{__name__}.{kind.kind.capitalize()}Connection",
        "hook-name": f"{kind.title} (Crossdock)",
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
    # Null: Airflow's form sends it for a field that is left empty.
    return {
        "label": field["title"],
        "description": field.get("description", ""),
        "schema": {**schema, "type": [field["type"], "null"]},
    }


class _TestableConnection:
    """What Airflow calls a hook: here only the Test button of its form. The hub's tasks use the connectors themselves."""

    conn_name_attr = "conn_id"
    conn_type = ""
    hook_name = ""

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id

    def test_connection(self) -> tuple[bool, str]:
        """Whether the named checks hold, and what they found."""
        # Here: every process of Airflow imports this module.
        from crossdock.integrations import airflow_connection, connection_test  # noqa: PLC0415

        connection = airflow_connection.find(self.conn_id)
        if connection is None:
            return False, f"Airflow has no connection {self.conn_id!r}"
        try:
            found = connection_test.of_connection(kinds()[self.conn_type], connection)
        except HubError as error:
            return False, str(error)
        told = "; ".join(f"{check.name} {check.outcome}: {check.message}" for check in found)
        return connection_test.passed(found), told


class CommercetoolsConnection(_TestableConnection):
    conn_type = "commercetools"
    hook_name = "commercetools (Crossdock)"


class DeclaredConnection(_TestableConnection):
    conn_type = "declared"
    hook_name = "Declared system (Crossdock)"
