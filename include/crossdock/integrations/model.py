"""
The words of an integration: what it is, where its settings and secrets lie, what a test of it found.

Settings may be seen by everybody who may see the hub; credentials are in Airflow's connections (or its secrets
backend) and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from crossdock.core.errors import BadRequest, Terminal
from crossdock.core.hints import Hint, HintId

#: What an integration may be called; also its Airflow connection, and a declared one's file and DAG.
INTEGRATION_ID = r"^[a-z][a-z0-9_]{1,62}$"


class IntegrationState(StrEnum):
    ACTIVE = "active"
    #: Its syncs end at once and read nothing, until somebody resumes it.
    PAUSED = "paused"


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """One external system as this hub is connected to it."""

    integration_id: str
    #: Which connector speaks to it: a name in `crossdock.integrations.manifests`.
    kind: str
    name: str
    state: IntegrationState
    #: As the kind's JSON Schema has them. Never a secret.
    settings: Mapping[str, Any]
    #: The Airflow connection that holds its credentials.
    connection_id: str
    #: Counts up with every change; the ETag of the API.
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    #: When the hub last wrote the credentials; None where they came from elsewhere: a secrets backend, the environment.
    credentials_set_at: datetime | None = None
    #: The last test, and whether all its checks held; None before the first.
    tested_at: datetime | None = None
    test_passed: bool | None = None


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """
    An Airflow connection with its secrets in clear: for a connector, never for an answer, a log or a table.

    Its extra may hold, besides what a connector asks for, what `crossdock.http.policy` reads there.
    """

    connection_id: str
    conn_type: str
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = None
    extra: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        return f"Connection({self.connection_id!r}, {self.conn_type!r}, …)"

    @property
    def url(self) -> str:
        """The host with scheme and port, without a trailing slash; empty where there is none."""
        host = (self.host or "").rstrip("/")
        if host and "://" not in host:  # as a connection in the form of a URI has it
            host = f"{self.schema or 'https'}://{host}"
        return f"{host}:{self.port}" if host and self.port else host

    def text(self, name: str, default: str = "") -> str:
        """What the extra holds under *name*."""
        return str(self.extra.get(name) or default)

    def require(self, **fields: Any) -> None:
        """
        Nothing, when each of *fields* has a value; `extra__project` names a field of the extra.

        Raises:
            BadRequest: some are empty; all of them are named.

        """
        if missing := [name.replace("__", ".") for name, value in fields.items() if not value]:
            raise BadRequest(
                f"The Airflow connection {self.connection_id!r} has no {', '.join(missing)}: set it under Admin → "
                "Connections, or change the integration",
                hint=Hint(HintId.CHANGE_SETTINGS, self.connection_id),
            )


class ConnectionStore(Protocol):
    """Where connections are kept. Airflow's, in the api-server; a dictionary in a test."""

    def get(self, connection_id: str) -> Connection | None:
        """The connection with its secrets, from wherever Airflow finds it; None where there is none."""
        ...

    def create(self, connection: Connection) -> None:
        """
        A new connection.

        Raises:
            Conflict: there is one of that id.

        """
        ...

    def replace(self, connection: Connection) -> None:
        """
        The connection of that id with all of these values.

        Raises:
            NotFound: Airflow's own table has none of that id: it comes from the environment or a secrets backend.

        """
        ...

    def remove(self, connection_id: str) -> None:
        """No connection of that id. Safe to repeat."""
        ...


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    #: An earlier check failed, or the question does not arise.
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question that a test of a connection asked."""

    #: address, tls, credentials, scope or sample.
    name: str
    outcome: Outcome
    duration_ms: int
    #: What was found, in a sentence. No secret, no value of a record.
    message: str
    #: What a person can do about a failure; None where there is nothing to do.
    hint: str | None = None


class Probe(Protocol):
    """How a connector answers the questions of a test. Each method gives a sentence, or raises a HubError."""

    #: Where the system is: the URL that the first connection goes to.
    url: str

    def credentials(self) -> str:
        """Whether the system knows us."""
        ...

    def scope(self) -> str:
        """Whether it lets us read what the syncs read."""
        ...

    def sample(self) -> str:
        """Whether one record can be read."""
        ...


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong at one place of a document."""

    #: JSON pointer (RFC 6901): `/settings/project`.
    pointer: str
    message: str


class SettingsInvalid(BadRequest):
    """Settings or credentials that the connector's JSON Schema refuses; `errors` names every place."""

    def __init__(self, kind: str, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        where = "; ".join(f"{each.pointer}: {each.message}" for each in self.errors)
        super().__init__(f"These are not the settings of {kind}: {where}")


class TestRefused(Terminal):
    """The connection did not pass its test, so nothing was stored; `checks` says which failed and what to do."""

    __test__ = False  # not a test for pytest to collect

    def __init__(self, integration_id: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        failed = next(each for each in checks if each.outcome is Outcome.FAILED)
        super().__init__(
            f"Nothing was stored: the connection of {integration_id} failed the check {failed.name!r}: {failed.message}"
        )
