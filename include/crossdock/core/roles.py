"""The roles of the hub. What Airflow calls them, and which includes which, `api.access` knows."""

from __future__ import annotations

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
