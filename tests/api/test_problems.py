"""What a problem's own members say."""

from __future__ import annotations

import json
from http import HTTPStatus

import pytest
from pydantic import ValidationError

from crossdock.api import problems
from crossdock.api.events import EventSelection
from crossdock.api.problems import Problem
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
