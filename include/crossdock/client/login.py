"""Which hub a command speaks to and as whom: the environment, or the file that `./hub login` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from crossdock.client.airflow import AirflowApi
from crossdock.core.errors import BadRequest

URL, TOKEN, USER, PASSWORD = "HUB_URL", "HUB_TOKEN", "HUB_USER", "HUB_PASSWORD"
#: Was the way of the commands to a deployed hub: without a login, without roles, and with a name that nobody checked.
RETIRED = "HUB_DATABASE_URL"


@dataclass(frozen=True)
class Login:
    """A hub's address and the caller's credential there: a token, or a name and password. The repr shows no secret."""

    url: str
    user: str = ""
    token: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of_environment(cls, environment: Mapping[str, str], *, url: str | None = None) -> Self | None:
        """
        Read HUB_URL with HUB_TOKEN, or with HUB_USER and HUB_PASSWORD. None where HUB_URL is not set.

        The credential may be missing: the login file may have one for this address.

        Args:
            environment: The variables.
            url: The address that the command itself names. A credential without HUB_URL is for this one; a credential with
                another HUB_URL is not, and is not read.

        Raises:
            BadRequest: HUB_DATABASE_URL is set, or a credential without an address: whoever set it would act as somebody else.

        """
        if environment.get(RETIRED):
            raise BadRequest(
                f"{RETIRED} is no longer used: commands call the hub's API as a user of its Airflow. Set {URL} to the address "
                f"of Airflow and log in (./hub login), or set {USER} and {PASSWORD}, or {TOKEN}"
            )
        named = environment.get(URL, "").rstrip("/")
        address = (url or named).rstrip("/")
        given = [name for name in (USER, PASSWORD, TOKEN) if environment.get(name)]
        if not address and given:
            raise BadRequest(
                f"{' and '.join(given)} without {URL}: the login is for no hub. Set {URL} to the address of the hub's Airflow; "
                f"or unset {' and '.join(given)} to use ./hub login or the local stack"
            )
        if not address:
            return None
        if url and named and address != named:
            return cls(address)
        return cls(
            address,
            environment.get(USER, ""),
            environment.get(TOKEN) or None,
            environment.get(PASSWORD) or None,
        )

    @classmethod
    def of_file(cls, path: Path) -> Self | None:
        """Read the login file; None where there is none."""
        try:
            found = json.loads(path.read_text())
            return cls(str(found["url"]), str(found["user"]), str(found["token"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @property
    def is_complete(self) -> bool:
        """Whether it has a credential."""
        return bool(self.token or (self.user and self.password))

    def airflow(self) -> AirflowApi:
        """Build the client of the Airflow that serves this hub."""
        return AirflowApi(self.url, self.user, self.password, token=self.token)
