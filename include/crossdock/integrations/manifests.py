"""
The kinds of integration that there are: each a connector with its settings and credentials as JSON Schema.

A kind is a file `manifest.json` in its connector's folder. The registry validates with it, the API serves it, and
Airflow's own form of a connection is made from it (`provider`), so the three cannot differ. `x-connection` says where
in an Airflow connection a field lies.
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
from crossdock.integrations.model import FieldError, Probe, SettingsInvalid

_FOLDER = Path(__file__).parents[1] / "connectors"


@dataclass(frozen=True)
class Kind:
    """One connector, as somebody who wants to connect it sees it."""

    kind: str
    title: str
    description: str
    #: JSON Schemas (2020-12) of what may be seen, and of what is secret.
    settings: Mapping[str, Any]
    credentials: Mapping[str, Any]
    #: `module:class` of what answers a test's questions; loaded when a test is made.
    probe_class: str

    def refuse_invalid(self, settings: Mapping[str, Any], credentials: Mapping[str, Any] | None) -> None:
        """
        Nothing, when *settings* and *credentials* (where they are given) keep their schemas.

        Raises:
            SettingsInvalid: every place that does not, with what was expected there; never the value.

        """
        errors = list(_errors(self.settings, settings, "/settings"))
        if credentials is not None:
            errors += _errors(self.credentials, credentials, "/credentials")
        if errors:
            raise SettingsInvalid(self.title, errors)

    def refuse_invalid_credentials(self, credentials: Mapping[str, Any]) -> None:
        """
        The same for *credentials* alone.

        Raises:
            SettingsInvalid: every place that does not.

        """
        if errors := list(_errors(self.credentials, credentials, "/credentials")):
            raise SettingsInvalid(self.title, errors)

    def connection(self, connection_id: str, settings: Mapping[str, Any], credentials: Mapping[str, Any]) -> Connection:
        """The Airflow connection that holds both."""
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

    def changed(self, known: Connection, changed: Connection) -> Connection:
        """*changed* with what else *known* has in its extra: somebody put it there who knows more than this kind."""
        own = {*self.settings["properties"], *self.credentials["properties"]}
        others = {name: value for name, value in known.extra.items() if name not in own}
        return msgspec.structs.replace(changed, extra={**others, **changed.extra})

    def settings_of(self, connection: Connection) -> dict[str, Any]:
        """What of *connection* may be seen. A field that the kind does not know is left out: it may be a secret."""
        return self._fields_of(connection, self.settings)

    def credentials_of(self, connection: Connection) -> dict[str, Any]:
        return self._fields_of(connection, self.credentials)

    def probe(self, connection: Connection) -> Probe:
        """
        What answers a test's questions about *connection*.

        Raises:
            BadRequest: the connection lacks what is needed to ask at all.

        """
        module, _, name = self.probe_class.partition(":")
        found: Probe = getattr(import_module(module), name)(connection)
        return found

    @staticmethod
    def _fields_of(connection: Connection, schema: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, field in schema["properties"].items():
            place = field["x-connection"]
            # As it is called: a connection that somebody made may have scheme and port in fields of their own.
            place = "url" if place == "host" else place
            value = connection.extra.get(name) if place == "extra" else getattr(connection, place)
            if value not in (None, ""):
                found[name] = value
        return found


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind by its name."""
    found = (_read(path) for path in sorted(_FOLDER.glob("*/manifest.json")))
    return {kind.kind: kind for kind in found}


def kind_named(name: str) -> Kind:
    """
    The kind of that name.

    Raises:
        SettingsInvalid: there is none; the message names those there are.

    """
    if name not in kinds():
        raise SettingsInvalid("an integration", [FieldError("/kind", f"must be one of {', '.join(kinds())}")])
    return kinds()[name]


def _read(path: Path) -> Kind:
    document = json.loads(path.read_text())
    return Kind(
        kind=document["kind"],
        title=document["title"],
        description=document["description"],
        settings=document["settings"],
        credentials=document["credentials"],
        probe_class=document["probe"],
    )


def _errors(schema: Mapping[str, Any], value: Any, at: str) -> Iterator[FieldError]:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415  only who changes one

    for error in Draft202012Validator(schema).iter_errors(value):
        path = at + "".join(f"/{step}" for step in error.absolute_path)
        yield from _told(error, path, schema)


def _told(error: Any, path: str, schema: Mapping[str, Any]) -> Iterator[FieldError]:
    """What was expected. jsonschema's own message quotes the value, and that may be a secret."""
    match error.validator:
        case "required":
            missing = [name for name in error.validator_value if name not in error.instance]
            # One error a field, though jsonschema reports each on its own: whichever this is, its text names it.
            yield from (FieldError(f"{path}/{name}", "is missing") for name in missing if f"{name!r}" in error.message)
        case "additionalProperties":
            known = ", ".join(schema["properties"])
            unknown = sorted(set(error.instance) - set(schema["properties"]))
            yield from (FieldError(f"{path}/{name}", f"is not known; known are {known}") for name in unknown)
        case rule:
            examples = error.schema.get("examples")
            such = f", as {json.dumps(examples[0])}" if examples else ""
            yield FieldError(path, f"must have {rule} {json.dumps(error.validator_value)}{such}")
