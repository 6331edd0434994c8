"""The calls that `up` makes to Airflow about stale DAGs, against the real Airflow."""

from __future__ import annotations

from crossdock.client.airflow import AirflowApi
from crossdock.stack.stale_dags import RemovedDags, remove_stale_dags
from tests.api.conftest import Hub


def test_airflow_understands_the_questions(hub: Hub) -> None:
    """Its list has other parameters in each version; a stand-in in a test would accept any."""
    assert remove_stale_dags(AirflowApi(hub.url, "admin", "adminadmin")) == RemovedDags((), ())
