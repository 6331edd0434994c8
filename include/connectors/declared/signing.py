"""How a declared system's requests are signed, with what its Airflow connection holds."""

from __future__ import annotations

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from include.connectors.http import HttpClient
from include.connectors.oauth import ClientCredentials
from include.model.calls import Limits
from include.model.declared import Declaration
from include.model.errors import BadRequest
from include.model.integration import Connection


class _InHeader(AuthBase):
    """A key or a token in a header."""

    def __init__(self, header: str, value: str) -> None:
        if not (value.isascii() and value.isprintable()):
            raise BadRequest(
                "The secret of the connection holds something that no header may: visible ASCII is expected"
            )
        self._header, self._value = header, value

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._header] = self._value
        return request


def signer(declaration: Declaration, connection: Connection, base_url: str, limits: Limits) -> AuthBase | None:
    """
    What signs the requests; None for a system that asks for nothing.

    Raises:
        BadRequest: the connection lacks what the declared kind of authentication needs.

    """
    auth = declaration.auth
    if auth.kind == "none":
        return None
    secret = connection.password
    if not secret or (auth.kind in {"basic", "oauth2"} and not connection.login):
        needed = "login and password" if auth.kind in {"basic", "oauth2"} else "password"
        raise BadRequest(
            f"{declaration.name} signs in by {auth.kind}, so its Airflow connection {connection.connection_id!r} needs "
            f"{needed}: ./hub integration add {declaration.name} --kind declared"
        )
    login = str(connection.login)
    match auth.kind:
        case "basic":
            # As bytes: text that is not Latin-1 fails with an error that shows all of it.
            return HTTPBasicAuth(login.encode(), secret.encode())
        case "bearer":
            return _InHeader("Authorization", f"Bearer {secret}")
        case "api_key":
            return _InHeader(auth.header, f"{auth.prefix} {secret}".strip())
    tokens = HttpClient(declaration.name, base_url, limits=limits)
    return ClientCredentials(tokens, auth.token_path, client_id=login, secret=secret, scope=auth.scope)
