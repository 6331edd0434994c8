"""
Connector manifests: each kind of integration with its settings and credentials as JSON Schema.

A manifest is the file `manifest.json` in a connector's folder. The registry validates with it, the API serves it, and
Airflow's connection form is made from it (`provider`), so the three cannot differ. `x-connection` says which field of
an Airflow connection holds a value.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from crossdock.http.connection import Connection
from crossdock.integrations.model import ConnectionTest, FieldError, SettingsInvalid

_FOLDER = Path(__file__).parents[1] / "connectors"


@dataclass(frozen=True)
class Manifest:
    """One connector: what a person needs to know to connect it, and what it provides."""

    #: The kind of integration, and the type of its Airflow connection.
    kind: str
    title: str
    description: str
    #: JSON Schemas (2020-12) of the visible settings, and of the secret credentials.
    settings: Mapping[str, Any]
    credentials: Mapping[str, Any]
    #: Capability → where it is, as `module:name`; imported when it is used. `streams` has a list of them.
    provides: Mapping[str, Any]

    def refuse_invalid(self, settings: Mapping[str, Any], credentials: Mapping[str, Any] | None) -> None:
        """
        Validate *settings*, and *credentials* unless they are None, against their schemas.

        Raises:
            SettingsInvalid: names every invalid place and what was expected there; never the value.

        """
        errors = list(_errors(self.settings, settings, "/settings"))
        if credentials is not None:
            errors += _errors(self.credentials, credentials, "/credentials")
        if errors:
            raise SettingsInvalid(self.title, errors)

    def refuse_invalid_credentials(self, credentials: Mapping[str, Any]) -> None:
        """
        Validate *credentials* alone.

        Raises:
            SettingsInvalid: names every invalid place.

        """
        if errors := list(_errors(self.credentials, credentials, "/credentials")):
            raise SettingsInvalid(self.title, errors)

    def connection(self, connection_id: str, settings: Mapping[str, Any], credentials: Mapping[str, Any]) -> Connection:
        """Build the Airflow connection that holds both."""
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for schema, given in ((self.settings, settings), (self.credentials, credentials)):
            for name, value in given.items():
                place = schema["properties"][name]["x-connection"]
                if place == "extra":
                    extra[name] = value
                else:
                    values[place] = value
        return Connection(connection_id=connection_id, conn_type=self.kind, extra=extra, **values)

    def preserve_extra(self, known: Connection, changed: Connection) -> Connection:
        """Add to *changed* the fields of *known*'s extra that the schemas do not define: a person set them."""
        own = {*self.settings["properties"], *self.credentials["properties"]}
        others = {name: value for name, value in known.extra.items() if name not in own}
        return msgspec.structs.replace(changed, extra={**others, **changed.extra})

    def other_system(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """Name the settings that differ and say which system's records are read: `x-identity` in the schema."""
        fields = self.settings["properties"]
        return [name for name in fields if fields[name].get("x-identity") and before.get(name) != after.get(name)]

    def settings_of(self, connection: Connection) -> dict[str, Any]:
        """Extract the visible settings. A field that the schema does not define is left out: it may be a secret."""
        return self._fields_of(connection, self.settings)

    def credentials_of(self, connection: Connection) -> dict[str, Any]:
        return self._fields_of(connection, self.credentials)

    def connection_test(self, connection: Connection) -> ConnectionTest:
        """
        Create the connector's test of *connection*.

        Raises:
            BadRequest: the connection lacks a value without which no check can run.

        """
        test: ConnectionTest = self.provided("connection_test")(connection)
        return test

    def provided(self, capability: str) -> Any:
        """
        Import what the connector provides under *capability*.

        Raises:
            KeyError: it does not provide that.

        """
        return _imported(self.provides[capability])

    @property
    def streams(self) -> tuple[Any, ...]:
        """The streams that each integration of this kind has; none if a file or nothing declares them."""
        return tuple(map(_imported, self.provides.get("streams", ())))

    @staticmethod
    def _fields_of(connection: Connection, schema: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, field in schema["properties"].items():
            place = field["x-connection"]
            # Use the composed URL: a connection made by hand may have scheme and port in fields of their own.
            place = "url" if place == "host" else place
            value = connection.extra.get(name) if place == "extra" else getattr(connection, place)
            if value not in (None, ""):
                found[name] = value
        return found


def _imported(entry_point: str) -> Any:
    module, _, name = entry_point.partition(":")
    return getattr(import_module(module), name)


@cache
def manifests() -> Mapping[str, Manifest]:
    """Read every manifest, by kind."""
    found = (read_manifest(path) for path in sorted(_FOLDER.glob("*/manifest.json")))
    return {manifest.kind: manifest for manifest in found}


def manifest_of(kind: str) -> Manifest:
    """
    Find the manifest of *kind*.

    Raises:
        SettingsInvalid: the kind is unknown; the message lists the known ones.

    """
    if kind not in manifests():
        raise SettingsInvalid("an integration", [FieldError("/kind", f"must be one of {', '.join(manifests())}")])
    return manifests()[kind]


def read_manifest(path: Path) -> Manifest:
    """Read one manifest file."""
    document = json.loads(path.read_text())
    return Manifest(
        kind=document["kind"],
        title=document["title"],
        description=document["description"],
        settings=document["settings"],
        credentials=document["credentials"],
        provides=document["provides"],
    )


def _errors(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[FieldError]:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  only to validate

    for error in Draft202012Validator(schema).iter_errors(value):
        path = at + "".join(f"/{step}" for step in error.absolute_path)
        yield from _explain(error, path, schema)


def _explain(error: Any, path: str, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    """Explain what was expected. jsonschema's own message quotes the value, which may be a secret."""
    match error.validator:
        case "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            # jsonschema reports each missing field separately; only its text says which one this is.
            yield from (FieldError(f"{path}/{name}", "is missing") for name in missing if f"{name!r}" in error.message)
        case "additionalProperties":
            known = ", ".join(schema["properties"])
            unknown = sorted(set(error.instance) - set(schema["properties"]))
            yield from (FieldError(f"{path}/{name}", f"is not known; known fields: {known}") for name in unknown)
        case rule:
            examples = error.schema.get("examples")
            example = f", for example {json.dumps(examples[0])}" if examples else ""
            yield FieldError(path, f"must have {rule} {json.dumps(error.validator_value)}{example}")
