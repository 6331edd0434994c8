"""What each log line of a sync carries beside its words, so that a log store can be asked for a run."""

from __future__ import annotations

from contextlib import AbstractContextManager

from structlog.contextvars import bound_contextvars

from crossdock.sync.ledger import Run


def of(run: Run, batch_no: int | None = None) -> AbstractContextManager[None]:
    """
    Lines within are told with `run`, `entity` and `batch`, also those of the connector.

    Bound to the context, because Airflow 3.3.2 leaves the `extra=` of a line out of its task logs.
    """
    batch = {} if batch_no is None else {"batch": batch_no}
    return bound_contextvars(run=run.run_id, entity=run.entity, **batch)
