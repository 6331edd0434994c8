"""Make a change of the registry known to Airflow: snapshots for the DAG files, a pool, and a parse without delay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.api.parse_requests import parse_soon
from crossdock.app import definitions, workflow_snapshots
from crossdock.core.log import logger
from crossdock.db.database import Store

log = logger(__name__)


def integration_added(store: Store, integration_id: str) -> None:
    """Create the integration's pool, unless there is one, and its DAGs. Call it in the api-server."""
    _create_pool(definitions.pool_of(integration_id))
    integrations_changed(store)


def integrations_changed(store: Store) -> None:
    """Write the snapshots of the registry, and have Airflow parse the DAG files of those that changed."""
    parse_soon([definitions.file_name(file_no) for file_no in definitions.write(store)])


def workflows_changed(store: Store) -> None:
    """Write the snapshots of the deployed workflows, and have Airflow parse the DAG files of those that changed."""
    files = [workflow_snapshots.file_name(file_no) for file_no in workflow_snapshots.write(store)]
    try:
        parse_soon(files)
    except Exception as error:  # noqa: BLE001  it is deployed: Airflow parses the files at their next turn, and executions need no run
        log.warning("Airflow could not be asked to parse %s: %s", ", ".join(files), type(error).__name__)


def start_run(dag_id: str, run_id: str, conf: Mapping[str, Any], *, by: str) -> bool:
    """
    Start a run of a DAG; return whether it is there. One that was started before is there. Call it in the api-server.

    False where Airflow does not know the DAG yet, or cannot start a run of it: the log says why.
    """
    from airflow.api.common.trigger_dag import trigger_dag  # noqa: PLC0415  only the api-server has Airflow's database
    from airflow.exceptions import DagRunAlreadyExists  # noqa: PLC0415
    from airflow.utils.types import DagRunTriggeredByType  # noqa: PLC0415

    try:
        trigger_dag(
            dag_id,
            triggered_by=DagRunTriggeredByType.REST_API,
            triggering_user_name=by,
            run_id=run_id,
            conf=dict(conf),
        )
    except DagRunAlreadyExists:
        return True
    except Exception as error:  # noqa: BLE001  whatever it is: the caller goes on without a run
        log.warning("No run of %s could be started: %s", dag_id, type(error).__name__)
        return False
    return True


def _create_pool(pool: Mapping[str, Any]) -> None:
    from airflow.models.pool import Pool  # noqa: PLC0415  only the api-server has Airflow's database
    from airflow.utils.session import create_session  # noqa: PLC0415

    with create_session() as session:
        if Pool.get_pool(pool["name"], session=session) is None:
            Pool.create_or_update_pool(**pool, include_deferred=False, session=session)
