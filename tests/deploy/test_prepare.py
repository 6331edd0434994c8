"""airflow_settings.yaml in a deployment: the one file, completed by the environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from crossdock.cli.prepare import SECRETS, MissingSecrets, overrides
from crossdock.stack.settings_file import read_settings

ENVIRONMENT = {
    "HUB_DB_HOST": "postgres-hub",
    "HUB_DB_PORT": "5432",
    "HUB_DB_PASSWORD": "made-up",
    "HUB_COMMERCETOOLS_SECRET": "made-up too",
}


def test_the_environment_completes_what_the_file_says() -> None:
    """Addresses and secrets come from the environment; everything else stays as the file has it."""
    settings = read_settings(overrides=overrides(ENVIRONMENT))
    hub, connection = (
        next(each for each in settings.connections if each["connection_id"] == conn_id)
        for conn_id in ("hub_db", "commercetools")
    )

    assert (hub["host"], hub["port"], hub["password"], hub["login"]) == ("postgres-hub", 5432, "made-up", "hub")
    assert (connection["host"], connection["password"]) == ("http://127.0.0.1:8090", "made-up too")


@pytest.mark.parametrize(
    ("networks", "allowed"), [(None, []), ("", []), ("10.1.0.0/16, fd12::/16", ["10.1.0.0/16", "fd12::/16"])]
)
def test_a_deployment_leads_into_no_network_that_it_does_not_name(networks: str | None, allowed: list[str]) -> None:
    """What the file allows is the sandbox on a developer's own machine; the rest of the extra stays."""
    environment = ENVIRONMENT | ({} if networks is None else {"HUB_COMMERCETOOLS_NETWORKS": networks})
    settings = read_settings(overrides=overrides(environment))
    connection = next(each for each in settings.connections if each["connection_id"] == "commercetools")

    extra = json.loads(connection["extra"])

    assert (extra["allowed_networks"], extra["project"]) == (allowed, "demo")


@pytest.mark.parametrize("name", [name for fields in SECRETS.values() for name in fields.values()])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_secret_is_named(name: str, value: str | None) -> None:
    """A connection without its password would fail hours later, in a task."""
    environment = {key: given for key, given in ENVIRONMENT.items() if key != name} | (
        {} if value is None else {name: ""}
    )

    with pytest.raises(MissingSecrets, match=name):
        overrides(environment)


def test_prepare_stops_before_it_touches_anything() -> None:
    """Exit code 1 and all missing names at once, so that nobody fixes them one by one."""
    environment = {"PATH": os.environ["PATH"]}
    ended = subprocess.run(
        [sys.executable, "-m", "crossdock.cli", "prepare"], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert "HUB_DB_PASSWORD, HUB_COMMERCETOOLS_SECRET" in ended.stderr


def test_every_connection_of_the_file_can_be_completed() -> None:
    """A connection added to the file needs its secret named, or a deployment gets it without one."""
    assert {each["connection_id"] for each in read_settings().connections} == set(SECRETS)


def test_the_file_itself_holds_no_secret() -> None:
    """It is in version control, and Astro, ./hub and compose all read it."""
    assert not [each for each in read_settings().connections if "password" in each]


REMOVE_STALE = """
from airflow import settings
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from sqlalchemy import select

from crossdock.cli.prepare import remove_stale_dags

import_all_models()
Base.metadata.create_all(settings.engine)
with create_session() as session:
    session.add(DagBundleModel(name="dags-folder"))
    session.flush()
    for dag_id, stale, tags in [
        ("sync_inventory", True, ["sync", "inventory"]),
        ("sync_product", False, ["sync", "product"]),
        ("sync_order", True, ["theirs"]),
        ("backfill_shop_eu_orders", True, ["backfill", "shop_eu", "orders"]),
        ("sync_shop_us_orders", False, ["sync", "shop_us", "orders"]),
    ]:
        dag = DagModel(dag_id=dag_id, is_stale=stale, bundle_name="dags-folder", timetable_summary="", fileloc="x.py")
        dag.tags = [DagTag(name=name, dag_id=dag_id) for name in tags]
        session.add(dag)
removed = remove_stale_dags()
with create_session() as session:
    left = session.scalars(select(DagModel.dag_id).order_by(DagModel.dag_id)).all()
print(removed, left, sep="|")
"""


def test_stale_dags_of_ours_are_removed_from_airflows_database(tmp_path: Path) -> None:
    """DAGs of an earlier version of the hub are removed: no DAG of others, and none that a file still defines."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
    }
    ended = subprocess.run(
        [sys.executable, "-P", "-c", REMOVE_STALE], env=environment, capture_output=True, text=True, check=False
    )

    assert ended.stdout.splitlines()[-1:] == [
        "['backfill_shop_eu_orders', 'sync_inventory']|['sync_order', 'sync_product', 'sync_shop_us_orders']"
    ], ended.stderr
