"""./hub prepare: bring a deployment's databases to this version before Airflow's processes start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.client.errors import StackError
from crossdock.core.ids import prefixed
from crossdock.stack.home import write_json
from crossdock.stack.settings_file import AirflowSettings, read_settings
from crossdock.stack.stale_dags import is_ours

if TYPE_CHECKING:
    from crossdock.observability.audit import Entry

#: Connection id → Airflow's field name → the environment variable with its value. The settings file has no secrets.
SECRETS = {
    "hub_db": {"password": "HUB_DB_PASSWORD"},
    "commercetools": {"password": "HUB_COMMERCETOOLS_SECRET"},
}
#: Optional overrides of addresses: the settings file has those for development.
PLACES = {
    "hub_db": {"host": "HUB_DB_HOST", "port": "HUB_DB_PORT"},
    "commercetools": {"host": "HUB_COMMERCETOOLS_URL"},
}
#: Private networks that a connection's host may resolve to, separated by commas. The settings file has those for
#: development, which do not apply in a deployment.
NETWORKS = {"commercetools": "HUB_COMMERCETOOLS_NETWORKS"}
#: The password for Airflow's simple auth manager, which reads it from a file.
ADMIN_PASSWORD = "HUB_ADMIN_PASSWORD"  # noqa: S105  the variable's name
PASSWORDS_FILE = "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"


class MissingSecrets(StackError):
    """Secrets are not set in the environment; the message names them all."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        super().__init__(f"Not set: {', '.join(names)}. See .env.example, which describes each and how to make it.")


def prepare() -> None:
    """
    Prepare a deployment: migrate both databases and load airflow_settings.yaml.

    Example: docker compose run --rm prepare
    """
    from crossdock.app.stream_settings import refuse_mistakes  # noqa: PLC0415  loads every connector

    refuse_mistakes()
    settings = read_settings(overrides=overrides(os.environ))
    passwords_file = os.environ.get(PASSWORDS_FILE)
    if passwords_file:
        write_json(Path(passwords_file), {"admin": _secret(os.environ, ADMIN_PASSWORD)})
    _migrate_airflow()
    console.success("Airflow's database is up to date")
    if removed := remove_stale_dags():
        console.success(f"Removed from Airflow, because no DAG file defines them: {', '.join(removed)}")
    kept = _migrate_hub(settings)
    console.success("The hub's database is up to date")
    for connection_id, by_hand in kept.items():
        console.say(f"{connection_id} stays as it is: {by_hand.act} by {by_hand.actor}")
    load(replace(settings, connections=[*settings.connections, own_database(os.environ)]), kept=kept)
    console.success(f"Loaded from airflow_settings.yaml into Airflow: {_counted(settings)}")


def overrides(environment: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """
    Read the fields of connections that *environment* overrides: connection id → Airflow's field name → value.

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


def own_database(environment: Mapping[str, str]) -> dict[str, Any]:
    """Describe Airflow's own database as a connection, by which the DAG `clean_up` cleans it: tasks do not have it otherwise."""
    from airflow.configuration import conf  # noqa: PLC0415  seconds to import
    from sqlalchemy import make_url  # noqa: PLC0415

    address = environment.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN") or conf.get("database", "sql_alchemy_conn")
    url = make_url(address or "")
    return {
        "connection_id": prefixed("airflow_db"),
        "conn_type": "postgres" if url.drivername.startswith("postgresql") else url.get_backend_name(),
        "host": url.host,
        "port": url.port,
        "login": url.username,
        "password": url.password,
        "schema": url.database,
    }


def _networks(environment: Mapping[str, str], conn_id: str) -> dict[str, Any]:
    if conn_id not in NETWORKS:
        return {}
    named = environment.get(NETWORKS[conn_id], "")
    return {"extra": {"allowed_networks": [network.strip() for network in named.split(",") if network.strip()]}}


def load(settings: AirflowSettings, *, kept: Collection[str] = ()) -> None:
    """
    Write *settings* to Airflow's own database. Needs no api-server.

    Connections replace those of the same names, but for those *kept*. A pool or variable that is there may have been
    changed in Airflow, and stays as it is.
    """
    # Not by Airflow's CLI: its three `import` commands take half a minute.
    from airflow.models.connection import Connection  # noqa: PLC0415  seconds to import
    from airflow.models.pool import Pool  # noqa: PLC0415
    from airflow.models.variable import Variable  # noqa: PLC0415
    from airflow.utils.session import create_session  # noqa: PLC0415
    from sqlalchemy import delete, select  # noqa: PLC0415

    from crossdock.app import definitions  # noqa: PLC0415  loads pydantic

    with create_session() as session:
        for connection in settings.connections:
            if connection["connection_id"] in kept:
                continue
            fields = {name: value for name, value in connection.items() if name != "connection_id"}
            session.execute(delete(Connection).where(Connection.conn_id == connection["connection_id"]))
            session.add(Connection(conn_id=connection["connection_id"], **fields))
        pools = [*(definitions.pool_of(found.integration) for found in definitions.read_all()), *settings.pools]
        for pool in {pool["name"]: pool for pool in pools}.values():  # the file's own, where both have one
            if Pool.get_pool(pool["name"], session=session) is None:
                Pool.create_or_update_pool(**pool, include_deferred=False, session=session)
        for variable in settings.variables:
            if session.scalar(select(Variable).where(Variable.key == variable["key"])) is None:
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
            # Refused while a task of it is still running: the next deployment removes it.
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
        console.error("`airflow db migrate` failed: see above. Run this again to continue where it stopped.")
        sys.exit(Exit.FAILED)


def _migrate_hub(settings: AirflowSettings) -> Mapping[str, Entry]:
    from crossdock.app import definitions, workflow_snapshots  # noqa: PLC0415  loads pydantic
    from crossdock.app.database import migrate  # noqa: PLC0415  loads SQLAlchemy
    from crossdock.db.database import Store  # noqa: PLC0415
    from crossdock.integrations import service as integration_service  # noqa: PLC0415

    hub = next(connection for connection in settings.connections if connection["connection_id"] == prefixed("hub_db"))
    dsn = psycopg.conninfo.make_conninfo(
        host=hub["host"], port=hub["port"], user=hub["login"], password=hub["password"], dbname=hub["schema"]
    )
    migrate(dsn)
    with Store(dsn) as store:
        found = integration_service.register(store, settings.connections, actor="cli:prepare")
        definitions.write(store)
        workflow_snapshots.write(store, anew=True)
    return found.kept


def _counted(settings: AirflowSettings) -> str:
    counts = {
        "connections": len(settings.connections),
        "pools": len(settings.pools),
        "variables": len(settings.variables),
    }
    return ", ".join(f"{count} {name}" for name, count in counts.items())
