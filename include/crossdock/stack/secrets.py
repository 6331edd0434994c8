"""The secrets of a local stack: generated at its first start, kept in one file that only its owner can read."""

from __future__ import annotations

import base64
import secrets as random_source
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from crossdock.client.errors import StackError
from crossdock.stack.home import home, read_json, write_json


@dataclass(frozen=True)
class Secrets:
    """All secrets of a local stack. The repr shows names only, so that no log can print a value."""

    #: Encrypts connections in Airflow's metadata.
    fernet_key: str = field(repr=False)
    #: Signs the tokens of people and tasks; HS512 wants 64 bytes.
    jwt_secret: str = field(repr=False)
    #: Signs Airflow's sessions and log links.
    api_secret_key: str = field(repr=False)
    #: The superusers of the two servers; only `up` uses them, to create roles and databases.
    metadata_superuser_password: str = field(repr=False)
    hub_superuser_password: str = field(repr=False)
    #: The roles `airflow` and `hub`; each owns one database and nothing else.
    metadata_password: str = field(repr=False)
    hub_password: str = field(repr=False)
    #: The role `hub_reader`, which reads the views for analysts and nothing else.
    reader_password: str = field(repr=False)
    #: Airflow's users: admin, otto (operator), vera (viewer).
    admin_password: str = field(repr=False)
    otto_password: str = field(repr=False)
    vera_password: str = field(repr=False)
    #: The hub's credential at the sandbox's token endpoint, and at the simulated mail systems.
    sandbox_client_secret: str = field(repr=False)
    #: By which the stack's servers prove that they are its own: see `core.stack_proof`. It is never sent.
    stack_key: str = field(repr=False)


def secrets_file() -> Path:
    return home() / "secrets.json"


def load_secrets() -> Secrets:
    """
    Read the secrets of this stack; generate and save (mode 0600) those that are missing.

    When a newer version adds a secret, the others stay: the databases could not be opened with new ones.
    """
    known = read_json(secrets_file())
    if known is None and secrets_file().exists():
        raise StackError(
            f"{secrets_file()} is not readable JSON, and the databases cannot be opened without it. "
            f"Restore it from a backup, or start over: ./hub down, then delete {home()}."
        )
    known = known or {}
    secrets = Secrets(**{field.name: known.get(field.name) or _new(field.name) for field in fields(Secrets)})
    if asdict(secrets) != known:
        write_json(secrets_file(), asdict(secrets))
    return secrets


def airflow_login(user: str = "admin") -> tuple[str, str]:
    """Read the name and password of one of Airflow's users. No other function shows a secret to a person."""
    return user, str(getattr(load_secrets(), f"{user}_password"))


def _new(name: str) -> str:
    if name == "fernet_key":
        return base64.urlsafe_b64encode(random_source.token_bytes(32)).decode()
    if name.endswith("_password"):
        return random_source.token_urlsafe(18)
    return random_source.token_urlsafe(64)
