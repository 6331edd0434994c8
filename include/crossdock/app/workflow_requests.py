"""What a request does with declared workflows. The routes and the pages share it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Protocol

from crossdock.app.orders import not_called
from crossdock.app.workflows import DeclaredFlows
from crossdock.core.ids import workflow_dag
from crossdock.core.roles import Caller
from crossdock.db.database import Store
from crossdock.workflows.declared import executions
from crossdock.workflows.model import Driver, Execution


class StartRun(Protocol):
    """Starts a run of a DAG; only the api-server can."""

    def __call__(self, dag_id: str, run_id: str, conf: Mapping[str, Any], *, by: str) -> bool:
        """Start it; return whether it is there."""


@cache
def flows() -> DeclaredFlows:
    """Read definitions for requests; nothing is called here."""
    return DeclaredFlows(not_called)


def execute(
    store: Store, workflow_id: str, params: Mapping[str, Any], *, run_id: str, caller: Caller, start_run: StartRun
) -> Execution:
    """
    Start an execution of the version that is deployed, as a run of its DAG; where Airflow cannot start one, without.

    Raises:
        NotFound: there is no such workflow.
        Conflict: no version of it is deployed.
        BadRequest: a param is missing, not declared, or not valid.

    """
    with store.transaction() as work:
        started = executions.execute(
            work, flows(), workflow_id, params, run_id=run_id, driver=Driver.DAG, actor=caller.actor
        )
    start(store, started.execution_id, workflow_id, run_id, caller=caller, start_run=start_run)
    return started


def start(
    store: Store, execution_id: str, workflow_id: str, run_id: str, *, caller: Caller, start_run: StartRun
) -> None:
    """Start the run of an execution that is committed; where Airflow cannot, it goes on without. Safe to repeat."""
    # Without its params: they may be about a person, and Airflow shows them to everybody.
    if not start_run(workflow_dag(workflow_id), run_id, {"execution_id": execution_id}, by=caller.name):
        executions.go_on_without_run(store, execution_id)
