"""End a failed task's log with what is wrong and what to do, without a traceback that explains nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.app.airflow.hints import phrase
from crossdock.app.airflow.supervision import ended_with, supervisor_of_this_task
from crossdock.core.errors import HubError
from crossdock.core.log import logger
from crossdock.db.database import StoreRefused

log = logger(__name__)

#: Here the fault may be in our code, and the traceback shows where.
_DEFECTS = (StoreRefused,)


class TaskFailed(SystemExit):
    """
    A task failed by an error that its message explains; the message is logged already.

    Airflow logs the whole chained traceback of every other exception. Of a SystemExit it logs one line, and treats it
    like any failure otherwise: it asks the retry policy, and calls `on_failure_callback` with it.
    """

    def __init__(self, error: HubError) -> None:
        self.error = error
        super().__init__(1)


@contextmanager
def explained_failures(*, stop: Callable[[], object] = lambda: None) -> Iterator[None]:
    """
    Log an error of ours as its message and its hint, the last lines of the task's log; wrap the whole task in it.

    The task ends with its supervisor, too. *stop* is called first, if it has leases to free.

    Raises:
        TaskFailed: in place of the error. Defects pass unchanged, so that Airflow logs their traceback.

    """
    try:
        with ended_with(supervisor_of_this_task(), stop):
            yield
    except _DEFECTS:
        raise
    except HubError as error:
        log.error("%s", error)  # noqa: TRY400  the message explains it, a traceback does not
        if error.hint:
            log.error("%s", phrase(error.hint))  # noqa: TRY400
        raise TaskFailed(error) from None


def cause_of(exception: BaseException | str | None) -> BaseException | str | None:
    """Find the error by which a task failed: that inside a `TaskFailed`, or the exception itself."""
    return exception.error if isinstance(exception, TaskFailed) else exception
