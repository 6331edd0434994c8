"""Requests with an effect outside the hub, which a person can repeat by their key."""

from __future__ import annotations

import re
import uuid
from typing import Annotated, Any

import typer

from crossdock.cli import console
from crossdock.cli.session import hub_api
from crossdock.client.errors import AirflowUnreachable
from crossdock.client.hub import HubRefused
from crossdock.core.errors import BadRequest

#: As the API takes them in Idempotency-Key.
_KEY = re.compile(r"[!-~]{1,255}")

Key = Annotated[
    str | None, typer.Option("--key", help="The key of an earlier call, to repeat it: it has no second effect.")
]


def send(path: str, body: Any, key: str | None) -> Any:
    """
    Send a request once, with *key* or a new one; return the document.

    If it ends without an outcome, the key is printed with which the same call can be repeated.

    Raises:
        BadRequest: *key* is no key.
        HubRefused, AirflowUnreachable, NotFound, Conflict: as `HubApi.post`.

    """
    sent_key = _checked(key)
    try:
        return hub_api().post(path, body, key=sent_key).document
    except (HubRefused, AirflowUnreachable) as error:
        if not (isinstance(error, HubRefused) and error.did_nothing):
            console.say(f"To repeat this call without a second effect, add: --key {sent_key}")
        raise


def _checked(given: str | None) -> str:
    """Check a key as the API does, before it becomes a header; a new one if none is *given*."""
    if given is None:
        return str(uuid.uuid4())
    if not _KEY.fullmatch(given):
        raise BadRequest(f"Invalid key {given!r}. A key has 1 to 255 visible ASCII characters, such as a UUID")
    return given
