"""The secrets of a local stack: made up at its first start, kept in one file that only its owner can read."""

from __future__ import annotations

import base64
import secrets as random_source
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from crossdock.client.errors import StackError
from crossdock.stack.home import home, read_json, write_json


@dataclass(frozen=True)
class Secrets:
    """Everything secret about a local stack. Its repr shows names only, so that no log can print a value."""

    #: Encrypts connections in Airflow's metadata.
    fernet_key: str = field(repr=False)
    #: Signs the tokens of people and tasks; HS512 wants 64 bytes.
    jwt_secret: str = field(repr=False)
    #: Signs Airflow's sessions and log links.
    api_secret_key: str = field(repr=False)
    #: The superusers of the two servers; only `up` uses them, to make roles and databases.
    metadata_superuser_password: str = field(repr=False)
    hub_superuser_password: str = field(repr=False)
    #: The roles `airflow` and `hub`, each owner of one database and nothing else.
    metadata_password: str = field(repr=False)
    hub_password: str = field(repr=False)
    #: Airflow's people: admin, otto (operator), vera (viewer).
    admin_password: str = field(repr=False)
    otto_password: str = field(repr=False)
    vera_password: str = field(repr=False)
    #: What the hub shows the sandbox's token endpoint.
    sandbox_client_secret: str = field(repr=False)


def secrets_file() -> Path:
    return home() / "secrets.json"


def load_secrets() -> Secrets:
    """
    The secrets of this stack; made up and written (mode 0600) where they are missing.

    A secret added by a newer version is made up alone: the others stay, or the databases could not be opened.
    """
    known = read_json(secrets_file())
    if known is None and secrets_file().exists():
        raise StackError(
            f"{secrets_file()} is not readable JSON, and the databases cannot be opened without it. "
            f"Bring it back from a copy, or start afresh: ./hub down, then delete {home()}."
        )
    known = known or {}
    secrets = Secrets(**{each.name: known.get(each.name) or _new(each.name) for each in fields(Secrets)})
    if asdict(secrets) != known:
        write_json(secrets_file(), asdict(secrets))
    return secrets


def airflow_login(user: str = "admin") -> tuple[str, str]:
    """Name and password of one of Airflow's people. The only way a secret leaves the store for a person's eyes."""
    return user, str(getattr(load_secrets(), f"{user}_password"))


def _new(name: str) -> str:
    if name == "fernet_key":
        return base64.urlsafe_b64encode(random_source.token_bytes(32)).decode()
    if name.endswith("_password"):
        return random_source.token_urlsafe(18)
    return random_source.token_urlsafe(64)
