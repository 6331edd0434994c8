"""A run says in Airflow's own pages what it did: in its note, its link and its asset's event."""

from __future__ import annotations

import json
from datetime import timedelta
from urllib.parse import quote

import pytest
from playwright.sync_api import expect

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched, eventually
from tests.web.browser import chromium, needs_chromium

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
    assert f"/hub/pages/dag-run?dag_id={SYNC}&run_id=" in links["Run in the hub"]

    (event,) = stack.api.get("/assets/events", source_dag_id=SYNC, source_run_id=run)["asset_events"]
    assert event["extra"].items() >= {"run_id": run_id, "read": read, "rejected": rejected}.items()


@needs_chromium
def test_the_tab_of_a_dag_run_shows_the_hubs_run_of_it_and_leads_back(stack: Watched) -> None:
    """Airflow's own page, its frame, and its router: the nearest that a test comes to a person."""
    run = stack.trigger()
    assert stack.wait_for_end(run) == "success"
    url, login = stack.api.url, json.loads((stack.home / "secrets.json").read_text())
    token = AirflowApi(url, "admin", login["admin_password"]).new_token()
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_cookies([{"name": "_token", "value": token, "url": url}])
        page = context.new_page()
        page.goto(f"{url}/dags/{SYNC}/runs/{run}")
        page.locator('a[href*="crossdock_run"]').click(timeout=60_000)
        frame = page.frame_locator("iframe")
        expect(frame.get_by_text("What became of each row")).to_be_visible(timeout=60_000)
        expect(frame.get_by_role("heading", level=1)).to_contain_text("commercetools.inventory")
        frame.get_by_role("link", name="Airflow").click()
        page.wait_for_url(lambda there: "/plugin/" not in there and quote(run, safe="") in there)


def test_airflow_refuses_to_backfill_a_sync(stack: Watched) -> None:
    """Each of its runs would read what changed since the watermark."""
    span = {"from_date": "2026-11-01T00:00:00Z", "to_date": "2026-11-02T00:00:00Z"}

    with pytest.raises(AirflowRefused, match="does not allow backfill runs"):
        stack.api.post("/backfills", {"dag_id": SYNC, **span, "dag_run_conf": {}, "run_backwards": False})
