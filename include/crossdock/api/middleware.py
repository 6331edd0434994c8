"""What surrounds every request: its id, the size it may have, the headers that browsers heed, the last net for errors."""

from __future__ import annotations

import logging
import re
import uuid
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossdock.api.problems import Problem, unexpected

log = logging.getLogger(__name__)

LARGEST_BODY = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Set where the route has not set its own. Airflow sends none of them. `frame-ancestors`: the hub's pages live in a
#: frame of Airflow's UI and nowhere else.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}


class Envelope:
    """
    ASGI middleware, the outermost.

    It is given the body no further than `LARGEST_BODY`, so that a large one costs no memory, whatever its
    Content-Length says.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        begun = False

        async def send_sealed(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _seal(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            _refuse_large(int(length) if (length := headers.get("content-length", "")).isdecimal() else 0)
            await self.app(scope, _capped(receive), send_sealed)
        except Exception as error:
            if begun:  # too late for another answer: the client sees it end early
                raise
            problem = error if isinstance(error, Problem) else unexpected()
            if problem is not error:
                log.exception("%s %s failed (request %s)", scope["method"], scope["path"], request_id)
            await problem.response(scope["path"], request_id)(scope, receive, send_sealed)


def _request_id(offered: str | None) -> str:
    """The caller's own where it is a plain one: it is written into logs."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _seal(headers: MutableHeaders, request_id: str) -> None:
    headers["X-Request-Id"] = request_id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)


def _capped(receive: Receive) -> Receive:
    read = 0

    async def receive_some() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        _refuse_large(read)
        return message

    return receive_some


def _refuse_large(size: int) -> None:
    if size > LARGEST_BODY:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"A request may have {LARGEST_BODY:,} bytes",
            headers={"Connection": "close"},
        )
