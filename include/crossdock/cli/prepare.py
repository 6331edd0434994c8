"""Prepare a deployment: what must be true of the databases before Airflow's processes start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.client.errors import StackError
from crossdock.stack.home import write_json
from crossdock.stack.settings_file import AirflowSettings, read_settings
from crossdock.stack.stale_dags import is_ours

#: By connection id, Airflow's name of a field and the variable that fills it. Secrets are never in the settings file.
SECRETS = {
    "hub_db": {"password": "HUB_DB_PASSWORD"},
    "commercetools": {"password": "HUB_COMMERCETOOLS_SECRET"},
}
#: The same for what the file says rightly of a development stack and a deployment has elsewhere. May be unset.
PLACES = {
    "hub_db": {"host": "HUB_DB_HOST", "port": "HUB_DB_PORT"},
    "commercetools": {"host": "HUB_COMMERCETOOLS_URL"},
}
#: The networks of one's own that a connection may lead into, with commas between them. Those of the file are a
#: development machine's and do not hold in a deployment.
NETWORKS = {"commercetools": "HUB_COMMERCETOOLS_NETWORKS"}
#: For Airflow's simple auth manager, which reads its passwords from a file.
ADMIN_PASSWORD = "HUB_ADMIN_PASSWORD"  # noqa: S105  the variable's name
PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"


class MissingSecrets(StackError):
    """The environment lacks secrets; the message names them all."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"Not set: {', '.join(names)}. Each is described, with how to make it, in .env.example.")


def prepare() -> None:
    """Before Airflow starts in a deployment: both databases at this version, airflow_settings.yaml loaded and registered."""
    settings = read_settings(overrides=overrides(os.environ))
    passwords_file = os.environ.get(PASSWORDS_FILE)
    if passwords_file:
        write_json(Path(passwords_file), {"admin": _secret(os.environ, ADMIN_PASSWORD)})
    _migrate_airflow()
    console.praise("Airflow's database is at this version")
    if removed := remove_stale_dags():
        console.praise(f"Removed from Airflow, because no DAG file defines them: {', '.join(removed)}")
    _migrate_hub(settings)
    console.praise("The hub's database is at this version")
    load(settings)
    console.praise(f"Airflow has {_counted(settings)} of airflow_settings.yaml")


def overrides(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """
    What *environment* says about connections, by id and in Airflow's names: for `read_settings`.

    Raises:
        MissingSecrets: A secret is unset or empty.

    """
    missing = [name for fields in SECRETS.values() for name in fields.values() if not environment.get(name)]
    if missing:
        raise MissingSecrets(missing)
    return {
        conn_id: {
            field: int(environment[name]) if field == "port" else environment[name]
            for field, name in {**PLACES[conn_id], **SECRETS[conn_id]}.items()
            if environment.get(name)
        }
        | _networks(environment, conn_id)
        for conn_id in SECRETS
    }


def _networks(environment: Mapping[str, str], conn_id: str) -> dict[str, Any]:
    if conn_id not in NETWORKS:
        return {}
    named = environment.get(NETWORKS[conn_id], "")
    return {"extra": {"allowed_networks": [network.strip() for network in named.split(",") if network.strip()]}}


def load(settings: AirflowSettings) -> None:
    """Put them into Airflow's own database, in place of what is there under the same names. Needs no api-server."""
    # Half a minute of `airflow connections import`, `pools import`, `variables import` is one process here.
    from airflow.models.connection import Connection  # noqa: PLC0415  seconds to import
    from airflow.models.pool import Pool  # noqa: PLC0415
    from airflow.models.variable import Variable  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import delete  # noqa: PLC0415

    with create_session() as session:
        for each in settings.connections:
            fields = {name: value for name, value in each.items() if name != "connection_id"}
            session.execute(delete(Connection).where(Connection.conn_id == each["connection_id"]))
            session.add(Connection(conn_id=each["connection_id"], **fields))
        for pool in settings.pools:
            Pool.create_or_update_pool(**pool, include_deferred=False, session=session)
        for variable in settings.variables:
            Variable.set(**variable, session=session)


def remove_stale_dags() -> list[str]:
    """Delete the stale DAGs of ours from Airflow's own database, as `up` does over REST. Needs no api-server."""
    from airflow.api.common.delete_dag import delete_dag  # noqa: PLC0415  seconds to import
    from airflow.models.dag import DagModel  # noqa: PLC0415
    from airflow.sdk.exceptions import AirflowException  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import select  # noqa: PLC0415

    removed = []
    with create_session() as session:
        stale = session.scalars(select(DagModel).where(DagModel.is_stale).order_by(DagModel.dag_id)).all()
        ours = [dag.dag_id for dag in stale if is_ours(dag.dag_id, {tag.name for tag in dag.tags})]
        for dag_id in ours:
            # A task of it that still runs: the next deployment removes it.
            with suppress(AirflowException):
                delete_dag(dag_id, session=session)
                removed.append(dag_id)
    return removed


def _secret(environment: Mapping[str, str], name: str) -> str:
    if not environment.get(name):
        raise MissingSecrets([name])
    return environment[name]


def _migrate_airflow() -> None:
    ended = subprocess.run([sys.executable, "-P", "-m", "airflow", "db", "migrate"], check=False)
    if ended.returncode != 0:
        console.complain("`airflow db migrate` failed: see above. Running this again goes on where it stopped.")
        sys.exit(Exit.FAILED)


def _migrate_hub(settings: AirflowSettings) -> None:
    from crossdock.app.database import migrate  # noqa: PLC0415  loads SQLAlchemy
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.integrations import service as desk  # noqa: PLC0415

    hub = next(each for each in settings.connections if each["connection_id"] == "hub_db")
    dsn = psycopg.conninfo.make_conninfo(
        host=hub["host"], port=hub["port"], user=hub["login"], password=hub["password"], dbname=hub["schema"]
    )
    migrate(dsn)
    with Store(dsn) as store:
        desk.register(store, settings.connections, actor="cli:prepare")


def _counted(settings: AirflowSettings) -> str:
    counts = {
        "connections": len(settings.connections),
        "pools": len(settings.pools),
        "variables": len(settings.variables),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())
