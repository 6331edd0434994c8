"""
The door between Airflow and the hub: mounts the hub's API in Airflow's api-server, and writes the notes of DAG runs.

All else is in `crossdock.api` and `crossdock.app.airflow`.
"""

from airflow.plugins_manager import AirflowPlugin

from crossdock.api.app import create_app
from crossdock.app.airflow import run_notes


class HubPlugin(AirflowPlugin):
    name = "crossdock"
    fastapi_apps = [{"app": create_app(), "url_prefix": "/hub", "name": "Crossdock"}]  # noqa: RUF012  as Airflow has it
    listeners = [run_notes]  # noqa: RUF012  as Airflow has it
