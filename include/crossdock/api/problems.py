"""Errors as RFC 9457 `problem+json`, with the id of the request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Route

from crossdock.api.airflow_lookups import AirflowUnavailable, is_of_airflows_database
from crossdock.api.bulkhead import Busy
from crossdock.api.hints import HintDocument
from crossdock.api.validation import FORMS
from crossdock.core.card_data import CardDataRefused
from crossdock.core.errors import (
    AddressRefused,
    BadRequest,
    Conflict,
    Gone,
    HubError,
    IntegrationPaused,
    NotFound,
    OutcomeUnknown,
    SystemRefused,
    Transient,
    VersionChanged,
)
from crossdock.core.log import logger
from crossdock.core.pydantic_words import plain
from crossdock.db.idempotency import KeyReused, StillRunning
from crossdock.integrations.actions.model import InputInvalid
from crossdock.integrations.model import FieldError, SettingsInvalid, TestRefused
from crossdock.workflows.declared.validator import InvalidWorkflow

log = logger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Of a request that is not valid, an answer names so many mistakes, each with texts of at most so many characters.
_MOST_MISTAKES, _LONGEST_TEXT = 50, 300
#: Without a Retry-After, a client would retry at once.
_RETRY_IN_S = 5
#: RFC 9110's titles, where Python's own are older in 3.11 and 3.12: what clients read must not depend on the Python.
_TITLES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def title(status: int) -> str:
    """Name *status* as RFC 9110 does."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the problems that a route may answer, by their usual titles, for its `responses`."""
    return {status: {"model": ProblemDocument, "description": title(status)} for status in statuses}


class ProblemError(BaseModel):
    pointer: str = Field(description="JSON pointer to the place in the body, or the name of a parameter.")
    message: str


class ProblemDocument(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(description="Kind of the problem; stable.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="Path of the request.")
    request_id: str = Field(description="Also in the server's log.")
    errors: list[ProblemError] | None = None
    hint: HintDocument | None = Field(None, description="What to do about it, if the hub knows.")


class Problem(Exception):
    """An error answer, raised wherever the error is found."""

    def __init__(
        self,
        status: HTTPStatus,
        kind: str,
        detail: str,
        *,
        errors: tuple[FieldError, ...] = (),
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers, self.members = errors, dict(headers or {}), members
        super().__init__(detail)

    def response(self, path: str, request_id: str) -> Response:
        document = {
            "type": f"urn:crossdock:problem:{self.kind}",
            "title": title(self.status),
            "status": self.status.value,
            "detail": self.detail,
            "instance": path,
            "request_id": request_id,
            **({"errors": [msgspec.to_builtins(error) for error in self.errors]} if self.errors else {}),
            **self.members,
        }
        return Response(msgspec.json.encode(document), self.status.value, headers=self.headers, media_type=MEDIA_TYPE)


def incomplete(pointer: str, message: str) -> Problem:
    """Build the refusal (422) of a body that fits its schema and is not complete, at the place *pointer*."""
    errors = (FieldError(pointer, message),)
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "unprocessable", f"Invalid request: {pointer}: {message}", errors=errors
    )


def install(app: FastAPI) -> None:
    """Answer every error of *app* as a problem."""
    app.add_exception_handler(Problem, _answer)
    app.add_exception_handler(HubError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(RequestValidationError, _answer)


def of(error: BaseException) -> Problem:
    """Translate *error* to a problem. The text of an unknown error is not shown: it may contain anything."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _of_validation(error)
        case HTTPException():
            return _of_status(error)
        case HubError():
            return _of_hub_error(error)
    return unexpected()


def of_unforeseen(error: Exception) -> Problem:
    """Translate an error that nobody has: Airflow's database fails in a route that reads through Airflow, or the hub is wrong."""
    if is_of_airflows_database(error):
        return of(AirflowUnavailable("this request needs it"))
    return of(error) if isinstance(error, Problem) else unexpected()


def unexpected() -> Problem:
    return Problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "unexpected",
        "Internal error in the hub. Its log has the cause under this request id",
    )


async def _answer(request: Request, error: Exception) -> Response:
    problem = of(error)
    if problem.status is HTTPStatus.METHOD_NOT_ALLOWED:
        problem.headers["Allow"] = _allowed(request)
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("%s %s: %s", request.method, request.url.path, problem.detail)
    return problem.response(request.url.path, request.state.request_id)


def _allowed(request: Request) -> str:
    """List every method of the path. Starlette names those of the first route only; a path has one route per method."""
    path = request.url.path.removeprefix(request.scope.get("root_path", ""))
    routes = (route for route in request.app.routes if isinstance(route, Route) and route.path_regex.match(path))
    return ", ".join(sorted({method for route in routes for method in route.methods or ()}))


#: In this order, because SettingsInvalid, InputInvalid and CardDataRefused are BadRequests too, and a StillRunning is a Conflict.
_HUB_ERRORS: tuple[tuple[type[HubError], HTTPStatus, str], ...] = (
    (SettingsInvalid, HTTPStatus.UNPROCESSABLE_ENTITY, "settings-invalid"),
    (InputInvalid, HTTPStatus.UNPROCESSABLE_ENTITY, "input-invalid"),
    (TestRefused, HTTPStatus.UNPROCESSABLE_ENTITY, "connection-test-failed"),
    (CardDataRefused, HTTPStatus.BAD_REQUEST, "card-data-refused"),
    (InvalidWorkflow, HTTPStatus.BAD_REQUEST, "workflow-invalid"),
    (BadRequest, HTTPStatus.BAD_REQUEST, "bad-request"),
    (NotFound, HTTPStatus.NOT_FOUND, "not-found"),
    (Gone, HTTPStatus.GONE, "gone"),
    (VersionChanged, HTTPStatus.PRECONDITION_FAILED, "version-changed"),
    (StillRunning, HTTPStatus.CONFLICT, "still-running"),
    (KeyReused, HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
    (Conflict, HTTPStatus.CONFLICT, "conflict"),
    (IntegrationPaused, HTTPStatus.CONFLICT, "integration-paused"),
    (AirflowUnavailable, HTTPStatus.SERVICE_UNAVAILABLE, "airflow-unavailable"),
    (Busy, HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
    (Transient, HTTPStatus.SERVICE_UNAVAILABLE, "unavailable"),
    # Not 503, after which a client would try again.
    (OutcomeUnknown, HTTPStatus.BAD_GATEWAY, "outcome-unknown"),
    # What somebody gave for a system is wrong: its credentials, its address, or what is asked of it.
    (SystemRefused, HTTPStatus.UNPROCESSABLE_ENTITY, "system-refused"),
    (AddressRefused, HTTPStatus.UNPROCESSABLE_ENTITY, "address-refused"),
)


def _of_hub_error(error: HubError) -> Problem:
    found = next(((status, kind) for family, status, kind in _HUB_ERRORS if isinstance(error, family)), None)
    if found is None:
        log.error("%s: %s", type(error).__name__, error)
        return unexpected()
    members: dict[str, Any] = {}
    if hint := HintDocument.of(error.hint):
        members["hint"] = hint.model_dump()
    match error:
        case SettingsInvalid() | InputInvalid():
            members["errors"] = error.errors
        case InvalidWorkflow():
            members["errors"] = tuple(
                FieldError(each.pointer, f"line {each.line}: {each.message} [{each.rule}]") for each in error.findings
            )
        case CardDataRefused():
            members["errors"] = (FieldError(error.found.pointer, f"must not have a {error.found.kind}"),)
        case TestRefused():
            members["checks"] = msgspec.to_builtins(error.checks)
        case VersionChanged():
            members["current_version"] = error.current
        case StillRunning():
            members["headers"] = {"Retry-After": "1"}
        case Transient():
            members["headers"] = {"Retry-After": str(math.ceil(error.retry_in_s or _RETRY_IN_S))}
    return Problem(*found, str(error), **members)


#: Kind of a mistake, as pydantic calls it → what we say.
_WORDS = {"missing": "is missing", "extra_forbidden": "is not a field of this request"}

_KINDS = {
    HTTPStatus.NOT_FOUND: ("not-found", "There is nothing at this path. All paths: GET /hub/v1/openapi.json"),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "method-not-allowed",
        "This path does not support the method; see the Allow header",
    ),
}


def _of_status(error: HTTPException) -> Problem:
    status = HTTPStatus(error.status_code)
    kind, detail = _KINDS.get(status, ("http", str(error.detail)))
    return Problem(status, kind, detail, headers=error.headers)


def _of_validation(error: RequestValidationError) -> Problem:
    """Name each place and what was expected there, never the value, which may be a secret. A long body has a short answer."""
    details = error.errors()
    found = [
        (_form(detail["loc"]), FieldError(_short(_pointer(detail["loc"])), _short(_expected(detail))))
        for detail in _of_nearest_forms(details)[:_MOST_MISTAKES]
    ]
    forms = dict.fromkeys(form for form, _ in found)
    by_form = [dict.fromkeys(field_error for of, field_error in found if of == form) for form in forms]
    # A body with several possible forms is checked against each of them, and to match one is enough. What is wrong in all
    # of them is said once.
    always = [field_error for field_error in by_form[0] if all(field_error in of for of in by_form)]
    choices = [[field_error for field_error in of if field_error not in always] for of in by_form]
    where = "; ".join(filter(None, [_listed(always), " or ".join(_listed(each) for each in choices if each)]))
    more = f"; and {len(details) - len(found):,} more" if len(details) > _MOST_MISTAKES else ""
    errors = tuple(dict.fromkeys(field_error for _, field_error in found))
    return Problem(HTTPStatus.BAD_REQUEST, "bad-request", f"Invalid request: {where}{more}", errors=errors)


def _listed(field_errors: Iterable[FieldError]) -> str:
    return "; ".join(f"{field_error.pointer or '/'}: {field_error.message}" for field_error in field_errors)


def _of_nearest_forms(details: Sequence[Any]) -> list[Any]:
    """
    Leave out the mistakes of forms that the body is less like than another: it has more fields that they do not know.

    Of those with as many, the ones with the fewest mistakes. What is in no form, such as a parameter, stays.
    """
    by_form: dict[str, list[Any]] = {}
    for detail in details:
        if form := _form(detail["loc"]):
            by_form.setdefault(form, []).append(detail)
    unlike = {form: (sum(one["type"] == "extra_forbidden" for one in of), len(of)) for form, of in by_form.items()}
    nearest = min(unlike.values(), default=None)
    return [detail for detail in details if unlike.get(_form(detail["loc"]) or "", nearest) == nearest]


def _short(text: str) -> str:
    """Cut a text that a caller may have written: the name of a field, or what a check repeats."""
    return text if len(text) <= _LONGEST_TEXT else f"{text[: _LONGEST_TEXT - 1]}…"


def _expected(detail: Mapping[str, Any]) -> str:
    place, kind = tuple(detail["loc"]), detail["type"]
    if kind == "missing" and place == ("header", "Idempotency-Key"):
        return "is missing. Send a new one for each request, such as a UUID, and the same one to repeat a request"
    if kind == "string_pattern_mismatch":
        if place == ("query", "cursor"):
            return (
                "is not a cursor of this list. Send the `next_cursor` of its previous page, or none for the first page"
            )
        return FORMS.get(detail["ctx"]["pattern"], plain(str(detail["msg"])))
    return _WORDS.get(kind) or plain(str(detail["msg"]))


def _form(place: tuple[int | str, ...]) -> str | None:
    """Find the form of a body: FastAPI puts the class's name in the place, and no field of ours has a capital."""
    source, *path = place
    return path[0] if source == "body" and path and isinstance(path[0], str) and path[0][:1].isupper() else None


def _pointer(place: tuple[int | str, ...]) -> str:
    source, *path = place
    if _form(place):
        del path[0]
    if path and isinstance(path[0], int):  # the offset at which the JSON is broken
        return ""
    if source == "body":
        return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return str(path[0]) if path else str(source)
