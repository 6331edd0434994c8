"""The door between Airflow and the hub: mounts the hub's API in Airflow's api-server. All else is in `crossdock.api`."""

from airflow.plugins_manager import AirflowPlugin

from crossdock.api.app import create_app


class HubPlugin(AirflowPlugin):
    name = "crossdock"
    fastapi_apps = [{"app": create_app(), "url_prefix": "/hub", "name": "Crossdock"}]  # noqa: RUF012  as Airflow has it
