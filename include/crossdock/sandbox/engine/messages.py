"""A request as it was read and a response before it is sent, free of sockets."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from crossdock.sandbox.commercetools.problems import VendorError, not_json
from crossdock.sandbox.engine import codec

JSON_TYPE = "application/json; charset=utf-8"


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    #: The path's parts, decoded; `/demo/inventory/key=a%2Fb` gives `("demo", "inventory", "key=a/b")`.
    parts: tuple[str, ...]
    query: Mapping[str, list[str]]
    #: By lower-case name.
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """
        The body, which has to be a JSON object.

        Raises:
            VendorError: 400 InvalidJsonInput.

        """
        try:
            document = codec.decode(self.body)
        except (ValueError, RecursionError) as error:
            raise not_json(str(error)) from error
        if not isinstance(document, dict):
            raise not_json("The body is not a JSON object.")
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


def of_json(status: int, document: Any) -> Response:
    return Response(status, codec.encode(document))


def of_error(error: VendorError) -> Response:
    headers = {"WWW-Authenticate": 'Bearer realm="sandbox"'} if error.status == HTTPStatus.UNAUTHORIZED else {}
    return Response(error.status, codec.encode(error.body), headers=headers)
