"""
Threads of the hub's own in Airflow's api-server, in compartments, so that no trouble of the hub's database reaches Airflow's routes.

FastAPI runs each `def` in one pool of 40 threads, which Airflow's routes share. Routes of ours run in the threads of their
compartment instead: webhooks in one, all others in another. A compartment has a bounded number of threads, and so of connections.
A request that finds none free for a moment is refused (503), and one whose transaction takes long has the database asked whether
it answers at all: if not, it and all that follow are refused at once, until the database answers again.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from fastapi import Request

from crossdock.core.errors import Transient
from crossdock.core.log import logger
from crossdock.db.database import Store, StoreUnavailable, takes_connections

log = logger(__name__)

Answer = TypeVar("Answer")
_Loop = asyncio.AbstractEventLoop

#: Waiting is counted in slices, and one that took longer counts as one: a process that got no CPU must not blame the database.
SLICE_S = 0.05
#: How long the database may take to answer a question that costs it nothing, before it is asked once more; and how soon.
_PROBE_S, _PROBE_AGAIN_S = 2.0, 0.25
#: How long a new connection may take; psycopg knows no shorter time.
CONNECT_S = 2
_RETRY_IN_S = 2.0
#: How many requests may wait for each thread: they cost memory.
_WAITING_PER_THREAD = 32


class Busy(Transient):
    """All threads of the compartment are taken."""


@dataclass(frozen=True)
class Limits:
    """What a compartment has, and how patient it is. Seconds; all but `longest_s` are upper bounds of a refusal."""

    name: str
    #: Requests at once, each with a thread and a connection.
    threads: int
    #: How long a request waits for a thread while none is given back.
    admit_s: float
    #: How long one transaction may last before the database is asked whether it answers at all.
    doubt_s: float
    #: How long that answer is waited for.
    probe_s: float
    #: How long a request may take at all.
    longest_s: float
    #: Settings of its sessions, as PostgreSQL has them.
    session: str


#: Refused within half a second: `admit_s`, or `doubt_s` + `probe_s`, or the lock's timeout.
WEBHOOKS = Limits("webhooks", 8, 0.2, 0.2, 0.25, longest_s=5.0, session="-c lock_timeout=350ms -c statement_timeout=4s")
#: Refused within two seconds where the database does not answer; a route may call other systems for longer.
ROUTES = Limits("routes", 16, 1.0, 1.0, 0.5, longest_s=math.inf, session="-c lock_timeout=10s -c statement_timeout=60s")


class DatabaseGate:
    """Knows whether a database answers. It is asked when a request doubts it, and again and again while it does not answer."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._asking: asyncio.Task[None] | None = None
        self.is_away = False

    def refuse_if_away(self) -> None:
        """
        Refuse what would only wait.

        Raises:
            StoreUnavailable: the database did not answer when it was asked last, at most a moment ago.

        """
        if self.is_away:
            raise _does_not_answer()

    async def answers(self, within_s: float) -> bool:
        """Ask the database, together with all who ask now."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_until_it_answers())
        asking = self._asking
        for _ in range(max(1, round(within_s / SLICE_S))):
            if asking.done() or self.is_away:
                break
            await asyncio.wait({asking}, timeout=SLICE_S)
        if not asking.done():
            self._note(is_away=True)
        return not self.is_away

    async def _ask_until_it_answers(self) -> None:
        while not await self._ask():
            self._note(is_away=True)
            await asyncio.sleep(_PROBE_AGAIN_S)
        self._note(is_away=False)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(_PROBE_S):
                return await takes_connections(self._dsn)
        except TimeoutError:
            return False
        except Exception:  # E.g. no thread for the name service. Nobody else asks while requests are refused.
            log.exception("The hub's database could not be asked")
            return False

    def _note(self, *, is_away: bool) -> None:
        if self.is_away != is_away:
            self.is_away = is_away
            log.warning(
                "The hub's database %s", "does not answer: requests are refused" if is_away else "answers again"
            )


class Compartment:
    """The threads of some routes. For one event loop."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._free, self._given_back = limits.threads, 0
        #: In order; each gets the thread that is given back next.
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._threads = ThreadPoolExecutor(limits.threads, f"hub-{limits.name}")

    async def take(self) -> None:
        """
        Take a thread.

        A burst waits while threads are given back; where none is for a moment, more would only pile up.

        Raises:
            Busy: no thread was given back for a moment, or too many wait already.

        """
        if self._free > 0:
            self._free -= 1
            return
        if len(self._waiting) >= _WAITING_PER_THREAD * self.limits.threads:
            raise self._busy()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await self._wait_for(turn)
        except BaseException:
            if not turn.cancel():  # It came just now.
                self.release()
            raise

    async def _wait_for(self, turn: asyncio.Future[None]) -> None:
        seen, quiet_s = self._given_back, 0.0
        while not (await asyncio.wait({turn}, timeout=SLICE_S))[0]:
            quiet_s = quiet_s + SLICE_S if seen == self._given_back else 0.0
            seen = self._given_back
            if quiet_s + SLICE_S > self.limits.admit_s:
                raise self._busy()

    def release(self) -> None:
        self._given_back += 1
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _busy(self) -> Busy:
        return Busy(f"The hub is busy with {self.limits.threads} {self.limits.name} at once", retry_in_s=_RETRY_IN_S)

    def start(self, act: Callable[[], Answer]) -> Future[Answer]:
        """Run *act* in a thread that was taken, with the context of this task."""
        return self._threads.submit(contextvars.copy_context().run, act)


class RequestWork:
    """What one request does in a thread of its compartment: one act after the other, by the limits of that."""

    def __init__(self, compartment: Compartment) -> None:
        self.compartment = compartment
        self._stores: list[Store] = []
        self._is_admitted = False
        self._running: Future[Any] | None = None

    async def admit(self) -> None:
        """
        Take a thread for the whole request, once. Its body has arrived: a half-sent one takes no thread.

        Raises:
            Busy: as `Compartment.take`.

        """
        if not self._is_admitted:
            await self.compartment.take()
            self._is_admitted = True

    def open(self, dsn: str) -> Store:
        """
        Open the database for this request; it is closed at its end.

        Raises:
            StoreUnavailable: it is known not to answer.

        """
        gate_of(dsn).refuse_if_away()
        store = Store(dsn, session=self.compartment.limits.session, connect_timeout_s=CONNECT_S)
        self._stores.append(store)
        return store

    async def run(self, act: Callable[[], Answer]) -> Answer:
        """
        Run *act* in the thread.

        Raises:
            Busy: no thread is free.
            StoreUnavailable: the database does not answer, or not in time. What it did meanwhile stays: as after a broken
                connection, nobody knows.

        """
        await self.admit()
        running = self._running = self.compartment.start(act)
        ended = in_task(running)
        limits, waited, in_doubt, seen = self.compartment.limits, 0.0, 0.0, None
        while True:
            await asyncio.wait({ended}, timeout=SLICE_S)
            if ended.done():
                self._running = None
                answer: Answer = ended.result()
                return answer
            waited += SLICE_S
            now = next((store.transaction_no for store in self._stores if store.transaction_no), None)
            in_doubt, seen = (in_doubt + SLICE_S if now and now == seen else 0.0), now
            if waited >= limits.longest_s:
                raise StoreUnavailable("The hub's database took too long", retry_in_s=_RETRY_IN_S)
            if in_doubt + SLICE_S >= limits.doubt_s:
                in_doubt = 0.0
                if not await self._answers(limits.probe_s):
                    raise _does_not_answer()

    async def _answers(self, within_s: float) -> bool:
        return all([await gate_of(store.dsn).answers(within_s) for store in self._stores])

    def end(self) -> None:
        """End the request. Of an act that still runs, the connection is cut; its thread is given back when it has ended."""
        running = self._running
        if running is None:
            self._close()
            return
        for store in self._stores:
            store.cut()
        loop = asyncio.get_running_loop()

        def ended(_: object) -> None:
            with suppress(RuntimeError):  # The loop is closed: the server ends.
                loop.call_soon_threadsafe(self._close)

        running.add_done_callback(ended)

    def _close(self) -> None:
        for store in self._stores:
            store.close()
        if self._is_admitted:
            self._is_admitted = False
            self.compartment.release()


_compartments: WeakKeyDictionary[_Loop, dict[Limits, Compartment]] = WeakKeyDictionary()
_gates: WeakKeyDictionary[_Loop, dict[str, DatabaseGate]] = WeakKeyDictionary()


def compartment_of(limits: Limits) -> Compartment:
    """Find the compartment of *limits* in this event loop."""
    of_loop = _compartments.setdefault(asyncio.get_running_loop(), {})
    if limits not in of_loop:
        of_loop[limits] = Compartment(limits)
    return of_loop[limits]


def gate_of(dsn: str) -> DatabaseGate:
    """Find the gate of the database in this event loop."""
    of_loop = _gates.setdefault(asyncio.get_running_loop(), {})
    if dsn not in of_loop:
        of_loop[dsn] = DatabaseGate(dsn)
    return of_loop[dsn]


@contextmanager
def begun(request: Request, limits: Limits) -> Iterator[RequestWork]:
    """Begin the work of *request*, and end it with the block."""
    work = request.state.work = RequestWork(compartment_of(limits))
    token = _current.set(work)
    try:
        yield work
    finally:
        _current.reset(token)
        work.end()


def in_task(running: Future[Answer]) -> asyncio.Future[Answer]:
    """Follow what runs in a thread. Its error is nobody's if the request has gone on without it."""
    ended = asyncio.wrap_future(running)
    ended.add_done_callback(lambda each: each.cancelled() or each.exception())
    return ended


def work_of(request: Request) -> RequestWork:
    """Find the work of *request*, which its route has begun."""
    work: RequestWork = request.state.work
    return work


def in_compartment(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Have a `def` endpoint run in the compartment of its request. One that is `async` stays."""
    if iscoroutinefunction(endpoint):
        return endpoint

    @wraps(endpoint)
    async def run(**values: Any) -> Any:
        return await _current.get().run(partial(endpoint, **values))

    return run


#: The work of the request that this task serves.
_current: contextvars.ContextVar[RequestWork] = contextvars.ContextVar("request_work")


def _does_not_answer() -> StoreUnavailable:
    return StoreUnavailable("The hub's database does not answer", retry_in_s=_RETRY_IN_S)
