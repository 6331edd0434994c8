"""
Connector manifests: each kind of integration with its settings and credentials as JSON Schema, and its actions.

A manifest is the file `manifest.json` in a connector's folder. The registry validates with it, the API serves it, and
Airflow's connection form is made from it (`provider`), so the three cannot differ. `x-connection` says which field of
an Airflow connection holds a value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import NotFound
from crossdock.http.connection import Connection, canonical
from crossdock.integrations.actions.model import Action
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.model import ConnectionTest, FieldError, SettingsInvalid

prepare(dict[str, Action])

#: Field of a connection's extra: the destination that its credentials were given for.
GIVEN_FOR = "given_for"
#: Field of the same: the connection's own ID. Airflow's Test button tests a connection under an ID that it makes up.
TESTED_AS = "connection_id"
_PACKAGE = Path(__file__).parents[1]
_FOLDER = _PACKAGE / "connectors"


class Quality(StrEnum):
    """What tests prove of a connector; each level includes the one before. `evidence` names the tests."""

    #: It passes the contract suite, on the sandbox.
    BRONZE = "bronze"
    #: What it reads and sends is also validated against the vendor's OpenAPI file or official SDK.
    SILVER = "silver"
    #: Also each writing action has one effect under every fault, resolves its unknown outcome, and is documented.
    GOLD = "gold"


class Judge(msgspec.Struct, frozen=True):
    """Something that others wrote, and that judges capabilities of a connector or of the sandbox that stands in for its vendor."""

    #: Who: the vendor's SDK, its OpenAPI document, a program of others.
    by: str
    #: The capabilities, as `Manifest.capabilities` names them.
    of: tuple[str, ...]
    #: The tests in which it judges, as pytest names them.
    tests: tuple[str, ...]


prepare(tuple[Judge, ...])


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
    #: What it can do besides syncing, by name.
    actions: Mapping[str, Action] = field(default_factory=dict)
    #: What carries out those that a file declares, by name.
    runs: Mapping[str, Any] = field(default_factory=dict)
    #: None if no claim is made.
    quality: Quality | None = None
    #: Level → the tests that prove it, as pytest names them.
    evidence: Mapping[Quality, tuple[str, ...]] = field(default_factory=dict)
    #: What none of them judges, our own sandbox alone has judged.
    judges: tuple[Judge, ...] = ()

    def of_integration(self, integration: str) -> Manifest:
        """
        Add the actions that a file declares for *integration*, if a file decides that.

        Raises:
            NotFound, BadRequest: there is no such file, or it never was valid.

        """
        if "actions" not in self.provides:
            return self
        declared: Mapping[str, tuple[Action, Any]] = self.provided("actions")(integration)
        actions, runs = ({name: pair[place] for name, pair in declared.items()} for place in (0, 1))
        return replace(self, actions=actions, runs=runs)

    def refuse_invalid(self, settings: Mapping[str, Any], credentials: Mapping[str, Any] | None) -> None:
        """
        Validate *settings*, and *credentials* unless they are None, against their schemas.

        Raises:
            SettingsInvalid: names every invalid place and what was expected there; never the value.

        """
        errors = list(errors_in(self.settings, settings, "/settings"))
        if credentials is not None:
            errors += errors_in(self.credentials, credentials, "/credentials")
        if errors:
            raise SettingsInvalid(self.title, errors)

    def refuse_invalid_credentials(self, credentials: Mapping[str, Any]) -> None:
        """
        Validate *credentials* alone.

        Raises:
            SettingsInvalid: names every invalid place.

        """
        if errors := list(errors_in(self.credentials, credentials, "/credentials")):
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

    def credentials_of_integration(self, integration: str) -> Mapping[str, Any]:
        """
        Narrow the schema of the credentials to those that *integration* needs, if a file decides that.

        Raises:
            NotFound, BadRequest: there is no such file, or it is not valid.

        """
        if "needs" not in self.provides:
            return self.credentials
        names = self.provided("needs")(integration)
        properties = {name: self.credentials["properties"][name] for name in names}
        return {**self.credentials, "required": list(names), "properties": properties}

    def preserve_extra(self, known: Connection, changed: Connection) -> Connection:
        """Add to *changed* the fields of *known*'s extra that the schemas do not define: a person set them."""
        own = {*self.settings["properties"], *self.credentials["properties"]}
        others = {name: value for name, value in known.extra.items() if name not in own}
        return msgspec.structs.replace(changed, extra={**others, **changed.extra})

    def identity_of(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Extract the settings that say which system is called: `x-identity` in the schema."""
        fields = self.settings["properties"]
        return {name: settings.get(name) for name in fields if fields[name].get("x-identity")}

    def other_system(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """Name the settings that differ and say which system's records are read: `x-identity` in the schema."""
        now = self.identity_of(after)
        return [name for name, value in self.identity_of(before).items() if value != now[name]]

    def other_destination(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
        """
        Name the settings that would send the credentials elsewhere, or to more hosts: `x-destination` in the schema.

        Another spelling of the same URL is the same destination, and so are fewer allowed networks.
        """
        return [
            name
            for name, field in self.settings["properties"].items()
            if field.get("x-destination")
            and _moves_credentials(*(given.get(name, field.get("default")) for given in (before, after)))
        ]

    def settings_of(self, connection: Connection) -> dict[str, Any]:
        """Extract the visible settings. A field that the schema does not define is left out: it may be a secret."""
        return self._fields_of(connection, self.settings)

    def credentials_of(self, connection: Connection) -> dict[str, Any]:
        return self._fields_of(connection, self.credentials)

    def given_for(self, connection: Connection) -> Connection:
        """
        Add to *connection* where its credentials may be sent, if a file decides that and not the connection alone, and its ID.

        Call it for credentials that a person has just given. Whoever uses them refuses another destination.
        """
        if "destination" not in self.provides:
            return connection
        own = {GIVEN_FOR: self.provided("destination")(connection), TESTED_AS: connection.connection_id}
        return msgspec.structs.replace(connection, extra={**connection.extra, **own})

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

    def action(self, name: str) -> Action:
        """
        Find the action called *name*.

        Raises:
            NotFound: there is none; the message lists the existing ones.

        """
        if name not in self.actions:
            raise NotFound(f"{self.title} has no action {name!r}. Actions: {', '.join(self.actions) or 'none'}")
        return self.actions[name]

    def run_of(self, name: str) -> Any:
        """Find what carries out the action called *name*; import it if it is code."""
        return self.runs[name] if name in self.runs else _imported(self.actions[name].run)

    @property
    def streams(self) -> tuple[Any, ...]:
        """The streams that each integration of this kind has; none if a file or nothing declares them."""
        return tuple(map(_imported, self.provides.get("streams", ())))

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The names of all that can be judged: streams, actions, webhooks, alerts and the connection test."""
        streams = [stream.dataset.name for stream in self.streams]
        declared = ["source"] if "source" in self.provides and not streams else []
        others = [name for name in ("webhook", "alert_channel", "connection_test") if name in self.provides]
        return (*streams, *declared, *self.actions, *others)

    def judges_of(self, capability: str) -> list[str]:
        """Name what judged *capability* besides our own sandbox."""
        return [judge.by for judge in self.judges if capability in judge.of]

    @staticmethod
    def _fields_of(connection: Connection, schema: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for name, declared in schema["properties"].items():
            place = declared["x-connection"]
            # Use the composed URL: a connection made by hand may have scheme and port in fields of their own.
            place = "url" if place == "host" else place
            value = connection.extra.get(name) if place == "extra" else getattr(connection, place)
            if value not in (None, ""):
                found[name] = value
        return found


def _moves_credentials(before: Any, after: Any) -> bool:
    match before or after:
        case list():
            return not set(after or ()) <= set(before or ())
        case str():
            return canonical(before or "") != canonical(after or "")
        case _:  # such as a switch that permits plain text: not given is off
            return bool((before or None) != (after or None))


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


def capability_contract(entry_point: str) -> dict[str, Any]:
    """
    Read what a capability asks of a connector: a JSON file of the subject that needs it, as `module:file`.

    Its `actions` have title, description, kind, input, output, sample and fallback of each; the connector's manifest has
    the rest. What several of them share is in `$defs`, and written out here: each schema is complete by itself.
    """
    module, _, name = entry_point.partition(":")
    contract: dict[str, Any] = json.loads((_PACKAGE.parent / module.replace(".", "/") / name).read_text())
    shared = contract.pop("$defs", {})
    written_out: dict[str, Any] = _written_out(contract, shared)
    return written_out


def _written_out(part: Any, shared: Mapping[str, Any]) -> Any:
    """Replace each reference to what is *shared* by it; one to the `$defs` of a schema's own stays."""
    match part:
        case {"$ref": str(name)} if (known := name.removeprefix("#/$defs/")) in shared:
            return _written_out(shared[known], shared)
        case dict():
            return {name: _written_out(value, shared) for name, value in part.items()}
        case list():
            return [_written_out(value, shared) for value in part]
        case _:
            return part


def _declared_actions(document: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the actions that implement a capability with the form that all connectors share."""
    completed = {}
    for name, declared in document.get("actions", {}).items():
        own = dict(declared)
        if capability := own.pop("implements", None):
            own = capability_contract(document["provides"][capability])["actions"][name] | own
        completed[name] = own
    return completed


def read_manifest(path: Path) -> Manifest:
    """
    Read one manifest file. `manifest.schema.json` has its form, which a test compares with every manifest.

    Raises:
        msgspec.ValidationError: an action is not declared as `Action` says.

    """
    document = json.loads(path.read_text())
    evidence = dict(document.get("evidence", {}))
    judges = msgspec.convert(evidence.pop("judges", []), tuple[Judge, ...])
    return Manifest(
        kind=document["kind"],
        title=document["title"],
        description=document["description"],
        settings=document["settings"],
        credentials=document["credentials"],
        provides=document["provides"],
        actions=msgspec.convert(_declared_actions(document), dict[str, Action]),
        quality=Quality(document["quality"]) if "quality" in document else None,
        evidence={Quality(level): tuple(tests) for level, tests in evidence.items()},
        judges=judges,
    )
