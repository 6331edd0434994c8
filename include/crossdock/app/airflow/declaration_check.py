"""Check the declared integrations in a DAG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import explained_failures
from crossdock.connectors.declarative.streams import declared_streams, mistakes
from crossdock.core.errors import BadRequest
from crossdock.core.ids import OWNER, prefixed


def check_declarations() -> list[str]:
    """
    Check every declaration, and return their names.

    Raises:
        TaskFailed: one is invalid; the log has every error of every file with its line.

    """
    with explained_failures():
        wrong = mistakes()
        if wrong:
            raise BadRequest("\n".join(map(str, wrong)))
    return [declaration.name for declaration, _ in declared_streams()]


#: Arguments of `@dag` for the DAG that checks the declarations.
CHECK_OPTIONS: Mapping[str, Any] = {
    "dag_id": prefixed("check_declarations"),
    "description": "Check the files of the declared integrations",
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["declared"],
    "default_args": {"owner": OWNER, "retries": 1, "retry_policy": RetryByKind()},
}
