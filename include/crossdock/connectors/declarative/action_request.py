"""Fill the request of a declared action from its params. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from crossdock.connectors.declarative.model import DeclaredAction
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of
from crossdock.integrations.actions.model import Document
from crossdock.workflows.declared import mappings

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
#: What a header may say: no line feed, which would begin another header.
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{0,1000}")


class FilledRequest(msgspec.Struct, frozen=True):
    """What is sent besides the method, the key and the credentials."""

    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    body: Any


def filled(declared: DeclaredAction, params: Document) -> FilledRequest:
    """
    Fill path, query, headers and body of *declared*.

    Raises:
        BadRequest: a value cannot stand where it is declared to; names the place, and no value.

    """
    query = {name: _listed(name, mappings.mapped(text, params)) for name, text in declared.query.items()}
    headers = {name: mappings.mapped(text, params) for name, text in declared.headers.items()}
    return FilledRequest(
        path=PLACEHOLDER.sub(lambda found: _step(found[1], params.get(found[1])), declared.path),
        query={name: value for name, value in query.items() if value is not None},
        headers={name: _header(name, value) for name, value in headers.items() if value is not None},
        body=_body(declared.body, params),
    )


def expressions(declared: DeclaredAction) -> Iterator[tuple[str, Any]]:
    """Yield the place and the mapping of each part that is filled from the params."""
    for part, values in (("query", declared.query), ("headers", declared.headers)):
        for name, mapping in values.items():
            yield f"/{part}/{name}", mapping
    yield "/body", declared.body


def _body(mapping: Any, params: Document) -> Any:
    """Fill the body. A field whose expression has no value, such as an optional param, is left out."""
    match mapping:
        case dict():
            parts = {name: (part, _body(part, params)) for name, part in mapping.items()}
            return {name: value for name, (part, value) in parts.items() if value is not None or part is None}
        case list():
            return [_body(part, params) for part in mapping]
    return mappings.mapped(mapping, params)


def _step(name: str, value: Any) -> str:
    try:
        return path_of(_text(f"path: {name}", value)).removeprefix("/")
    except BadRequest as error:
        raise BadRequest(f"path: {name} must name one step of the path: {error}") from error


def _listed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_text(f"query: {name}", each) for each in value]
    return None if value is None else _text(f"query: {name}", value)


def _header(name: str, value: Any) -> str:
    text = _text(f"headers: {name}", value)
    if not _HEADER_VALUE.fullmatch(text):
        raise BadRequest(f"headers: {name} must be up to 1000 printable ASCII characters")
    return text


def _text(where: str, value: Any) -> str:
    match value:
        case str():
            return value
        case bool() | int() | float():
            return msgspec.json.encode(value).decode()
    raise BadRequest(f"{where} must be a text, a number, true or false")
