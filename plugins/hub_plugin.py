"""
The door between Airflow and the hub: mounts the hub's API and pages in Airflow's api-server, and writes the notes of DAG runs.

All else is in `crossdock.api`, `crossdock.web` and `crossdock.app.airflow`.
"""

from airflow.plugins_manager import AirflowPlugin

from crossdock.api.app import create_app
from crossdock.app.airflow import run_notes
from crossdock.web.app import create_pages
from crossdock.web.assets import address_of


class HubPlugin(AirflowPlugin):
    name = "crossdock"
    # The pages first: a mount takes every path that begins with its prefix.
    fastapi_apps = [  # noqa: RUF012  as Airflow has it
        {"app": create_pages(), "url_prefix": "/hub/pages", "name": "Crossdock pages"},
        {"app": create_app(), "url_prefix": "/hub", "name": "Crossdock"},
    ]
    # Addresses without a leading slash: Airflow may be below a path.
    external_views = [  # noqa: RUF012  as Airflow has it
        {
            "name": "Crossdock",
            "href": "hub/pages/overview",
            "destination": "nav",
            "url_route": "crossdock",
            "nav_top_level": True,
            "icon": "hub/pages/assets/icon.svg",
            "icon_dark_mode": "hub/pages/assets/icon-dark.svg",
        },
        {
            "name": "Crossdock",
            "href": "hub/pages/dag-run?dag_id={DAG_ID}&run_id={RUN_ID}",
            "destination": "dag_run",
            "url_route": "crossdock_run",
            "icon": "hub/pages/assets/icon.svg",
            "icon_dark_mode": "hub/pages/assets/icon-dark.svg",
        },
    ]
    # The only one: Airflow calls them experimental.
    react_apps = [  # noqa: RUF012  as Airflow has it
        {
            "name": "Crossdock badge",
            "bundle_url": f"hub/pages{address_of('badge.js')}",
            "destination": "base",
            "url_route": "crossdock_badge",
        }
    ]
    listeners = [run_notes]  # noqa: RUF012  as Airflow has it
