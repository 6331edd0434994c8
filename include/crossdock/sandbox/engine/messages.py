"""A request after it was read and a response before it is sent, without sockets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from crossdock.sandbox.engine import codec
from crossdock.sandbox.engine.problems import NotJsonError, Problem

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    #: The decoded parts of the path; `/demo/inventory/key=a%2Fb` gives `("demo", "inventory", "key=a/b")`.
    parts: tuple[str, ...]
    query: Mapping[str, list[str]]
    #: By lowercase name.
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """
        Decode the body, which must be a JSON object.

        Raises:
            NotJsonError: it is not.

        """
        try:
            document = codec.decode(self.body)
        except (ValueError, RecursionError) as error:
            raise NotJsonError(str(error)) from error
        if not isinstance(document, dict):
            raise NotJsonError("The body is not a JSON object.")
        return document


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes
    content_type: str = JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        try:
            return HTTPStatus(self.status).phrase
        except ValueError:
            return "Unknown"


def json_response(status: int, document: Any) -> Response:
    return Response(status, codec.encode(document))


def problem_response(problem: Problem) -> Response:
    headers = {"WWW-Authenticate": 'Bearer realm="sandbox"'} if problem.status == HTTPStatus.UNAUTHORIZED else {}
    return Response(problem.status, codec.encode(problem.body), headers=headers)
