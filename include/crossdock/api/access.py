"""
Access control: Airflow's token → Airflow's user → our role → the guard of a route.

Airflow mounts a plugin's app bare, so a route without a guard would be open to everybody: `routing.guarded`
refuses to start an app that has one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials
from starlette.routing import BaseRoute

from crossdock.api.airflow_lookups import AirflowUnavailable, is_of_airflows_database, lookups
from crossdock.api.problems import Problem
from crossdock.core.log import logger
from crossdock.core.roles import Caller, Role
from crossdock.core.settings import settings

log = logger(__name__)

#: No token is accepted unseen: whether one was revoked, only Airflow's database says.
_WHAT = "it says whether a token is still valid"


#: Airflow's name of a role in lower case → ours. The simple auth manager has viewer, user, op and admin; FAB has Viewer,
#: User, Op and Admin, and whatever an installation adds: `Developer` is ours. Any other role grants nothing.
ROLE_OF = {
    "viewer": Role.VIEWER,
    "user": Role.USER,
    "developer": Role.DEVELOPER,
    "op": Role.OPERATOR,
    "admin": Role.ADMIN,
}

#: The roles that each role includes: viewer < user, developer, operator < admin.
ACTS_AS = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.USER: frozenset({Role.VIEWER, Role.USER}),
    Role.DEVELOPER: frozenset({Role.VIEWER, Role.USER, Role.DEVELOPER}),
    Role.OPERATOR: frozenset({Role.VIEWER, Role.USER, Role.OPERATOR}),
    Role.ADMIN: frozenset(Role),
}


#: Airflow's name of the cookie with the session's token.
_SESSION_COOKIE = "_token"


class Guard:
    """A dependency that admits callers with one of *roles*. Admin has them all."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Caller:
        """
        Authenticate the caller, and check the role.

        Raises:
            Problem: 401 without a valid token; 403 without the role, or for a change sent by a page of another site (CSRF).

        """
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is None:
            caller = request.state.caller = await _caller_of(request)
        refuse_without(caller, *self.roles)
        return caller


def credential_of(request: Request) -> str:
    """Return what *request* was authenticated by: the header, or the token in the session's cookie. Empty without either."""
    return request.headers.get("authorization") or request.cookies.get(_SESSION_COOKIE, "")


def refuse_without(caller: Caller, *roles: Role) -> None:
    """
    Require one of *roles* where the guard of a route admits more, because the request decides.

    Raises:
        Problem: 403, the caller has none of them.

    """
    if caller.roles.isdisjoint(roles):
        raise _forbidden(caller, roles)


def guard(*roles: Role) -> Any:
    """Require one of *roles*, or admin: for a route's `dependencies`, or as the default of its `caller`."""
    return Depends(Guard(*roles))


def guard_of(route: BaseRoute) -> Guard | None:
    """Find the guard of *route*. None where there is none, as with a mounted app."""
    if not isinstance(route, APIRoute):
        return None
    return next((call for call in _calls(route) if isinstance(call, Guard)), None)


def _calls(route: APIRoute) -> Iterator[Any]:
    for dependency in route.dependant.dependencies:
        yield dependency.call


async def _caller_of(request: Request) -> Caller:
    user = await _airflow_user(request)
    named = {name.lower() for name in _airflow_roles(user)}
    if user.get_name() in settings().developer_names:
        named.add(Role.DEVELOPER.value)
    roles = frozenset[Role]().union(*(ACTS_AS[ROLE_OF[name]] for name in named if name in ROLE_OF))
    return Caller(user.get_name(), roles)


async def _airflow_user(request: Request) -> Any:
    """Identify Airflow's user by the bearer token, or else by the session cookie of its UI."""
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415  this room is imported by all of Airflow

    bearer = _bearer(request)
    try:
        # In a thread, with a loop of its own: inside, it asks Airflow's database with blocking calls.
        user = await lookups().ask(_WHAT, lambda: asyncio.run(get_user(request, None, bearer)))
    except AirflowUnavailable:
        raise
    except HTTPException as error:
        # Airflow answers 403 for a token that it cannot read. For us the caller is unknown either way.
        raise _unauthorised(str(error.detail)) from None
    except Exception as error:  # auth managers raise anything
        if is_of_airflows_database(error):
            raise AirflowUnavailable(_WHAT) from error
        # The token names a person who is gone, or is not a token at all.
        log.warning("A token was refused: %s", type(error).__name__)
        raise _unauthorised("Invalid token") from None
    if not _still_has_role(user):
        raise _unauthorised("The user of this token was removed, or has another role now")
    return user


def _still_has_role(user: Any) -> bool:
    """
    Check a user of the simple auth manager against its settings: it reads names and roles from the token alone.

    FAB looks its users up for each request.
    """
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager  # noqa: PLC0415
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415
    from airflow.configuration import conf  # noqa: PLC0415

    if not isinstance(user, SimpleAuthManagerUser) or conf.getboolean("core", "simple_auth_manager_all_admins"):
        return True
    known = {known.username: (known.role or "").upper() for known in SimpleAuthManager.get_users()}
    return known.get(user.username) == (user.role or "").upper()


def _bearer(request: Request) -> HTTPAuthorizationCredentials | None:
    headers = request.headers.getlist("authorization")
    if not headers:
        _refuse_cross_site(request)
        return None
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise _unauthorised("Send exactly one `Authorization: Bearer …` header")
    return HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip())


def _refuse_cross_site(request: Request) -> None:
    """Refuse a cross-site request (CSRF): a browser sends the session's cookie with requests of other sites' pages too."""
    if request.method in {"GET", "HEAD", "OPTIONS"} or not request.cookies:
        return
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if not origin or origin not in {request.headers.get("host"), urlsplit(own_url()).netloc}:
        raise Problem(
            HTTPStatus.FORBIDDEN, "foreign-page", "A change with the session cookie must come from the hub's own pages"
        )


def own_url() -> str:
    """Read where browsers find Airflow: a proxy before it may give its requests another Host. Empty if nobody has set it."""
    from airflow.configuration import conf  # noqa: PLC0415  as above

    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def _airflow_roles(user: Any) -> Iterator[str]:
    """List the user's roles as the auth manager names them: one (simple), or several (FAB)."""
    if isinstance(role := getattr(user, "role", None), str):
        yield role
    for assigned in getattr(user, "roles", None) or ():
        yield str(getattr(assigned, "name", assigned))


def _unauthorised(detail: str) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorised",
        f"{detail}. Send a token of Airflow's POST /auth/token as `Authorization: Bearer …`",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _forbidden(caller: Caller, needed: tuple[Role, ...]) -> Problem:
    roles = " or ".join(needed)
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", f"{caller.name} needs the {roles} role. Ask an administrator")
