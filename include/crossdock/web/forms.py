"""
What a page sent: its fields, accepted only from our own pages, which the caller opened.

A browser sends the session's cookie with a form of any site. So a form must come from this origin, and carry a token that only a
page of this person can know: it is signed with a key of the hub, so that no server has to remember it. It is not derived from the
session's cookie: auth managers exchange that for a new one while a person types.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import parse_qsl

from fastapi import Depends, Request

from crossdock.api.access import credential_of
from crossdock.api.dependencies import MOST_EXACT, Problem, strict_json
from crossdock.app.airflow.signing_keys import signing_keys
from crossdock.core import yaml_document
from crossdock.core.card_data import refuse_card_data
from crossdock.core.errors import BadRequest
from crossdock.core.roles import Caller

#: The hidden field of each form.
FIELD = "session_token"
#: The fields that are JSON documents. Card data is looked for in each value of one: in its text, any long number would be a card's.
DOCUMENTS = frozenset({"record", "data", "changes", "params", "answers"})
#: So do the names of fields that are documents, where a form has one for each of many.
_DOCUMENT_PREFIX = "json_"
_LONGEST_DOCUMENT = 500_000
_PURPOSE = "page form"
_DAY_S = 86_400
_MEDIA_TYPE = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
#: What browsers say of a request that one of our own pages sent, or that a person typed.
_OWN_SITES = frozenset({"same-origin", "none"})
_OPEN_AGAIN = "Open the page again and repeat the action there"


class Form:
    """The fields of a form; each once."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def text(self, name: str, *, most: int = 200, strip: bool = True) -> str:
        """
        Read the field *name*, without the blanks around it unless it is a secret (*strip*); empty if it was left out.

        Raises:
            Problem: 400, it is too long or has control characters.

        """
        value = self._fields.get(name, "")
        value = value.strip() if strip else value
        if len(value) > most:
            raise _bad(f"{name} has {len(value):,} characters; at most {most:,} are possible")
        if any(sign < " " and sign not in "\t\r\n" for sign in value):
            raise _bad(f"{name} must be plain text without control characters")
        return value

    def has(self, name: str) -> bool:
        """Check whether the field *name* has anything in it."""
        return bool(self._fields.get(name, "").strip())

    def number(self, name: str) -> int:
        """
        Read the field *name*, the number of an item.

        Raises:
            Problem: 400, it is none.

        """
        text = self.text(name)
        if not (text.isascii() and text.isdecimal()) or not 1 <= (number := int(text)) <= MOST_EXACT:
            raise _bad(f"{name} must be the number of an item, not {text!r}. {_OPEN_AGAIN}")
        return number

    def document(self, name: str) -> tuple[Any, str]:
        """
        Parse the field *name*, one of `DOCUMENTS`, as strictly as the API does; return it, and its text with every digit as typed.

        Raises:
            BadRequest: it is not JSON, or cannot be stored, or has card data.

        """
        if not _is_document(name):
            raise KeyError(name)
        text = self.text(name, most=_LONGEST_DOCUMENT)
        try:
            return strict_json(text.encode()), text
        except json.JSONDecodeError as error:
            raise BadRequest(f"The {name} is not JSON: {error}") from error
        except Problem as error:
            raise BadRequest(error.detail.replace("The body", f"The {name}")) from error

    def yaml(self, name: str) -> Any:
        """
        Parse the field *name*, one of `DOCUMENTS`, as YAML or JSON; an empty object if there is nothing in it.

        Raises:
            BadRequest: it is neither, or has values that JSON has not, or card data.

        """
        if not _is_document(name):
            raise KeyError(name)
        value, _, mistakes = yaml_document.numbered(self.lines(name, most=_LONGEST_DOCUMENT))
        if mistakes:
            raise BadRequest(f"The {name} cannot be read: {mistakes[0]}")
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise BadRequest(
                f"The {name} have a value that JSON has not, such as a date: write it in quotes"
            ) from error
        refuse_card_data(value)
        return {} if value is None else value

    def lines(self, name: str, *, most: int) -> str:
        """
        Read the field *name* as lines: browsers end them with CR LF, and files with LF, the last one, too.

        Raises:
            Problem: as `text`.

        """
        text = self.text(name, most=most * 2).replace("\r\n", "\n")
        if len(text) > most:
            raise _bad(f"{name} has {len(text):,} characters; at most {most:,} are possible")
        return f"{text}\n" if text else ""

    def reason(self) -> str:
        """
        Read why a person does something.

        Raises:
            Problem: 400, there is none.

        """
        if not (reason := self.text("reason", most=1_000)):
            raise _bad("Write why: the reason is kept in the audit trail")
        return reason


def token_of(request: Request, caller: Caller) -> str:
    """Sign the forms of *caller*'s pages of today."""
    return _tokens(request, caller)[0]


def _tokens(request: Request, caller: Caller) -> list[str]:
    """List the tokens that are good now: those of today and of yesterday, so that midnight ends no work."""
    # Without a Fernet key Airflow itself keeps nothing secret: then it is the session's credential.
    keys = signing_keys(_PURPOSE) or [credential_of(request).encode()]
    today = int(time.time() // _DAY_S)
    return [
        hmac.new(key, f"{day} {caller.name}".encode(), hashlib.sha256).hexdigest()
        for key in keys
        for day in (today, today - 1)
    ]


async def read_form(request: Request) -> Form:
    """
    Read the form of a page action.

    Raises:
        Problem: 403, another site sent it, or its token is not of this person; 400, it is not a form of ours.
        CardDataRefused: it has card data.

    """
    fields = _own_fields(request)
    sent, caller = fields.pop(FIELD, "").encode(), request.state.caller
    if not any(hmac.compare_digest(sent, good.encode()) for good in _tokens(request, caller)):
        raise Problem(
            HTTPStatus.FORBIDDEN,
            "foreign-page",
            f"The form was not made for you, or is older than a day. Nothing was changed. {_OPEN_AGAIN}",
        )
    refuse_card_data({name: value for name, value in fields.items() if not _is_document(name)})
    return Form(fields)


Posted = Annotated[Form, Depends(read_form)]


async def read_signed_form(request: Request) -> Form:
    """
    Read the form of a page that nobody signs in to: its own fields are signed, and the caller checks that.

    Raises:
        Problem: 403, another site sent it; 400, it is not a form of ours.
        CardDataRefused: it has card data.

    """
    fields = _own_fields(request)
    refuse_card_data(fields)
    return Form(fields)


SignedPosted = Annotated[Form, Depends(read_signed_form)]


def _own_fields(request: Request) -> dict[str, str]:
    if request.headers.get("sec-fetch-site", "same-origin") not in _OWN_SITES:
        raise Problem(HTTPStatus.FORBIDDEN, "foreign-page", f"Another site sent this form. {_OPEN_AGAIN}")
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _MEDIA_TYPE:
        raise _bad("The request is not a form of a page")
    return _parsed(request.state.body)


def _is_document(name: str) -> bool:
    return name in DOCUMENTS or name.startswith(_DOCUMENT_PREFIX)


def _parsed(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode(),
            keep_blank_values=True,
            strict_parsing=bool(body),
            max_num_fields=_MOST_FIELDS,
            errors="strict",
        )
    except ValueError as error:
        raise _bad("The form cannot be read") from error
    if len(fields := dict(pairs)) < len(pairs):
        raise _bad("The form has a field twice")
    return fields


def _bad(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "bad-request", detail)
