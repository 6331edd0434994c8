"""
Requests that arrive slowly, or never whole: a deadline for head and body, and a bound for each peer.

A half-sent request costs its sender nothing and the server a connection. uvicorn has no deadline for either part, and
Airflow's api-server leaves nothing of it to be configured: the head is bounded where uvicorn reads it, for every route of
the server; the body where the hub's app receives it. A proxy in front can have bounds of its own.

Above the bound the oldest of a peer makes room: a whole request, which takes milliseconds to arrive, is never refused
because of half-sent ones, even where all come through one proxy.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from starlette.types import Message, Receive, Scope

from crossdock.api.problems import Problem

#: From the connection, or the first byte of a further request on it, to the end of the head; and from there to the end
#: of the body, which has 1 MiB at most.
HEAD_S = 10.0
BODY_S = 10.0
#: Heads, and bodies, that one peer may have on their way in each process.
MOST_OF_A_PEER = 100


class Arriving:
    """What is on its way from each peer. For one event loop."""

    def __init__(self) -> None:
        self._of: dict[str, dict[object, Callable[[], None]]] = {}

    def begin(self, peer: str, one: object, end: Callable[[], None]) -> None:
        """Note that *one* has begun; *end* ends it. If the peer has too many, its oldest one is ended."""
        of_peer = self._of.setdefault(peer, {})
        of_peer[one] = end
        if len(of_peer) > MOST_OF_A_PEER:
            of_peer.pop(next(iter(of_peer)))()

    def complete(self, peer: str, one: object) -> None:
        """Forget *one*. Safe to repeat."""
        of_peer = self._of.get(peer, {})
        of_peer.pop(one, None)
        if not of_peer:
            self._of.pop(peer, None)


_heads, _bodies = Arriving(), Arriving()


def in_time(scope: Scope, receive: Receive) -> Receive:
    """
    Wrap *receive* of a request so that its body has to be there in time.

    Raises, when it is called:
        Problem: 408, the body is not there.
    """
    loop = asyncio.get_running_loop()
    peer, until, is_complete = _peer(scope.get("client")), loop.time() + BODY_S, False

    async def receive_in_time() -> Message:
        nonlocal is_complete
        if is_complete:  # What comes next is the end of the connection, whenever that is.
            return await receive()
        try:
            async with asyncio.timeout_at(until) as timer:
                with _begun(peer, timer, loop):
                    message = await receive()
        except TimeoutError as error:
            raise _too_slow() from error
        is_complete = not message.get("more_body", False)
        return message

    return receive_in_time


@contextmanager
def _begun(peer: str, timer: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    def end() -> None:
        if not timer.expired():
            timer.reschedule(loop.time())

    _bodies.begin(peer, timer, end)
    try:
        yield
    finally:
        _bodies.complete(peer, timer)


def _too_slow() -> Problem:
    return Problem(
        HTTPStatus.REQUEST_TIMEOUT,
        "too-slow",
        f"The body was not there after {BODY_S:.0f} s, or too many of this address were on their way",
        headers={"Connection": "close"},
    )


def _peer(client: Any) -> str:
    return client[0] if client else ""


def bound_heads() -> None:
    """
    Give each connection of uvicorn a deadline for the heads of its requests. Safe to repeat.

    Only where this process has loaded uvicorn: all of Airflow's processes import the hub's plugin, and one serves it.
    """
    if "uvicorn" not in sys.modules:
        return
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415  as said above

    if not hasattr(HttpToolsProtocol, _TIMER):
        setattr(HttpToolsProtocol, _TIMER, None)
        _after(HttpToolsProtocol, "connection_made", _begin_head)
        _after(HttpToolsProtocol, "on_message_begin", _begin_head)
        _after(HttpToolsProtocol, "on_headers_complete", _end_head)
        _after(HttpToolsProtocol, "connection_lost", _end_head)


#: The attribute of a connection with the timer of the head that it waits for.
_TIMER = "crossdock_head_timer"


def _after(kind: type, name: str, act: Callable[[Any], None]) -> None:
    """Have the method *name* of *kind* followed by *act*."""
    method = getattr(kind, name)

    def followed(self: Any, *arguments: Any) -> None:
        method(self, *arguments)
        act(self)

    setattr(kind, name, followed)


def _begin_head(connection: Any) -> None:
    if getattr(connection, _TIMER) is None:
        setattr(connection, _TIMER, connection.loop.call_later(HEAD_S, connection.transport.close))
        _heads.begin(_peer(connection.client), connection, connection.transport.close)


def _end_head(connection: Any) -> None:
    timer = getattr(connection, _TIMER)
    if timer is not None:
        timer.cancel()
        setattr(connection, _TIMER, None)
        _heads.complete(_peer(connection.client), connection)
