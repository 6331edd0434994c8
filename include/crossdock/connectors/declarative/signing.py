"""Sign a declared system's requests with the credentials of its Airflow connection."""

from __future__ import annotations

from requests.auth import AuthBase

from crossdock.connectors.declarative.model import Declaration
from crossdock.core.errors import BadRequest
from crossdock.core.hints import Hint, HintId
from crossdock.http.auth import ApiKey, Basic
from crossdock.http.client import HttpClient
from crossdock.http.config import ClientConfig
from crossdock.http.connection import Connection, canonical
from crossdock.http.jwt_bearer import JwtBearer, JwtSigner
from crossdock.http.oauth import ClientCredentials
from crossdock.integrations.manifests import GIVEN_FOR

#: The kinds of authentication that need the connection's login as well as its password.
_WITH_LOGIN = frozenset({"basic", "jwt", "oauth2"})


def needed_credentials(declaration: Declaration) -> tuple[str, ...]:
    """Name the credentials of the manifest that the declared authentication needs; none for a system without any."""
    if declaration.auth.kind == "none":
        return ()
    return ("user", "secret") if declaration.auth.kind in _WITH_LOGIN else ("secret",)


def base_url_of(declaration: Declaration, connection: Connection) -> str:
    """Choose the connection's host, or else the declared one."""
    return connection.url or declaration.base_url.rstrip("/")


def signer_of(declaration: Declaration, connection: Connection, base_url: str, config: ClientConfig) -> AuthBase | None:
    """
    Create the signer of the requests; None for a system without authentication.

    Raises:
        BadRequest: the connection lacks a value that the declared authentication needs, or the value cannot be sent.

    """
    auth = declaration.auth
    if auth.kind == "none":
        return None
    _refuse_other_destination(declaration, connection)
    login, secret = connection.login or "", connection.password or ""
    if not secret or (auth.kind in _WITH_LOGIN and not login):
        needed = "login and password" if auth.kind in _WITH_LOGIN else "password"
        raise BadRequest(
            f"{declaration.name} authenticates by {auth.kind}, so its Airflow connection {connection.connection_id!r} "
            f"needs {needed}",
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
    tokens = HttpClient(declaration.name, base_url, config=config.for_token_requests())
    return ClientCredentials(
        tokens,
        auth.token_path,
        client_id=login,
        secret=secret,
        scope=auth.scope,
        vault=config.safeguards.vault,
    )


def destination(declaration: Declaration, connection: Connection) -> str:
    """Describe where the credentials of *connection* are sent: the URL, and the path that issues tokens; a JWT's key nowhere."""
    url = canonical(base_url_of(declaration, connection))
    match declaration.auth.kind:
        case "oauth2":
            return f"{url} {declaration.auth.token_path}"
        case "jwt":
            return f"{url} as a signature alone"
    return url


def _refuse_other_destination(declaration: Declaration, connection: Connection) -> None:
    """Refuse to send credentials elsewhere because the file has changed: whoever changed it may not have known them."""
    given_for, now = connection.text(GIVEN_FOR), destination(declaration, connection)
    if given_for and given_for != now:
        raise BadRequest(
            f"{declaration.name}: the credentials were given for {given_for}, and the declaration would send them to {now}. "
            "If that is right, give them again",
            hint=Hint(HintId.ROTATE_CREDENTIALS, declaration.name),
        )
