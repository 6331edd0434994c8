"""A query parameter that a route does not know is refused on every route, with the nearest one that it knows."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from crossdock.api.app import create_app
from crossdock.api.query_parameters import names_of
from tests.api.conftest import Hub
from tests.api.matrix import SIGNED

OPENAPI = json.loads((Path(__file__).parents[2] / "docs" / "openapi.json").read_text())
#: (method, path, its query parameters) of each operation that a sender of webhooks does not call.
OPERATIONS = [
    (method.upper(), path, [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query"])
    for path, item in OPENAPI["paths"].items()
    for method, operation in item.items()
    if (method.upper(), path) not in SIGNED
]


def refused(hub: Hub, method: str, path: str, name: str) -> dict[str, Any]:
    """Send an unknown parameter. It is refused before anything else of the request is looked at."""
    answer = hub.call(method, re.sub(r"\{\w+\}", "1", path), "admin", params={name: "1"})
    assert answer.status_code == 400, f"{method} {path}: {answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    return document


def test_every_route_refuses_a_parameter_that_it_does_not_know(hub: Hub) -> None:
    assert len(OPERATIONS) > 80
    for method, path, known in OPERATIONS:
        document = refused(hub, method, path, "zzz9")

        (error,) = document["errors"]
        assert error["pointer"] == "zzz9"
        assert ", ".join(sorted(known)) in error["message"] if known else "takes no parameters" in error["message"]


def test_a_misspelt_parameter_is_answered_with_the_nearest_one(hub: Hub) -> None:
    for method, path, known in OPERATIONS:
        for name in known:
            assert f"did you mean {name}?" in refused(hub, method, path, f"{name}x")["detail"]


def test_each_documented_parameter_is_known_and_no_other() -> None:
    """What the check goes by is what the document says."""
    known = {
        (method, re.sub(r":path\}", "}", route.path)): names_of(route.dependant)
        for route in create_app().routes
        for method in getattr(route, "methods", ())
        if hasattr(route, "dependant")
    }

    assert {(method, path): set(names) for method, path, names in OPERATIONS} == {
        operation: set(names) for operation, names in known.items() if operation not in SIGNED
    }


@pytest.mark.parametrize("name", ["limt", "Limit", "x\x1b[31m", "y" * 5_000])
def test_the_name_is_shown_shortened_and_printable(hub: Hub, name: str) -> None:
    document = refused(hub, "GET", "/v1/runs", name)

    assert len(document["detail"]) < 500
    assert "\x1b" not in document["detail"]


def test_one_who_may_not_call_the_route_does_not_learn_its_parameters(hub: Hub) -> None:
    assert hub.call("GET", "/v1/runs?zzz=1", None).status_code == 401
    assert hub.call("POST", "/v1/quarantine-replays?zzz=1", "vera").status_code == 403


def test_a_sender_of_webhooks_may_add_parameters(hub: Hub) -> None:
    """They come with the address that the sender was given, and some senders add their own: the hub looks at the delivery."""
    answer = hub.call("POST", "/v1/webhooks/nobody?utm_source=x", None)

    assert "utm_source" not in answer.text
    assert answer.status_code == 404
