"""Who may call which route: every route, every role, under both of Airflow's auth managers, and every bad token."""

from __future__ import annotations

import time
from typing import Any

import jwt
import pytest
import requests
from fastapi import APIRouter, FastAPI

from crossdock.api.access import guard
from crossdock.api.app import create_app
from crossdock.api.routing import Router, guarded
from crossdock.core.roles import Role
from tests.api.conftest import JWT_SECRET, Hub
from tests.api.matrix import MATRIX, ROLES, SIGNED

ROUTES = sorted(MATRIX)


def path_of(path: str) -> str:
    """With ids of nothing."""
    return (
        path.replace("{run_id}", "none-of-ours")
        .replace("{integration_id}", "none_of_ours")
        .replace("{kind}", "none")
        .replace("{action}", "none")
        .replace("{event_id}", "1-0")
        .replace("{event_type}", "none")
        .replace("{version}", "1")
        .replace("{sku}", "none-of-ours")
        .replace("{replay_id}", "4711")
        .replace("{dead_letter_id}", "4711")
        .replace("{item_id}", "4711")
        .replace("{attempt_id}", "4711")
        .replace("{alert_id}", "4711")
        .replace("{mute_id}", "4711")
        .replace("{message_id}", "0" * 32)
        .replace("{name}", "none-of-ours")
        .replace("{payment_id}", f"pay_{'0' * 32}")
        .replace("{leg_id}", "4711")
        .replace("{stream}", "none")
    )


def test_every_route_is_in_the_matrix() -> None:
    """A route without a rule must not be open to anybody who finds it."""
    # As the document writes them: a key with slashes has a converter.
    routes = {
        (method, route.path.replace(":path}", "}"))  # type: ignore[attr-defined]
        for route in create_app().routes
        for method in route.methods  # type: ignore[attr-defined]
    }

    assert routes == set(MATRIX) | SIGNED


def test_an_app_with_an_unguarded_route_does_not_start() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    router = Router()
    router.add_api_route("/guarded", lambda: None, dependencies=[guard(Role.VIEWER)])
    router.add_api_route("/open", lambda: None)
    app.include_router(router)

    with pytest.raises(RuntimeError, match="/open has no guard"):
        guarded(app)


def test_an_app_with_a_router_that_is_not_ours_does_not_start() -> None:
    """FastAPI's own reads a stranger's body before the guard runs, and takes NaN and a name twice for JSON."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ours, another = Router(), APIRouter()
    ours.add_api_route("/ours", lambda: None, dependencies=[guard(Role.VIEWER)])
    another.add_api_route("/another", lambda: None, dependencies=[guard(Role.VIEWER)])
    app.include_router(ours)
    guarded(app)
    app.include_router(another)

    with pytest.raises(TypeError, match=r"/another .* make its router with Router"):
        guarded(app)


@pytest.mark.parametrize("documentation", ["openapi_url", "docs_url", "redoc_url"])
def test_fastapis_own_pages_would_not_start_either(documentation: str) -> None:
    """They come with every app, without a guard."""
    pages: dict[str, Any] = {"openapi_url": None, "docs_url": None, "redoc_url": None, documentation: "/page"}
    if documentation != "openapi_url":
        pages["openapi_url"] = "/openapi.json"
    with pytest.raises(RuntimeError, match="has no guard"):
        guarded(FastAPI(**pages))


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("name", [name for name in ROLES if name != "nobody"])
def test_a_role_under_the_simple_auth_manager(hub: Hub, method: str, path: str, name: str) -> None:
    assert_lets_through(hub, method, path, name)


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("name", list(ROLES))
def test_a_role_under_fab(fab_hub: Hub, method: str, path: str, name: str) -> None:
    """Roles are rows there, may be several, and may be ones that the hub has never heard of."""
    assert_lets_through(fab_hub, method, path, name)


def assert_lets_through(hub: Hub, method: str, path: str, name: str) -> None:
    answer = hub.call(method, path_of(path), name)
    if ROLES[name] in MATRIX[method, path]:
        assert answer.status_code not in {401, 403, 500}, answer.text
    else:
        assert_problem(answer, 403, "forbidden")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_call_without_a_token_is_refused(hub: Hub, method: str, path: str) -> None:
    answer = hub.call(method, path_of(path), None, data=b"{ no json")

    assert_problem(answer, 401, "unauthorised")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time.time())
    whole = {
        "sub": "admin",
        "role": "admin",
        "aud": "apache-airflow",
        "iat": now,
        "nbf": now,
        "exp": now + 60,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def signed(secret: str = JWT_SECRET, algorithm: str = "HS512", **changes: Any) -> str:
    return jwt.encode(claims(**changes), secret, algorithm=algorithm)


BAD_TOKENS = {
    "rubbish": "rubbish",
    "three rubbish parts": "a.b.c",
    "alg none": jwt.encode(claims(), None, algorithm="none"),
    "alg none, signed": jwt.encode(claims(), None, algorithm="none") + "c2lnbmVk",
    "another algorithm": signed(algorithm="HS256"),
    "another secret": signed("x" * 80),
    "expired": signed(exp=int(time.time()) - 3600),
    "not valid yet": signed(nbf=int(time.time()) + 3600),
    "another audience": signed(aud="somebody-else"),
    "no audience": signed(aud=None),
    "no end": signed(exp=None),
    "no subject": signed(sub=None),
    "no role": signed(role=None),
    "a path for a key id": jwt.encode(claims(), "x" * 80, algorithm="HS512", headers={"kid": "../../etc/passwd"}),
}


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("token", BAD_TOKENS.values(), ids=list(BAD_TOKENS))
def test_no_bad_token_gets_through(hub: Hub, method: str, path: str, token: str) -> None:
    answer = hub.call(method, path_of(path), None, headers={"Authorization": f"Bearer {token}"})

    assert_problem(answer, 401, "unauthorised")


@pytest.mark.parametrize("changes", [{"sub": "gone"}, {"sub": "vera", "role": "admin"}], ids=["removed", "other role"])
def test_a_token_ends_with_its_user(hub: Hub, changes: dict[str, str]) -> None:
    """The simple auth manager takes name and role from the token alone, for as long as the token lasts."""
    answer = hub.call("GET", "/v1/me", None, headers={"Authorization": f"Bearer {signed(**changes)}"})

    assert_problem(answer, 401, "unauthorised")
    assert "was removed, or has another role now" in answer.json()["detail"]


def test_each_forged_token_is_refused_for_its_own_defect(hub: Hub) -> None:
    """The same claims, signed rightly, are let in: else every test above would prove nothing."""
    answer = hub.call("GET", "/v1/me", None, headers={"Authorization": f"Bearer {signed()}"})

    assert answer.json()["name"] == "admin"


@pytest.mark.parametrize("token", ["Basic YWRtaW46YWRtaW4=", "Bearer", "Bearer  ", "Token x", ""])
def test_only_a_bearer_token_is_a_credential(hub: Hub, token: str) -> None:
    assert_problem(hub.call("GET", "/v1/me", None, headers={"Authorization": token}), 401, "unauthorised")


def test_a_token_in_the_url_is_not_accepted(hub: Hub) -> None:
    """Addresses stand in logs."""
    answer = hub.call("GET", f"/v1/me?access_token={hub.token('admin')}", None)

    assert_problem(answer, 401, "unauthorised")


def test_two_tokens_are_refused(hub: Hub) -> None:
    """Proxies and servers disagree on which of two headers counts."""
    import http.client  # noqa: PLC0415  requests cannot send a header twice

    connection = http.client.HTTPConnection(hub.url.removeprefix("http://"), timeout=120)
    connection.putrequest("GET", "/hub/v1/me")
    connection.putheader("Authorization", f"Bearer {hub.token('vera')}")
    connection.putheader("Authorization", f"Bearer {hub.token('admin')}")
    connection.endheaders()

    assert connection.getresponse().status == 401


def test_an_unknown_role_of_airflow_is_no_role_of_the_hub(fab_hub: Hub) -> None:
    answer = fab_hub.call("GET", "/v1/me", "nobody")

    assert_problem(answer, 403, "forbidden")
    assert "nobody needs the viewer role" in answer.json()["detail"]


def assert_problem(answer: requests.Response, status: int, kind: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:crossdock:problem:{kind}"
    assert document["status"] == status
    assert document["request_id"] == answer.headers["X-Request-Id"]
