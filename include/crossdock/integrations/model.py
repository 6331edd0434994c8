"""
The terms of an integration: its record, its settings and credentials, and the result of a connection test.

Everybody who may see the hub may see settings. Credentials are kept only in Airflow's connections or its secrets
backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from crossdock.core.errors import BadRequest, Terminal
from crossdock.http.connection import Connection

#: Valid integration IDs; the ID also names its Airflow connection, and a declared integration's file and DAG.
INTEGRATION_ID = r"^[a-z][a-z0-9_]{1,62}$"


class IntegrationState(StrEnum):
    ACTIVE = "active"
    #: Its syncs end at once and read nothing until it is resumed.
    PAUSED = "paused"


class Integration(msgspec.Struct, frozen=True, kw_only=True):
    """One external system that this hub is connected to."""

    integration_id: str
    #: Which connector it uses: the `kind` of a manifest.
    kind: str
    name: str
    state: IntegrationState
    #: Valid under the manifest's JSON Schema. Never a secret.
    settings: Mapping[str, Any]
    #: The Airflow connection that holds its credentials.
    connection_id: str
    #: Increases with every change; the ETag of the API.
    version: int
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    #: When the hub last wrote the credentials; None if they come from a secrets backend or the environment.
    credentials_set_at: datetime | None = None
    #: The last connection test, and whether all its checks passed; None before the first.
    tested_at: datetime | None = None
    test_passed: bool | None = None


class ConnectionStore(Protocol):
    """Stores connections: in Airflow in the api-server, in a dictionary in a test."""

    def get(self, connection_id: str) -> Connection | None:
        """Find the connection with its secrets, wherever Airflow keeps it; None if it does not exist."""
        ...

    def create(self, connection: Connection) -> None:
        """
        Store a new connection.

        Raises:
            Conflict: a connection of that ID exists.

        """
        ...

    def replace(self, connection: Connection) -> None:
        """
        Replace all values of the connection of that ID.

        Raises:
            NotFound: Airflow's own table has no such connection; it may come from the environment or a secrets backend.

        """
        ...

    def remove(self, connection_id: str) -> None:
        """Delete the connection of that ID, if it exists. Safe to repeat."""
        ...


class CheckOutcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    #: An earlier check failed, or the check does not apply.
    SKIPPED = "skipped"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one check of a connection test."""

    #: address, tls, credentials, scope or sample.
    name: str
    outcome: CheckOutcome
    duration_ms: int
    #: What was found, in one sentence. Contains no secret and no value of a record.
    message: str
    #: What a person can do about a failure; None if there is nothing to do.
    hint: str | None = None


class ConnectionTest(Protocol):
    """The checks that a connector provides. Each returns a sentence, or raises a HubError."""

    #: The URL of the system; the address and TLS checks connect to it.
    url: str

    def credentials(self) -> str:
        """Check that the system accepts the credentials."""
        ...

    def scope(self) -> str:
        """Check that the credentials grant the scopes the syncs need."""
        ...

    def sample(self) -> str:
        """Read one record."""
        ...


class FieldError(msgspec.Struct, frozen=True):
    """One error at one place of a document."""

    #: JSON pointer (RFC 6901): `/settings/project`.
    pointer: str
    message: str


class SettingsInvalid(BadRequest):
    """The connector's JSON Schema refuses the settings or credentials; `errors` names every place."""

    def __init__(self, kind: str, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        where = "; ".join(f"{error.pointer}: {error.message}" for error in self.errors)
        super().__init__(f"Invalid settings for {kind}: {where}")


class TestRefused(Terminal):
    """The connection failed its test, so nothing was stored; `checks` says which check failed and what to do."""

    __test__ = False  # not a test for pytest to collect

    def __init__(self, integration_id: str, checks: Sequence[Check]) -> None:
        self.checks = tuple(checks)
        failed = next(check for check in checks if check.outcome is CheckOutcome.FAILED)
        super().__init__(
            f"Nothing was stored: the connection of {integration_id} failed the check {failed.name!r}: {failed.message}"
        )
