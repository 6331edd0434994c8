"""How a declared system's requests are signed, with what its Airflow connection holds."""

from __future__ import annotations

from requests.auth import AuthBase

from include.connectors.auth import ApiKey, Basic
from include.connectors.conditions import Conditions
from include.connectors.http import HttpClient
from include.connectors.jwt_bearer import JwtBearer, JwtSigner
from include.connectors.oauth import ClientCredentials
from include.model import remedies
from include.model.declared import Declaration
from include.model.errors import BadRequest
from include.model.integration import Connection

#: The kinds that need the connection's login beside its password.
_WITH_LOGIN = frozenset({"basic", "jwt", "oauth2"})


def signer(declaration: Declaration, connection: Connection, base_url: str, conditions: Conditions) -> AuthBase | None:
    """
    What signs the requests; None for a system that asks for nothing.

    Raises:
        BadRequest: the connection lacks what the declared kind of authentication needs, or it cannot be sent.

    """
    auth = declaration.auth
    if auth.kind == "none":
        return None
    login, secret = connection.login or "", connection.password or ""
    if not secret or (auth.kind in _WITH_LOGIN and not login):
        needed = "login and password" if auth.kind in _WITH_LOGIN else "password"
        raise BadRequest(
            f"{declaration.name} signs in by {auth.kind}, so its Airflow connection {connection.connection_id!r} needs "
            f"{needed}",
            remedy=remedies.connect_declared(declaration.name),
        )
    match auth.kind:
        case "basic":
            return Basic(login, secret)
        case "bearer":
            return ApiKey(secret, header="Authorization", prefix="Bearer")
        case "api_key":
            return ApiKey(secret, header=auth.header, prefix=auth.prefix)
        case "jwt":
            return JwtBearer(JwtSigner(secret, auth.algorithm, issuer=login), audience=auth.audience or base_url)
    tokens = HttpClient(declaration.name, base_url, conditions=conditions.for_tokens())
    return ClientCredentials(
        tokens,
        auth.token_path,
        client_id=login,
        secret=secret,
        scope=auth.scope,
        vault=conditions.safeguards.vault,
    )
