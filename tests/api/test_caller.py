"""Who a caller is, and what that caller may do: from Airflow's user to the guard of a route, without an Airflow."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import HTTPException, Request
from fastapi.security import HTTPAuthorizationCredentials

from crossdock.api.access import Guard
from crossdock.api.problems import Problem
from crossdock.core.roles import Caller, Role
from crossdock.core.settings import settings


class AirflowUser:
    """A user as Airflow's auth managers give it: with a role (simple), or with several (FAB)."""

    def __init__(self, name: str, role: str | None = None, roles: Sequence[str] = ()) -> None:
        self._name, self.role = name, role
        self.roles = [SimpleNamespace(name=each) for each in roles]

    def get_name(self) -> str:
        return self._name


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Airflow, which knows *user*, or raises it, and keeps the tokens that it was asked about."""
    from airflow.api_fastapi.core_api import security  # noqa: PLC0415  seconds

    known = SimpleNamespace(user=AirflowUser("ada", "viewer"), tokens=[])

    async def get_user(_: Request, __: None, bearer: HTTPAuthorizationCredentials | None) -> Any:
        known.tokens.append(bearer and bearer.credentials)
        if isinstance(known.user, Exception):
            raise known.user
        return known.user

    monkeypatch.setattr(security, "get_user", get_user)
    return known


def request(method: str = "GET", **headers: str | list[str]) -> Request:
    raw = [
        (name.encode(), value.encode())
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    ]
    return Request({"type": "http", "method": method, "headers": raw, "path": "/", "query_string": b""})


def caller(*allowed: Role, sent: Request | None = None) -> Caller:
    return asyncio.run(Guard(*(allowed or tuple(Role)))(sent or request(authorization="Bearer token")))


@pytest.mark.parametrize(
    ("role", "acts_as"),
    [
        ("viewer", {"viewer"}),
        ("user", {"viewer", "user"}),
        ("op", {"viewer", "user", "operator"}),
        ("admin", {"viewer", "user", "developer", "operator", "admin"}),
        ("Admin", {"viewer", "user", "developer", "operator", "admin"}),
    ],
)
def test_a_role_of_airflow_is_ours_with_all_that_it_includes(
    airflow: SimpleNamespace, role: str, acts_as: set[str]
) -> None:
    airflow.user = AirflowUser("ada", role)

    assert caller().roles == acts_as
    assert (caller().name, caller().actor) == ("ada", "airflow:ada")


def test_several_roles_are_the_union_and_unknown_ones_grant_nothing(airflow: SimpleNamespace) -> None:
    airflow.user = AirflowUser("ada", roles=["Developer", "Warehouse", "Viewer"])
    assert caller().roles == {"viewer", "user", "developer"}

    airflow.user = AirflowUser("ada", roles=["Warehouse", "operator"])
    with pytest.raises(Problem, match="ada needs the viewer role") as refused:
        caller(Role.VIEWER)
    assert refused.value.status == 403


def test_only_whole_names_are_developers(airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who signs up as `dor` must not have the role of `dora`."""
    monkeypatch.setattr(settings(), "developers", "dora, eve")
    found = []
    for name in ("dora", "eve", "dor", "a, e", ",", ""):
        airflow.user = AirflowUser(name, "viewer")
        if Role.DEVELOPER in caller().roles:
            found.append(name)

    assert found == ["dora", "eve"]


@pytest.mark.parametrize("allowed", [(Role.OPERATOR,), (Role.DEVELOPER, Role.OPERATOR), ()])
def test_a_caller_without_one_of_the_roles_is_refused(airflow: SimpleNamespace, allowed: tuple[Role, ...]) -> None:
    assert airflow.user.role == "viewer"
    sent = request(authorization="Bearer token")

    with pytest.raises(Problem) as refused:
        asyncio.run(Guard(*allowed)(sent))

    assert (refused.value.status, refused.value.kind) == (403, "forbidden")


def test_a_caller_is_asked_for_once_and_checked_by_each_guard(airflow: SimpleNamespace) -> None:
    """A router and its route each have a guard; Airflow reads its database for each token."""
    sent = request(authorization="Bearer token")
    first = caller(Role.VIEWER, sent=sent)

    assert caller(Role.VIEWER, sent=sent) is first
    assert airflow.tokens == ["token"]
    with pytest.raises(Problem):
        caller(Role.OPERATOR, sent=sent)


@pytest.mark.parametrize("error", [HTTPException(403, "Forbidden"), HTTPException(401, "Expired"), KeyError("nobody")])
def test_a_token_that_airflow_refuses_is_401_whatever_it_raises(airflow: SimpleNamespace, error: Exception) -> None:
    airflow.user = error

    with pytest.raises(Problem) as refused:
        caller()

    assert (refused.value.status, refused.value.headers) == (401, {"WWW-Authenticate": "Bearer"})
    assert "nobody" not in str(refused.value)


@pytest.mark.parametrize("header", ["Basic YWRtaW4=", "Bearer", "Bearer  ", "", ["Bearer one", "Bearer two"]])
def test_exactly_one_bearer_token_is_a_credential(airflow: SimpleNamespace, header: str | list[str]) -> None:
    with pytest.raises(Problem, match="exactly one") as refused:
        caller(sent=request(authorization=header, cookie="session=1"))

    assert refused.value.status == 401
    assert airflow.tokens == []


def test_a_bearer_token_is_handed_to_airflow_without_its_blanks(airflow: SimpleNamespace) -> None:
    caller(sent=request("POST", authorization="bearer  token ", cookie="session=1", origin="https://evil.test"))

    assert airflow.tokens == ["token"]


@pytest.mark.parametrize(
    ("method", "headers", "passes"),
    [
        ("POST", {"cookie": "session=1", "host": "hub.test", "origin": "https://hub.test"}, True),
        ("POST", {"cookie": "session=1", "host": "hub.test", "origin": "https://evil.test"}, False),
        ("POST", {"cookie": "session=1", "host": "hub.test"}, False),
        ("POST", {"cookie": "session=1", "origin": "null"}, False),
        ("POST", {"cookie": "session=1"}, False),
        ("DELETE", {"cookie": "session=1", "host": "hub.test", "origin": "https://evil.test"}, False),
        ("POST", {"host": "hub.test", "origin": "https://evil.test"}, True),
        ("GET", {"cookie": "session=1", "host": "hub.test", "origin": "https://evil.test"}, True),
        ("HEAD", {"cookie": "session=1", "host": "hub.test", "origin": "https://evil.test"}, True),
    ],
)
def test_a_change_with_the_session_cookie_comes_from_the_hubs_own_pages(
    airflow: SimpleNamespace, method: str, headers: dict[str, str], *, passes: bool
) -> None:
    """A browser sends the cookie with requests of every site's pages (CSRF)."""
    sent = request(method, **headers)
    if passes:
        assert caller(sent=sent).name == "ada"
        assert airflow.tokens == [None]
    else:
        with pytest.raises(Problem) as refused:
            caller(sent=sent)
        assert (refused.value.status, refused.value.kind) == (403, "foreign-page")


@pytest.mark.parametrize(
    ("name", "role", "is_known"),
    [
        ("ada", "admin", True),
        ("ada", "ADMIN", True),
        ("ben", "viewer", True),
        ("ben", "admin", False),
        ("ada", None, False),
        ("eve", "viewer", False),
        ("eve", None, False),
    ],
)
def test_a_token_of_the_simple_auth_manager_is_worth_what_its_settings_still_say(
    airflow: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, name: str, role: str | None, *, is_known: bool
) -> None:
    """It reads the role from the token alone: an admin who was made a viewer would stay one until the token ends."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser  # noqa: PLC0415  seconds

    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS", "ada:admin,ben:viewer")
    monkeypatch.setenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS", "False")
    airflow.user = SimpleAuthManagerUser(username=name, role=role)

    if is_known:
        assert caller().actor == f"airflow:{name}"
    else:
        with pytest.raises(Problem) as refused:
            caller()
        assert refused.value.status == 401
