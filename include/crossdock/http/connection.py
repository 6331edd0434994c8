"""An external system's address and credentials, as its Airflow connection holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId

_PORTS = {"http": 80, "https": 443}


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """
    An Airflow connection with its secrets in clear text: pass it to a connector, never to a response, a log or a table.

    Besides the connector's own fields, its extra may hold what `crossdock.http.config` reads there.
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
        """The host with scheme and port, without a trailing slash; empty if no host is set."""
        host = (self.host or "").rstrip("/")
        if host and "://" not in host:  # a connection given as a URI has its scheme in `schema`
            host = f"{self.schema or 'https'}://{host}"
        return f"{host}:{self.port}" if host and self.port else host

    def text(self, name: str, default: str = "") -> str:
        """Read the field *name* of the extra as text."""
        return str(self.extra.get(name) or default)

    def require(self, **fields: Any) -> None:
        """
        Refuse a connection in which one of *fields* is empty; `extra__project` names a field of the extra.

        Raises:
            BadRequest: some fields are empty; the message names all of them.

        """
        if missing := [name.replace("__", ".") for name, value in fields.items() if not value]:
            raise BadRequest(
                f"The Airflow connection {self.connection_id!r} has no {', '.join(missing)}: set it under Admin → "
                "Connections, or change the integration",
                hint=Hint(HintId.CHANGE_SETTINGS, self.connection_id),
            )


def canonical(url: str) -> str:
    """
    Write *url* in one spelling: lower case, without the scheme's own port and without a trailing slash.

    Any other text, such as a path, is returned as it is.
    """
    try:
        parts = parse_url(url)
    except LocationParseError:
        return url
    if not parts.scheme or not parts.host:
        return url
    port = None if parts.port == _PORTS.get(parts.scheme) else parts.port
    return str(parts._replace(port=port, path=(parts.path or "").rstrip("/") or None))
