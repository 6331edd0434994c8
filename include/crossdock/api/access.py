"""
Who may ask what: Airflow's token → Airflow's user → our role → the guard of a route.

Airflow mounts a plugin's app bare, so a route without a guard would be open to everybody: `routing.guarded`
refuses to start an app that has one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException, Request
from fastapi.params import Depends
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials
from starlette.routing import BaseRoute

from crossdock.api.problems import Problem
from crossdock.core.settings import settings

log = logging.getLogger(__name__)


class Role(StrEnum):
    VIEWER = "viewer"
    #: Business: starts what others defined.
    USER = "user"
    #: Defines and tests.
    DEVELOPER = "developer"
    #: Deploys, replays, connects systems.
    OPERATOR = "operator"
    ADMIN = "admin"


#: Airflow's name of a role, in lower case, and ours. The simple auth manager has viewer, user, op and admin; FAB has
#: Viewer, User, Op and Admin and whatever an installation adds, of which `Developer` is ours. Any other gives nothing.
ROLE_OF = {
    "viewer": Role.VIEWER,
    "user": Role.USER,
    "developer": Role.DEVELOPER,
    "op": Role.OPERATOR,
    "admin": Role.ADMIN,
}

#: As whom each role may act: viewer < user, developer, operator < admin.
ACTS_AS = {
    Role.VIEWER: frozenset({Role.VIEWER}),
    Role.USER: frozenset({Role.VIEWER, Role.USER}),
    Role.DEVELOPER: frozenset({Role.VIEWER, Role.USER, Role.DEVELOPER}),
    Role.OPERATOR: frozenset({Role.VIEWER, Role.USER, Role.OPERATOR}),
    Role.ADMIN: frozenset(Role),
}


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    name: str
    #: All that the caller may act as; empty for somebody whom Airflow knows and the hub does not.
    roles: frozenset[Role]

    @property
    def actor(self) -> str:
        """For the audit trail."""
        return f"airflow:{self.name}"


class Guard:
    """A dependency that lets through who has one of *roles*; admin has them all."""

    def __init__(self, *roles: Role) -> None:
        self.roles = roles

    async def __call__(self, request: Request) -> Caller:
        """
        The caller.

        Raises:
            Problem: 401 without a good token, 403 without the role, or for a change from a foreign page.

        """
        caller: Caller | None = getattr(request.state, "caller", None)
        if caller is None:
            caller = request.state.caller = await _caller_of(request)
        if caller.roles.isdisjoint(self.roles):
            raise _forbidden(caller, self.roles)
        return caller


def guard(*roles: Role) -> Any:
    """What a route has in its `dependencies`, or as the default of its `caller`: one of *roles*, or admin."""
    return Depends(Guard(*roles))


def guard_of(route: BaseRoute) -> Guard | None:
    """The guard of *route*; None where it has none, as a mounted app has none."""
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
    """Airflow's user behind the bearer token, or else behind the session cookie of its UI."""
    from airflow.api_fastapi.core_api.security import get_user  # noqa: PLC0415  this room is imported by all of Airflow

    bearer = _bearer(request)
    try:
        return await get_user(request, None, bearer)
    except HTTPException as error:
        # Airflow says 403 of a token that it cannot read. To us both are the same: nobody we know.
        raise _unauthorised(str(error.detail)) from None
    except Exception as error:  # noqa: BLE001  auth managers raise what they like
        # A token that names a person who is gone, or is no token at all.
        log.warning("A token was refused: %s", type(error).__name__)
        raise _unauthorised("Invalid token") from None


def _bearer(request: Request) -> HTTPAuthorizationCredentials | None:
    headers = request.headers.getlist("authorization")
    if not headers:
        _refuse_foreign_page(request)
        return None
    scheme, _, token = headers[0].partition(" ")
    if len(headers) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise _unauthorised("Exactly one `Authorization: Bearer …` is expected")
    return HTTPAuthorizationCredentials(scheme=scheme, credentials=token.strip())


def _refuse_foreign_page(request: Request) -> None:
    """A browser sends the session's cookie with requests of other pages too; a change must come from our own."""
    if request.method in {"GET", "HEAD", "OPTIONS"} or not request.cookies:
        return
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if not origin or origin != request.headers.get("host"):
        raise Problem(HTTPStatus.FORBIDDEN, "foreign-page", "A change with a cookie must come from the hub's own page")


def _airflow_roles(user: Any) -> Iterator[str]:
    """What the auth manager calls the user's roles: one name (simple), or a list of them (FAB)."""
    if isinstance(role := getattr(user, "role", None), str):
        yield role
    for each in getattr(user, "roles", None) or ():
        yield str(getattr(each, "name", each))


def _unauthorised(detail: str) -> Problem:
    return Problem(
        HTTPStatus.UNAUTHORIZED,
        "unauthorised",
        f"{detail}. Send a token of Airflow's POST /auth/token as `Authorization: Bearer …`",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _forbidden(caller: Caller, needed: tuple[Role, ...]) -> Problem:
    wanted = " or ".join(needed)
    return Problem(HTTPStatus.FORBIDDEN, "forbidden", f"{caller.name} is no {wanted}. An administrator gives roles")
