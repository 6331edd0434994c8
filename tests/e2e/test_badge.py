"""The badge on Airflow's own pages, in a real Airflow as `./hub up` starts it."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import expect

from tests.e2e.conftest import Hub
from tests.e2e.test_story import Api
from tests.web.browser import chromium, needs_chromium

pytestmark = [pytest.mark.e2e, needs_chromium]


def test_it_says_on_airflows_pages_that_something_needs_a_person(hub: Hub) -> None:
    """Whoever looks at Airflow for another reason sees it, and is one click from what is wrong."""
    hub("sync", "inventory", "--full", exit_code=None)
    api = Api(hub)
    needs = requests.get(f"{api.url}/hub/pages/badge", headers=api.headers, timeout=120).json()["needs"]
    assert needs > 0, "the simulated shop has records that fail a rule"
    with chromium() as browser:
        context = browser.new_context()
        context.add_cookies(
            [{"name": "_token", "value": api.headers["Authorization"].removeprefix("Bearer "), "url": api.url}]
        )
        page = context.new_page()
        page.goto(f"{api.url}/dags")
        badge = page.get_by_role("link", name="need you" if needs > 1 else "needs you")
        expect(badge).to_be_visible(timeout=120_000)
        badge.click()
        expect(page.frame_locator("iframe").get_by_role("heading", name="Overview")).to_be_visible(timeout=120_000)
        context.close()
