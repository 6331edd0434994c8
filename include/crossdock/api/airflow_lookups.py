"""
Questions to Airflow's database, in few threads of their own, and what it answered last.

Airflow's auth manager and its connections are read with blocking calls, and while its database hangs they do not come back:
on the event loop they would stop the whole api-server, and in its pool of threads Airflow's own routes.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from crossdock.api.bulkhead import in_task
from crossdock.core.errors import NotFound, Transient
from crossdock.core.log import logger

log = logger(__name__)

Answer = TypeVar("Answer")

#: Fewer than Airflow's pool has connections (15): those that hang must leave it some.
_THREADS = 4
#: How long an answer is waited for where nothing is known, and where the last one is.
PATIENCE_S, _PATIENCE_OF_KNOWN_S = 5.0, 0.3
_RETRY_IN_S = 5.0


class AirflowUnavailable(Transient):
    """Airflow's database does not answer, so that this request cannot be carried out."""

    def __init__(self, what: str) -> None:
        super().__init__(f"Airflow's database does not answer, and {what}", retry_in_s=_RETRY_IN_S)


class AirflowLookups:
    """The threads that ask Airflow. What is not answered in time hangs on in its thread; when all hang, nothing more is asked."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "hub-airflow")
        #: Those whose request has gone on without them.
        self._hanging: set[Future[Any]] = set()

    def start(self, what: str, ask: Callable[[], Answer]) -> Future[Answer]:
        """
        Begin to ask.

        Raises:
            AirflowUnavailable: all threads hang.

        """
        if len(self._hanging) >= _THREADS:
            raise AirflowUnavailable(what)
        return self._threads.submit(contextvars.copy_context().run, ask)

    async def wait(self, what: str, asked: Future[Answer], patience_s: float = PATIENCE_S) -> Answer:
        """
        Wait for an answer.

        Raises:
            AirflowUnavailable: none came in time.

        """
        answered = in_task(asked)
        await asyncio.wait({answered}, timeout=patience_s)
        # Cancelled: it had not begun, and another that waited for it has lost its patience.
        if answered.done() and not answered.cancelled():
            return answered.result()
        if not asked.cancel():  # else it had not begun
            self._hanging.add(asked)
            asked.add_done_callback(self._hanging.discard)
        raise AirflowUnavailable(what)

    async def ask(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """Ask, and wait. Raises as `start` and `wait`."""
        return await self.wait(what, self.start(what, ask))

    def ask_now(self, what: str, ask: Callable[[], Answer], patience_s: float = PATIENCE_S) -> Answer:
        """Ask, and wait in a thread that may block. Raises as `start` and `wait`."""
        asked = self.start(what, ask)
        try:
            return asked.result(patience_s)
        except TimeoutError as error:
            if not asked.cancel():
                self._hanging.add(asked)
                asked.add_done_callback(self._hanging.discard)
            raise AirflowUnavailable(what) from error


@cache
def lookups() -> AirflowLookups:
    """Return the lookups of this process."""
    return AirflowLookups()


@dataclass
class _Known(Generic[Answer]):
    answer: Answer
    #: By the monotonic clock: when it was given, until when it is used without asking, and while Airflow does not answer.
    at: float
    fresh_until: float
    until: float


class Remembered(Generic[Answer]):
    """
    Answers of Airflow by name. Each is asked for again after *fresh_s*; while there is no answer, the last one holds for *stale_s*.

    One that does not exist is not kept: unknown names must not fill the memory.

    Args:
        what: What cannot be done without an answer, for the message.
        find: Asks; it raises NotFound, and AirflowUnavailable (see `existing`).
        fresh_s: How long an answer is used.
        stale_s: How long it is used where Airflow cannot be asked.

    """

    def __init__(self, what: str, find: Callable[[str], Answer], *, fresh_s: float, stale_s: float) -> None:
        self._what, self._find, self._fresh_s, self._stale_s = what, find, fresh_s, stale_s
        self._known: dict[str, _Known[Answer]] = {}
        self._asked: dict[str, Future[Answer]] = {}

    async def of(self, name: str, *, fresh_s: float | None = None) -> Answer:
        """
        Find the answer.

        Args:
            name: What is asked for.
            fresh_s: Asks again where the answer is older than that; None for what holds for all.

        Raises:
            NotFound: there is none.
            AirflowUnavailable: Airflow cannot be asked, and nothing is known.

        """
        now, known = time.monotonic(), self._known.get(name)
        if known and now < (known.fresh_until if fresh_s is None else known.at + fresh_s):
            return known.answer
        try:
            answer = await self._ask(name, _PATIENCE_OF_KNOWN_S if known else PATIENCE_S)
        except AirflowUnavailable:
            if known is None or now >= known.until:
                raise
            return known.answer
        except NotFound:
            self._known.pop(name, None)
            raise
        now = time.monotonic()
        self._known[name] = _Known(answer, now, now + self._fresh_s, now + self._stale_s)
        return answer

    async def _ask(self, name: str, patience_s: float) -> Answer:
        """Ask together with all who ask for the same now."""
        asked = self._asked.get(name)
        if asked is None or asked.done():
            asked = self._asked[name] = lookups().start(self._what, lambda: self._find(name))
            asked.add_done_callback(lambda _: self._asked.pop(name, None))
        return await lookups().wait(self._what, asked, patience_s)


def existing(what: str, find: Callable[[str], Answer], name: str) -> Answer:
    """
    Find something in Airflow's database; it says "not found" also when the database is away.

    Raises:
        NotFound: the database answers, and has none.
        AirflowUnavailable: the database is away.

    """
    try:
        return find(name)
    except Exception as error:
        refuse_if_away(what)
        if type(error).__name__ == "AirflowNotFoundException":
            raise NotFound(str(error)) from error
        raise


def refuse_if_away(what: str) -> None:
    """
    Ask Airflow's database for nothing.

    Raises:
        AirflowUnavailable: it does not answer.

    """
    from airflow.utils.session import create_session  # noqa: PLC0415  this room is imported by all of Airflow
    from sqlalchemy import select  # noqa: PLC0415

    try:
        with create_session() as session:
            session.execute(select(1))
    except Exception as error:
        if not is_of_airflows_database(error):
            raise
        log.warning("Airflow's database does not answer: %s", type(error).__name__)
        raise AirflowUnavailable(what) from error


def is_of_airflows_database(error: BaseException) -> bool:
    """Check whether Airflow's database failed, or its pool of connections is used up. The hub's own is not used by SQLAlchemy."""
    from sqlalchemy import exc  # noqa: PLC0415

    return isinstance(error, exc.DBAPIError | exc.TimeoutError)


@cache
def airflow_base_url() -> str:
    """Read the address that Airflow is configured with, e.g. that of a proxy before it; empty where there is none."""
    from airflow.configuration import conf  # noqa: PLC0415  this room is imported by all of Airflow

    return str(conf.get("api", "base_url", fallback=""))
