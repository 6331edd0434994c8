"""A run says in Airflow's own pages what it did: in its note, its link and its asset's event."""

from __future__ import annotations

from datetime import timedelta

import pytest

from crossdock.client.errors import AirflowRefused
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched, eventually

pytestmark = pytest.mark.e2e

SYNC = "sync_commercetools_inventory"


@pytest.fixture(scope="module")
def stack(hub: Hub) -> Watched:
    return Watched(hub, timedelta(minutes=1))


def test_a_run_that_rejected_records_says_so_where_airflow_shows_it(stack: Watched) -> None:
    run = stack.trigger(full=True)
    assert stack.wait_for_end(run) == "success"

    ((run_id, read, rejected),) = stack.ask("SELECT run_id, read, rejected FROM sync_run WHERE dag_run_id = %s", run)
    note = eventually(lambda: stack.api.dag_run(SYNC, run)["note"])
    assert note.startswith(f"{read:,} records read: ")
    assert f"{rejected:,} rejected. The rejected ones are in quarantine" in note
    assert note.endswith(f"Record by record: ./hub run rows {run_id}")
    assert note in stack.log_of(run, "load")

    links = stack.api.get(f"/dags/{SYNC}/dagRuns/{run}/taskInstances/load/links")["extra_links"]
    assert f"/hub/v1/runs?dag_id={SYNC}&dag_run_id=" in links["Run in the hub"]

    (event,) = stack.api.get("/assets/events", source_dag_id=SYNC, source_run_id=run)["asset_events"]
    assert event["extra"].items() >= {"run_id": run_id, "read": read, "rejected": rejected}.items()


def test_airflow_refuses_to_backfill_a_sync(stack: Watched) -> None:
    """Each of its runs would read what changed since the watermark."""
    span = {"from_date": "2026-11-01T00:00:00Z", "to_date": "2026-11-02T00:00:00Z"}

    with pytest.raises(AirflowRefused, match="does not allow backfill runs"):
        stack.api.post("/backfills", {"dag_id": SYNC, **span, "dag_run_conf": {}, "run_backwards": False})
