"""The roles of the hub, and who asks. What Airflow calls the roles, and which includes which, `api.access` knows."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"
    #: A business user: executes what others defined.
    USER = "user"
    #: Defines and tests.
    DEVELOPER = "developer"
    #: Deploys, replays, connects systems.
    OPERATOR = "operator"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """The authenticated person or program that sends a request."""

    name: str
    #: Every role that the caller has; empty for a user of Airflow without a role in the hub.
    roles: frozenset[Role]

    @property
    def actor(self) -> str:
        """The caller's name in the audit trail."""
        return f"airflow:{self.name}"
