"""Middleware around every request: its id, the limit of its size, security headers, and the answer to unexpected errors."""

from __future__ import annotations

import re
import uuid
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossdock.api.problems import Problem, unexpected
from crossdock.core.log import logger

log = logger(__name__)

LARGEST_BODY = 1024 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Set unless the route sets its own; Airflow sends none of them. `frame-ancestors`: only Airflow's UI may frame the
#: hub's pages.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}


class RequestMiddleware:
    """
    The outermost ASGI middleware.

    It stops reading a body at `LARGEST_BODY`, so that a large one costs no memory, whatever its Content-Length says.
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

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _set_headers(MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            _refuse_large(int(length) if (length := headers.get("content-length", "")).isdecimal() else 0)
            await self.app(scope, _capped(receive), send_with_headers)
        except Exception as error:
            if begun:  # Too late for another answer: the client sees this one end early.
                raise
            problem = error if isinstance(error, Problem) else unexpected()
            if problem is not error:
                log.exception("%s %s failed (request %s)", scope["method"], scope["path"], request_id)
            await problem.response(scope["path"], request_id)(scope, receive, send_with_headers)


def _request_id(offered: str | None) -> str:
    """Use the caller's own id if it is plain text, because it is written into logs; else make one up."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _set_headers(headers: MutableHeaders, request_id: str) -> None:
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
            f"The body is too large: at most {LARGEST_BODY:,} bytes",
            headers={"Connection": "close"},
        )
