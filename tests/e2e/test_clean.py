"""What is past its time goes from Airflow's own tables, and nothing else does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.e2e.conftest import Hub

pytestmark = pytest.mark.e2e

#: Of the runs that a person started, the oldest that has ended.
ENDED = """
SELECT run_id FROM dag_run WHERE run_type = 'manual' AND state IN ('success', 'failed') ORDER BY start_date, id LIMIT 1
"""
AGE_RUN = "UPDATE dag_run SET start_date = start_date - interval '1 year' WHERE run_id = %s"
AGE_TASKS = "UPDATE task_instance SET start_date = start_date - interval '1 year' WHERE run_id = %s"
RUNS = "SELECT run_id FROM dag_run"
TASKS = "SELECT count(*) FROM task_instance WHERE run_id = %s"
WRITE_LOG = "INSERT INTO log (dttm, event, owner) VALUES (now() - interval '1 year', 'a year old', 'ida'), (now(), 'young', 'ida')"
READ_LOG = "SELECT event FROM log WHERE owner = 'ida'"


def test_a_cleaning_takes_what_is_old_from_airflows_tables_and_leaves_the_rest(hub: Hub) -> None:
    # The sandbox's dirty rows are rejected by the first sync, which is then partial.
    hub("sync", "inventory", exit_code=None)
    with _metadata(hub) as database:
        ((old,),) = database.execute(ENDED).fetchall()
        young = {found for (found,) in database.execute(RUNS)} - {old}
        for statement in (AGE_RUN, AGE_TASKS):
            database.execute(statement, (old,))
        database.execute(WRITE_LOG)

        counted = _removed(hub.json("clean", "--dry-run"))
        assert database.execute(READ_LOG).fetchall() == [("a year old",), ("young",)], "a dry run only counts"
        removed = _removed(hub.json("clean"))

        assert database.execute(READ_LOG).fetchall() == [("young",)]
        left = {found for (found,) in database.execute(RUNS)}
        assert old not in left
        assert young <= left
        assert database.execute(TASKS, (old,)).fetchall() == [(0,)]
        assert counted["dag_run"] == removed["dag_run"] == 1
        assert removed["log"] >= counted["log"] >= 1
        assert "dag_run" not in _removed(hub.json("clean")), "the second cleaning finds nothing"


def _metadata(hub: Hub) -> psycopg.Connection[Any]:
    home = Path(hub.environment["HUB_HOME"])
    secrets = json.loads((home / "secrets.json").read_text())
    (port,) = (
        part["port"] for part in hub.json("status", exit_code=None)["processes"] if part["name"] == "postgres-metadata"
    )
    return psycopg.connect(
        f"postgresql://airflow:{secrets['metadata_password']}@127.0.0.1:{port}/airflow", autocommit=True
    )


def _removed(document: dict[str, Any]) -> dict[str, int]:
    return {one["what"]: one["removed"] for one in document["cleaned"] if one["place"] == "Airflow's tables"}
