"""Add fields to each log line of a sync, so that a log store can be searched for a run."""

from __future__ import annotations

from contextlib import AbstractContextManager

from structlog.contextvars import bound_contextvars

from crossdock.sync.ledger import Run


def of(run: Run, batch_no: int | None = None) -> AbstractContextManager[None]:
    """
    Add `run`, `stream` and `batch` to the log lines of the block, also to those of the connector.

    The fields are bound to the context, because Airflow 3.3.2 omits the `extra=` of a line from its task logs.
    """
    batch = {} if batch_no is None else {"batch": batch_no}
    return bound_contextvars(run=run.run_id, stream=run.stream, **batch)
