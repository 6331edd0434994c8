"""
Signs of life: an answer of a server, the heartbeat of a job of Airflow, the lease of the sender of alerts.

A frozen process keeps its port open, and the kernel accepts connections for it. So each is asked something that only
its own loop can answer. Each question ends after `TIMEOUT_S`, or its answer does not count.
"""

from __future__ import annotations

import http.client
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from typing import TYPE_CHECKING

from crossdock.core.log import logger
from crossdock.stack.conditions import Sign
from crossdock.stack.ports import LOOPBACK

if TYPE_CHECKING:
    import psycopg

log = logger("crossdock.stack.heartbeats")

#: For one question.
TIMEOUT_S = 5.0
#: For all questions of a look: they are asked at the same time.
_LOOK_TIMEOUT_S = 6.0
#: "May I use TLS?", which a server answers with one letter before it knows who asks.
_TLS_REQUEST = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")

#: Gives the latest sign of life of each process that it knows, by name.
Question = Callable[[], Mapping[str, Sign]]

#: Of each kind the job that was started last: one that was killed stays in the table as running.
_JOBS = """
SELECT DISTINCT ON (job_type) job_type, id || ' ' || coalesce(latest_heartbeat::text, ''),
       coalesce(latest_heartbeat > clock_timestamp() - interval '30 seconds', false)
  FROM job WHERE job_type = ANY(%s)
 ORDER BY job_type, id DESC
"""
_LEASE = """
SELECT token || ' ' || expires_at::text, expires_at > clock_timestamp()
  FROM hub.lease WHERE integration = 'hub' AND dataset = 'alerts'
"""
_JOB_TYPES = {"scheduler": "SchedulerJob", "dag-processor": "DagProcessorJob", "triggerer": "TriggererJob"}


def ask_web_server(port: int, path: str) -> Sign | None:
    """Ask a server for *path*; any status is a sign of life. None: it did not answer in time."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        connection.getresponse()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return Sign(str(time.monotonic_ns()))


def ask_postgres(port: int) -> Sign | None:
    """Begin a handshake with a PostgreSQL server, which says nothing of us. None: it did not answer in time."""
    with suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=TIMEOUT_S) as connection:
        connection.sendall(_TLS_REQUEST)
        if connection.recv(1) in {b"S", b"N"}:
            return Sign(str(time.monotonic_ns()))
    return None


class Heartbeats:
    """
    What processes wrote into a database. It keeps one connection, since each new one costs a login.

    The server has to be asked by `ask_postgres` first: nobody else gets the password's proof.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None

    def of_jobs(self) -> Mapping[str, Sign]:
        """Read the heartbeats of Airflow's jobs, by process; empty when the database does not answer."""
        names = {job_type: name for name, job_type in _JOB_TYPES.items()}
        rows = self._rows(_JOBS, list(names))
        return {names[str(job_type)]: Sign(str(sign), bool(is_fresh)) for job_type, sign, is_fresh in rows}

    def of_alert_sender(self) -> Mapping[str, Sign]:
        """Read the lease of the sender of alerts, which it renews all the time; empty as `of_jobs`."""
        rows = self._rows(_LEASE)
        return {"alert-sender": Sign(str(rows[0][0]), bool(rows[0][1]))} if rows else {}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        import psycopg  # noqa: PLC0415  takes 0.25 s, which `./hub status` need not spend

        try:
            if self._connection is None or self._connection.closed:
                self._connection = psycopg.connect(
                    self._dsn,
                    autocommit=True,
                    connect_timeout=int(TIMEOUT_S),
                    application_name="crossdock supervisor",
                    # Never a password in plain text.
                    require_auth="scram-sha-256",
                    options=f"-c statement_timeout={int(TIMEOUT_S * 1000)}",
                )
            return self._connection.execute(statement.encode(), values or None).fetchall()
        except psycopg.Error:
            self.close()
            return []


class Asker:
    """
    Asks several questions at a time. One that hangs is left alone until it has ended.

    A backend of a frozen server answers nothing and closes nothing: its question hangs until it is killed.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="question")
        self._asked: dict[str, Future[Mapping[str, Sign]]] = {}

    def ask(self, questions: Mapping[str, Question]) -> dict[str, Sign]:
        """Return the signs of life of all that answered in time, by process."""
        for name, question in questions.items():
            if name not in self._asked:
                self._asked[name] = self._pool.submit(question)
        wait([self._asked[name] for name in questions], _LOOK_TIMEOUT_S)
        signs: dict[str, Sign] = {}
        for name in questions:
            if self._asked[name].done():
                signs.update(_answer(self._asked.pop(name)))
        return signs

    def close(self) -> None:
        """Wait for no question."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _answer(asked: Future[Mapping[str, Sign]]) -> Mapping[str, Sign]:
    try:
        return asked.result()
    except Exception:  # E.g. a table that is not there: that one question has no answer.
        log.exception("A question for a sign of life failed")
        return {}
