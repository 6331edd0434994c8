"""The badge on Airflow's own pages: how many things need a person, and nothing that could break a page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from crossdock import web
from crossdock.db.database import Store
from tests.api.conftest import Hub
from tests.web.browser import Screen, chromium, needs_chromium, screen_of
from tests.web.conftest import Visitor
from tests.web.test_quarantine import rejected

BUNDLE = Path(web.__file__).parent / "static" / "badge.js"
#: A person downloads it with Airflow's first page.
MOST_BYTES = 5_000


def test_it_is_small() -> None:
    assert BUNDLE.stat().st_size <= MOST_BYTES


def test_it_counts_what_the_overview_lists(hub_store: Store, vera: Visitor) -> None:
    assert vera.answer("/badge").json() == {"needs": 0}
    rejected(hub_store, "a", "b")

    assert vera.answer("/badge").json() == {"needs": 1}
    assert "1 thing needs you" in vera.get("/overview")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


def open_airflow(screen: Screen) -> None:
    screen.page.goto(f"{screen.hub.url}/dags")
    expect(screen.page.get_by_role("link", name="Dags", exact=True).first).to_be_visible(timeout=120_000)


@needs_chromium
class TestOnAirflowsPage:
    """Airflow's own pages load the bundle, with the React that they have."""

    def test_it_says_how_many_and_leads_to_the_overview(self, hub_store: Store, pages: Hub, browser: Browser) -> None:
        rejected(hub_store, "a")
        with screen_of(browser, pages, "vera") as screen:
            screen.page.goto(f"{pages.url}/dags")
            badge = screen.page.get_by_role("link", name="1 needs you")
            expect(badge).to_be_visible(timeout=120_000)
            badge.click()
            expect(screen.page.frame_locator("iframe").get_by_text("1 thing needs you")).to_be_visible(timeout=120_000)

    @pytest.mark.parametrize(
        "answer",
        [
            {"status": 500, "body": "no"},
            {"status": 403, "body": "{}"},
            {"status": 200, "body": "<html>"},
            {"status": 200, "json": {"needs": "<b>5</b>"}},
            None,
        ],
        ids=["error", "refused", "not JSON", "no number", "no answer"],
    )
    def test_what_goes_wrong_shows_nothing_and_breaks_nothing(
        self, pages: Hub, browser: Browser, answer: dict[str, object] | None
    ) -> None:
        asked = []

        def reply(route: Route) -> None:
            asked.append(route.request.url)
            route.abort() if answer is None else route.fulfill(**answer)  # type: ignore[arg-type]

        with screen_of(browser, pages, "vera") as screen:
            screen.page.route("**/hub/pages/badge", reply)
            with screen.page.expect_event("requestfinished" if answer else "requestfailed", _is_badge, timeout=120_000):
                open_airflow(screen)
            expect(screen.page.get_by_text("need you")).to_have_count(0)
            expect(screen.page.get_by_role("link", name="Dags", exact=True).first).to_be_visible()
            assert len(asked) == 1, "it asks once, whatever comes"
            assert not [said for said in screen.complaints if "Component failed" in said or "Error:" in said]

    def test_it_asks_twice_a_minute_and_not_while_the_tab_is_hidden(self, pages: Hub, browser: Browser) -> None:
        asked = []
        with screen_of(browser, pages, "vera") as screen:
            page = screen.page
            page.clock.install()
            page.add_init_script("Object.defineProperty(document, 'hidden', {get: () => globalThis.isHidden === true})")
            page.on("request", lambda request: _is_badge(request) and asked.append(request.url))
            with page.expect_request(_is_badge, timeout=120_000):
                page.goto(f"{pages.url}/dags")
            page.clock.fast_forward(25_000)
            with page.expect_request(_is_badge, timeout=60_000):
                page.clock.fast_forward(10_000)
            page.evaluate("globalThis.isHidden = true")
            page.clock.fast_forward(300_000)
            with page.expect_request(_is_badge, timeout=60_000):
                page.evaluate("globalThis.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))")

            assert len(asked) == 3


def _is_badge(request: object) -> bool:
    return str(getattr(request, "url", "")).endswith("/hub/pages/badge")
