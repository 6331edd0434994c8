"""The DAG that looks through the declared integrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.connectors.declarative.streams import declared_syncs, mistakes
from crossdock.core.errors import BadRequest


def look_through_declarations() -> list[str]:
    """
    The names of all declarations, when each of them can be used.

    Raises:
        BadRequest: one is wrong; every mistake of every file is named with its line.

    """
    wrong = mistakes()
    if wrong:
        raise BadRequest("\n".join(map(str, wrong)))
    return [declaration.name for declaration, _ in declared_syncs()]


#: What `@dag` is told for the DAG that looks through the declarations.
LOOK_THROUGH_OPTIONS: Mapping[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "tags": ["declared"],
    "default_args": {"retries": 1, "retry_policy": RetryByKind()},
}
