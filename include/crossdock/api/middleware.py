"""Middleware around every request: its id, the limit of its size, security headers, and the answer to unexpected errors."""

from __future__ import annotations

import asyncio
import os
import re
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crossdock.api.logged_requests import hide_in_log, shown_path
from crossdock.api.problems import Problem, of_unforeseen
from crossdock.api.slow_requests import in_time
from crossdock.core.log import logger
from crossdock.core.stack_proof import CHALLENGE, KEY_VARIABLE, PROOF, proof_of

log = logger(__name__)

LARGEST_BODY = 1024 * 1024
#: Of a body that is not wanted: how much is read and thrown away after the answer, and how long the next part may take.
_MOST_DISCARDED = 64 * LARGEST_BODY
_LINGER_S = 1.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

#: Set unless the route sets its own; Airflow sends none of them. `frame-ancestors`: only Airflow's UI may frame the
#: hub's pages.
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'self'",
}


#: Writes the answer to a problem.
AnswerProblem = Callable[[Request, Problem], Response]


class RequestMiddleware:
    """
    The outermost ASGI middleware.

    It stops reading a body at `LARGEST_BODY`, so that a large one costs no memory, whatever its Content-Length says, and
    at a deadline. A connection whose body was not read is closed after the answer. What is on its way is thrown away before: to
    close with unread bytes resets the connection, and the client would not see the answer (RFC 9112 9.6).
    """

    def __init__(
        self, app: ASGIApp, *, headers: Mapping[str, str] = _HEADERS, answer: AnswerProblem | None = None
    ) -> None:
        """
        Wrap *app*.

        Args:
            app: The app.
            headers: Those of each answer that does not set its own.
            answer: Writes the answer to a problem that no route has answered; by default as `problem+json`.

        """
        self.app, self._headers, self._answer = app, headers, answer or _as_document

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers.get("x-request-id"))
        scope.setdefault("state", {})["request_id"] = request_id
        begun = False
        body = _Body(headers, in_time(scope, receive))

        async def send_with_headers(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                _set_headers(MutableHeaders(scope=message), request_id, self._headers, is_read=body.is_read)
                _prove(scope, headers, MutableHeaders(scope=message))
            elif not body.is_read and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await body.discard()
                message = {"type": "http.response.body"}
            await send(message)

        try:
            _refuse_large(int(length) if (length := headers.get("content-length", "")).isdecimal() else 0)
            await self.app(scope, body.receive, send_with_headers)
        except ClientDisconnect:
            log.info("%s %s: the client went away (request %s)", scope["method"], shown_path(scope["path"]), request_id)
        except Exception as error:
            if begun:  # Too late for another answer: the client sees this one end early.
                raise
            problem = of_unforeseen(error)
            if problem.status is HTTPStatus.INTERNAL_SERVER_ERROR:
                log.exception("%s %s failed (request %s)", scope["method"], shown_path(scope["path"]), request_id)
            await self._answer(Request(scope), problem)(scope, receive, send_with_headers)
        finally:
            hide_in_log(scope)


def _request_id(offered: str | None) -> str:
    """Use the caller's own id if it is plain text, because it is written into logs; else make one up."""
    return offered if offered and _REQUEST_ID.fullmatch(offered) else uuid.uuid4().hex


def _as_document(request: Request, problem: Problem) -> Response:
    return problem.response(request.scope["path"], request.state.request_id)


def _set_headers(headers: MutableHeaders, request_id: str, usual: Mapping[str, str], *, is_read: bool) -> None:
    headers["X-Request-Id"] = request_id
    for name, value in usual.items():
        headers.setdefault(name, value)
    if not is_read:
        headers["Connection"] = "close"


def _prove(scope: Scope, asked: Headers, answered: MutableHeaders) -> None:
    """Prove to a command of the local stack that this is its own server. Other servers have no key."""
    challenge, key = asked.get(CHALLENGE), os.environ.get(KEY_VARIABLE)
    if challenge and key and scope.get("server"):
        answered[PROOF] = proof_of(key, challenge, scope["server"][1])


class _Body:
    """The body of one request, counted as it comes."""

    def __init__(self, headers: Headers, receive: Receive) -> None:
        self._receive, self._bytes = receive, 0
        #: Whether its time is over: then it is not waited for again, in the place of another.
        self._is_late = False
        #: Whether all of it was read, or there is none.
        self.is_read = headers.get("content-length", "0") == "0" and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        try:
            message = await self._receive()
        except Problem:
            self._is_late = True
            raise
        self._bytes += len(message.get("body", b""))
        _refuse_large(self._bytes)
        self.is_read = self.is_read or not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Throw away what still comes, up to a bound: the answer has been sent."""
        with suppress(Problem, TimeoutError):
            while not self.is_read and not self._is_late and self._bytes < _MOST_DISCARDED:
                async with asyncio.timeout(_LINGER_S):
                    message = await self._receive()
                self._bytes += len(message.get("body", b""))
                self.is_read = not message.get("more_body", False)


def _refuse_large(size: int) -> None:
    if size > LARGEST_BODY:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"The body is too large: at most {LARGEST_BODY:,} bytes",
            headers={"Connection": "close"},
        )
