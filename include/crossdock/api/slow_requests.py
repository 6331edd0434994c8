"""
Requests that arrive slowly, or never whole: a deadline for head and body, and a bound for each peer.

A half-sent request costs its sender nothing and the server a connection. uvicorn has no deadline for either part, and
Airflow's api-server leaves nothing of it to be configured: head and body are bounded where uvicorn reads them, for every
route of the server, Airflow's login among them; the body also where the hub's app receives it, sooner and with an answer. A proxy in front can have bounds of its own.

Above the bound the oldest of a peer makes room: a whole request, which takes milliseconds to arrive, is never refused
because of half-sent ones, even where all come through one proxy.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, NamedTuple

from starlette.types import Message, Receive, Scope

from crossdock.api.problems import Problem

#: From the connection, or the first byte of a further request on it, to the end of the head; and from there to the end
#: of the body, which has 1 MiB at most.
HEAD_S = 10.0
BODY_S = 10.0
#: The same for bodies on routes that are not the hub's, some of which take large ones.
ANY_BODY_S = 30.0
#: Heads, and bodies, that one peer may have on their way in each process.
MOST_OF_A_PEER = 100


class Arriving:
    """What is on its way from each peer. For one event loop."""

    def __init__(self, *, times: int = 1) -> None:
        self._times = times
        self._of: dict[str, dict[object, Callable[[], None]]] = {}

    def begin(self, peer: str, one: object, end: Callable[[], None]) -> None:
        """Note that *one* has begun; *end* ends it. If the peer has too many, its oldest one is ended."""
        of_peer = self._of.setdefault(peer, {})
        of_peer[one] = end
        if len(of_peer) > self._times * MOST_OF_A_PEER:
            of_peer.pop(next(iter(of_peer)))()

    def complete(self, peer: str, one: object) -> None:
        """Forget *one*. Safe to repeat."""
        of_peer = self._of.get(peer, {})
        of_peer.pop(one, None)
        if not of_peer:
            self._of.pop(peer, None)


_heads, _bodies = Arriving(), Arriving()
#: Of all routes. Twice as many: bodies for the hub end by their own bound, with an answer.
_any_bodies = Arriving(times=2)


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


def bound_requests() -> None:
    """
    Give each connection of uvicorn deadlines for the heads and the bodies of its requests. Safe to repeat.

    Only where this process has loaded uvicorn: all of Airflow's processes import the hub's plugin, and one serves it.
    """
    if "uvicorn" not in sys.modules:
        return
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol  # noqa: PLC0415  as said above

    if not hasattr(HttpToolsProtocol, _HEAD.attribute):
        setattr(HttpToolsProtocol, _HEAD.attribute, None)
        setattr(HttpToolsProtocol, _BODY.attribute, None)
        _after(HttpToolsProtocol, "connection_made", _HEAD.begin)
        _after(HttpToolsProtocol, "on_message_begin", _HEAD.begin)
        _after(HttpToolsProtocol, "on_headers_complete", _HEAD.end, _BODY.begin)
        _after(HttpToolsProtocol, "on_message_complete", _BODY.end)
        _after(HttpToolsProtocol, "connection_lost", _HEAD.end, _BODY.end)


class _Part(NamedTuple):
    """A part of a request, for which a connection of uvicorn has a timer."""

    #: Of the connection, for the timer; None while it waits for no such part.
    attribute: str
    longest_s: Callable[[], float]
    arriving: Arriving

    def begin(self, connection: Any) -> None:
        if getattr(connection, self.attribute) is None:
            close = connection.transport.close
            setattr(connection, self.attribute, connection.loop.call_later(self.longest_s(), close))
            self.arriving.begin(_peer(connection.client), connection, close)

    def end(self, connection: Any) -> None:
        timer = getattr(connection, self.attribute)
        if timer is not None:
            timer.cancel()
            setattr(connection, self.attribute, None)
            self.arriving.complete(_peer(connection.client), connection)


_HEAD = _Part("crossdock_head_timer", lambda: HEAD_S, _heads)
_BODY = _Part("crossdock_body_timer", lambda: ANY_BODY_S, _any_bodies)


def _after(kind: type, name: str, *acts: Callable[[Any], None]) -> None:
    """Have the method *name* of *kind* followed by *acts*."""
    method = getattr(kind, name)

    def followed(self: Any, *arguments: Any) -> None:
        method(self, *arguments)
        for act in acts:
            act(self)

    setattr(kind, name, followed)
