"""How a declared system's requests are signed, with what its Airflow connection holds."""

from __future__ import annotations

from requests.auth import AuthBase

from crossdock.connectors.declarative.model import Declaration
from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.http.auth import ApiKey, Basic
from crossdock.http.client import HttpClient
from crossdock.http.jwt_bearer import JwtBearer, JwtSigner
from crossdock.http.oauth import ClientCredentials
from crossdock.http.policy import Conditions
from crossdock.integrations.model import Connection

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
            hint=Hint(HintId.CONNECT_DECLARED, declaration.name),
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
