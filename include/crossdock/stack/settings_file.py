"""Read `airflow_settings.yaml` (Astro's format) into documents for Airflow's REST API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossdock.client.errors import StackError
from crossdock.core import yaml_document
from crossdock.core.ids import NO_PORT, prefixed
from crossdock.stack.home import project

#: Astro's name of a field → Airflow's.
_CONNECTION_FIELDS = {
    "conn_id": "connection_id",
    "conn_type": "conn_type",
    "conn_host": "host",
    "conn_schema": "schema",
    "conn_login": "login",
    "conn_password": "password",
    "conn_port": "port",
    "conn_extra": "extra",
}


@dataclass(frozen=True)
class AirflowSettings:
    """The contents of the file, ready for `AirflowApi.put_connection`, `put_pool` and `put_variable`."""

    connections: list[dict[str, Any]] = field(default_factory=list)
    pools: list[dict[str, Any]] = field(default_factory=list)
    variables: list[dict[str, Any]] = field(default_factory=list)


def settings_file() -> Path:
    return project() / "airflow_settings.yaml"


def read_settings(
    path: Path | None = None, *, overrides: Mapping[str, Mapping[str, Any]] | None = None
) -> AirflowSettings:
    """
    Read the connections, pools and variables of the file.

    Args:
        path: By default the project's own.
        overrides: Connection id → fields in Airflow's names (host, port, password …) that the running stack sets.
            An id that is not in the file is ignored; an `extra` replaces only the fields it has.

    Raises:
        StackError: The file is not in Astro's format; the message names the place.

    """
    path = path or settings_file()
    try:
        declared = (yaml_document.read(path).value() or {}).get("airflow") or {}
    except (OSError, UnicodeDecodeError, yaml_document.InvalidYaml, AttributeError) as error:
        raise StackError(f"{path} cannot be read: {error}. Expected a mapping `airflow:` of lists.") from error
    overrides = overrides or {}
    connections = [_connection(path, entry) for entry in _filled(declared.get("connections"), "conn_id")]
    return AirflowSettings(
        connections=[
            _overridden(
                {**connection, "connection_id": prefixed(connection["connection_id"])},
                overrides.get(connection["connection_id"], {}),
            )
            for connection in connections
        ],
        pools=[_pool(path, entry) for entry in _filled(declared.get("pools"), "pool_name")],
        variables=[
            {"key": variable["variable_name"], "value": str(variable.get("variable_value", ""))}
            for variable in _filled(declared.get("variables"), "variable_name")
        ],
    )


def _overridden(connection: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    if "extra" not in more:
        return {**connection, **more}
    extra = json.loads(connection.get("extra") or "{}") | more["extra"]
    return {**connection, **more, "extra": json.dumps(extra)}


def _filled(entries: list[dict[str, Any]] | None, key: str) -> list[dict[str, Any]]:
    """Keep the entries that have a name: Astro's template has empty ones."""
    return [entry for entry in entries or [] if entry.get(key)]


def _connection(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(entry) - set(_CONNECTION_FIELDS))
    if unknown:
        raise StackError(
            f"{path}: connection {entry['conn_id']} has {unknown}. Known fields: {sorted(_CONNECTION_FIELDS)}."
        )
    if not entry.get("conn_type"):
        raise StackError(f"{path}: connection {entry['conn_id']} has no conn_type.")
    # An empty value means "not set", as for Astro.
    document = {_CONNECTION_FIELDS[name]: value for name, value in entry.items() if value not in (None, "")}
    document.setdefault("port", NO_PORT)
    if isinstance(document.get("extra"), Mapping):
        document["extra"] = json.dumps(document["extra"])
    return document


def _pool(path: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    slots = entry.get("pool_slot")
    if not isinstance(slots, int):
        raise StackError(f"{path}: pool {entry['pool_name']} has pool_slot {slots!r}. Expected a number.")
    return {"name": prefixed(entry["pool_name"]), "slots": slots, "description": entry.get("pool_description") or ""}
