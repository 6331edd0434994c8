"""What a problem's own members say."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from pydantic import ValidationError

from crossdock.api import problems
from crossdock.api.events import EventSelection
from crossdock.api.pagination import cursor_like
from crossdock.api.problems import Problem
from crossdock.api.quarantine import DiscardEveryItem, DiscardItems, DiscardItemsOfCause, FieldsEdited, RecordEdited
from crossdock.core.errors import OutcomeUnknown


@pytest.mark.parametrize(
    ("status", "title"),
    [
        (404, "Not Found"),
        (413, "Content Too Large"),
        (414, "URI Too Long"),
        (416, "Range Not Satisfiable"),
        (422, "Unprocessable Content"),
    ],
)
def test_a_title_is_the_same_on_every_python(status: int, title: str) -> None:
    """Python 3.13 renamed four of them after RFC 9110; a client must not see which Python the hub runs on."""
    problem = Problem(HTTPStatus(status), "kind", "Detail").response("/path", "id")

    assert json.loads(bytes(problem.body))["title"] == title


@pytest.mark.parametrize("value", [0, -3_365_820_941_987, 1.5, True])
def test_a_timestamp_is_text_and_never_a_number(value: object) -> None:
    """Pydantic takes a number for the seconds since 1970, so a slip of a client would replay all events."""
    with pytest.raises(ValidationError, match="must be a timestamp such as"):
        EventSelection.model_validate({"since": value})


def test_an_unknown_outcome_does_not_ask_the_client_to_try_again() -> None:
    """A 503 with Retry-After would: clients repeat it without a person."""
    problem = problems.of(OutcomeUnknown("acme", "POST /charges", "no answer"))

    assert (problem.status, problem.kind) == (HTTPStatus.BAD_GATEWAY, "outcome-unknown")
    assert "Retry-After" not in problem.headers


def refusal_of(body: type | object, sent: object) -> str:
    """What a client reads when it sends *sent* to a route that takes *body*."""
    app = FastAPI()
    problems.install(app)

    @app.middleware("http")
    async def with_id(request: Request, call_next: Any) -> Any:
        request.state.request_id = "id"
        return await call_next(request)

    def route(body: Any, cursor: Annotated[str | None, cursor_like("^[0-9]{1,18}$")] = None) -> None:
        """Take anything."""

    route.__annotations__["body"] = body
    app.post("/")(route)
    path = f"/?cursor={sent}" if isinstance(sent, str) else "/"
    return str(TestClient(app).post(path, json={} if isinstance(sent, str) else sent).json()["detail"])


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        ({"set": {}}, "/set: is not a field of this request; /changes: is missing or /record: is missing"),
        ({"changes": {}, "more": 1}, "/more: is not a field of this request"),
        ({"changes": 5}, "/changes: must be an object"),
        ({}, "/changes: is missing or /record: is missing"),
    ],
)
def test_a_body_with_several_forms_is_judged_by_the_one_that_it_is_like(sent: object, detail: str) -> None:
    assert refusal_of(FieldsEdited | RecordEdited, sent) == f"Invalid request: {detail}"


def test_what_every_form_lacks_is_said_once() -> None:
    forms = DiscardItems | DiscardItemsOfCause | DiscardEveryItem

    assert refusal_of(forms, {"item_ids": [1]}) == "Invalid request: /reason: is missing"
    assert refusal_of(forms, {}) == (
        "Invalid request: /reason: is missing; /item_ids: is missing or /cause: is missing or /all: is missing"
    )


def test_a_bad_cursor_is_no_riddle() -> None:
    """The pattern of a cursor is nothing that a client could make one by."""
    said = refusal_of(dict[str, Any], "x")

    assert said == (
        "Invalid request: cursor: is not a cursor of this list. Send the `next_cursor` of its previous page, or none for the first page"
    )


def test_a_blank_reason_is_said_to_be_blank() -> None:
    """Nobody should have to read a regular expression."""
    assert refusal_of(DiscardItems, {"item_ids": [1], "reason": " "}) == "Invalid request: /reason: must not be blank"
