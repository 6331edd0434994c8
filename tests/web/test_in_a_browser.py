"""The pages in a real browser: read by everybody, by keyboard too, and in at most four clicks from a message to "closed"."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from crossdock.db.database import Store
from crossdock.maintenance.alerting import service as alerting
from crossdock.maintenance.alerting.rows import AlertRow
from crossdock.maintenance.alerting.texts import cause_of
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from tests.api.conftest import Hub
from tests.api.test_decisions import waiting
from tests.api.test_integrations import CANARY, DECLARED
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry
from tests.web.browser import Screen, chromium, needs_chromium, screen_of
from tests.web.hostile import ATTRIBUTE, SCRIPT
from tests.web.test_other_pages import DEAD_LETTER, SHOP
from tests.web.test_quarantine import CAUSE, deliver, rejected, states

pytestmark = needs_chromium

PICTURES = Path(__file__).parents[2] / "docs/images"
#: Page → the name of its picture.
SHOWN = {
    "/overview": "overview",
    "/runs": "runs",
    "/runs/{run}": "run",
    "/runs/{run}/rows": None,
    "/dag-run?dag_id=none&run_id=none": None,
    "/quarantine": "quarantine",
    "/quarantine/{item}": "quarantine-record",
    "/dead-letters": "dead-letters",
    "/dead-letters/1": None,
    "/events": "events",
    "/events/1-1": "event",
    "/event-delivery": "delivery",
    "/event-volumes": "volumes",
    "/event-replay?count=true": "replay",
    "/orders": "orders",
    "/orders/{order}": "order",
    "/decisions": "decisions",
    "/integrations": "integrations",
    "/integrations/shop_eu": "integration",
    "/integrations/shop_eu/change": None,
    "/integrations/shop_eu/rotate": None,
    "/new-integration": None,
    "/new-integration/commercetools": "add-integration",
    "/declaration-preview": None,
    "/alerts": "alerts",
    "/alert-mutes": "mutes",
    "/alert-routes": "routes",
    "/audit": "audit",
    "/replays": None,
    "/nothing": None,
}


#: Of the last 24 hours, and of the same hours a week before.
VOLUMES = """
INSERT INTO event_hour (hour, type, silent, events)
SELECT date_trunc('hour', now()) - hours * interval '1 hour' - weeks * interval '7 days', type, false,
       usual + (hours * 37 + weeks * 11) %% 40
  FROM generate_series(1, 24) AS hours, generate_series(0, 1) AS weeks,
       (VALUES ('crossdock.stock.changed', 900), ('crossdock.order.changed', 140), ('crossdock.product.changed', 20))
       AS usually (type, usual) RETURNING 1
"""
MUTE = """
INSERT INTO alert_mute (kind, subject, integration, until, reason, created_by)
VALUES ('breaker_open', 'stripe_eu', '*', now() + interval '4 hours', 'Stripe maintains until noon', 'airflow:otto') RETURNING 1
"""
ROUTE = """
INSERT INTO alert_route (name, definition) VALUES ('ops', '{"name": "ops", "integration": "mail_server", "severity": "warning",
       "recipients": ["ops@shop.example"], "streams": ["shop_eu.*"]}') RETURNING 1
"""


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    """A system that a declaration reads."""
    size = {"inventory": 20, "products": 5, "orders": 5, "customers": 2}
    with FakeRetailer(seed=3, flaws=0, client_secret=CANARY, **size) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def otto_sees(browser: Browser, pages: Hub) -> Iterator[Screen]:
    with screen_of(browser, pages, "otto") as screen:
        yield screen


@pytest.fixture
def busy(pages: Hub, hub_store: Store) -> Store:
    """A hub with a history: thirty runs, records in quarantine for two reasons."""
    triage = Triage(hub_store)
    for version in range(1, 31):
        good = [entry(id=f"{number}", sku=f"SKU-{number}", version=version) for number in range(40 * (1 + version % 7))]
        bad = [
            entry(id=f"bad-{version}-{number}", sku=f"BAD-{version}", quantityOnStock=3)
            for number in range(version % 4)
        ]
        triage.sync(*good, *bad)
    triage.sync(*(entry(id=f"nameless-{number}", sku="") for number in range(11)))
    query(
        hub_store,
        "UPDATE sync_run SET started_at = started_at - interval '38 minutes' * (31 - rank), "
        "finished_at = started_at - interval '38 minutes' * (31 - rank) + interval '1 second' * (3 + rank %% 5) "
        "FROM (SELECT run_id AS of, row_number() OVER (ORDER BY started_at) AS rank FROM sync_run) AS ranked "
        "WHERE run_id = of RETURNING 1",
    )
    query(hub_store, SHOP)
    query(
        hub_store,
        "INSERT INTO alert (kind, subject, message, records, integration, at) VALUES ('breaker_open', 'stripe_eu', "
        "'Stripe EU: 8 calls in a row failed (HTTP 503)', 8, 'stripe_eu', now() - interval '12 minutes') RETURNING 1",
    )
    query(hub_store, DEAD_LETTER)
    query(hub_store, VOLUMES)
    query(hub_store, MUTE)
    query(hub_store, ROUTE)
    alerting.request_test(hub_store, "ops", hub="shop", actor="airflow:otto")
    waiting(pages)
    return hub_store


def paths(store: Store) -> dict[str, str | None]:
    ((run_id,),) = query(
        store, "SELECT run_id FROM sync_run WHERE rejected > 0 AND inserted > 0 ORDER BY started_at LIMIT 1"
    )
    ((item_id,),) = query(store, "SELECT min(item_id) FROM quarantine_item")
    ((order_id,),) = query(store, "SELECT order_id FROM placed_order")
    known = {"{run}": run_id, "{item}": str(item_id), "{order}": order_id}
    return {re.sub(r"\{\w+\}", lambda found: known[found[0]], path): name for path, name in SHOWN.items()}


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 768)])
def test_everybody_can_read_every_page(busy: Store, pages: Hub, browser: Browser, theme: str, width: int) -> None:
    """Axe finds nothing, nothing is asked of another origin, and no page is wider than the window."""
    with screen_of(browser, pages, "otto", theme=theme, width=width) as screen:
        found = {}
        for path in paths(busy):
            screen.open(path)
            assert screen.page.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
            assert not screen.is_wider_than_the_window(), path
            found[path] = screen.violations()
        assert {path: each for path, each in found.items() if each} == {}
        assert screen.foreign == []
        assert [said for said in screen.complaints if "404" not in said] == []


def test_no_page_is_wider_than_a_telephone(busy: Store, pages: Hub, browser: Browser) -> None:
    """Whoever is woken opens the link of a message there. A table scrolls by itself."""
    with screen_of(browser, pages, "otto", width=420) as screen:
        wide = []
        for path in paths(busy):
            screen.open(path)
            if screen.is_wider_than_the_window():
                wide.append(path)
        assert wide == []


def test_the_pictures_of_the_docs_are_taken(
    busy: Store, pages: Hub, browser: Browser, retailer: FakeRetailer, tmp_path: Path
) -> None:
    """`HUB_PICTURES=1 ./hub test tests/web/test_in_a_browser.py` writes them anew."""
    folder = PICTURES if os.environ.get("HUB_PICTURES") else tmp_path
    for theme in ("light", "dark"):
        with screen_of(browser, pages, "otto", theme=theme) as screen:
            for path, name in paths(busy).items():
                if name and (name == "overview") == (theme == "dark"):
                    screen.open(path)
                    screen.page.screenshot(path=folder / f"page-{name}{'-dark' if theme == 'dark' else ''}.png")

    with screen_of(browser, pages, "otto") as screen:
        _preview(screen, retailer)
        screen.page.screenshot(path=folder / "page-declaration-preview.png")
        screen.page.goto(f"{pages.url}/plugin/crossdock")
        expect(screen.page.frame_locator("iframe").get_by_text("Rows in the last 24 hours")).to_be_visible(
            timeout=60_000
        )
        screen.page.wait_for_load_state("networkidle")
        screen.page.screenshot(path=folder / "page-in-airflow.png")

    taken = {path.name: path.stat().st_size for path in folder.glob("page-*.png")}
    assert taken.keys() >= {"page-in-airflow.png", "page-overview-dark.png", "page-quarantine.png", "page-run.png"}
    assert min(taken.values()) > 10_000
    shown = (PICTURES.parent / "pages.md").read_text(encoding="utf-8")
    assert [name for name in SHOWN.values() if name and f"(images/page-{name}" not in shown] == []


def _preview(screen: Screen, retailer: FakeRetailer) -> None:
    """Preview a declaration as a person does, until its records are there."""
    screen.open("/declaration-preview")
    typed = {
        "name": "erp_stock",
        "declaration": DECLARED.replace("{url}", retailer.url).replace("{project}", retailer.project),
        "settings.base_url": retailer.url,
        "settings.allowed_networks": "127.0.0.0/8",
        "credentials.user": retailer.client_id,
        "credentials.secret": CANARY,
    }
    for name, value in typed.items():
        screen.page.locator(f'[name="{name}"]').fill(value)
    screen.click("Preview")
    expect(screen.page.get_by_role("heading", name="As mapped").first).to_be_visible()


def link_of_the_message(hub: Hub) -> str:
    """The link that an alert of rejected rows has."""
    stream = "commercetools.inventory"
    alert = AlertRow(alert_id=1, kind="rows_rejected", subject=stream, message="m", at=datetime.now(UTC), stream=stream)
    return cause_of(alert, hub.url).link


class TestFiveHundredRecords:
    def test_they_are_fixed_and_replayed_in_four_clicks(self, hub_store: Store, otto_sees: Screen) -> None:
        """From the link in a message on: open one, change it, see what that would do for all, and do it."""
        rejected(hub_store, *(f"{number:03}" for number in range(500)))
        otto_sees.page.goto(link_of_the_message(otto_sees.hub))
        otto_sees.click("SKU-000", role="link")
        record = otto_sees.page.get_by_label("The record, as the source would send it")
        record.fill(record.input_value().replace('"quantityOnStock": 3', '"quantityOnStock": 12'))
        expect(otto_sees.page.get_by_text("The record passes every rule")).to_be_visible(timeout=60_000)
        otto_sees.click("Preview the same change for all 500 like it")
        expect(otto_sees.page.get_by_text("Would load 500, still bad 0.")).to_be_visible(timeout=60_000)
        otto_sees.click("Fix and replay 500")
        expect(otto_sees.page.get_by_text("Begun by")).to_be_visible(timeout=60_000)
        deliver(hub_store)
        expect(otto_sees.page.get_by_text("Replayed and closed", exact=True)).to_be_visible(timeout=60_000)

        assert otto_sees.clicks <= 4
        assert query(hub_store, "SELECT count(*), min(quantity_on_stock) FROM inventory") == [(500, 12)]
        assert states(hub_store) == ["replayed"]
        assert otto_sees.complaints == []

    def test_a_replay_can_be_stopped_while_it_is_watched(self, hub_store: Store, otto_sees: Screen) -> None:
        rejected(hub_store, "a", "b")
        otto_sees.open(CAUSE)
        otto_sees.click("Replay all 2")
        otto_sees.click("Replay 2")
        otto_sees.click("Stop")
        expect(otto_sees.page.get_by_text("Stopped")).to_be_visible()

        assert query(hub_store, "SELECT state FROM event_replay") == [("stopped",)]


#: Marks what a person can act on, and counts it. Bars of runs repeat the links of the list of runs.
MARK_ALL = """() => {
  const all = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, [tabindex="0"]')];
  const shown = all.filter((one) => one.checkVisibility() && !one.disabled && one.tabIndex >= 0);
  for (const one of shown) one.setAttribute('data-wanted', '');
  return shown.length;
}"""


class TestTheKeyboard:
    def test_the_first_key_skips_the_navigation(self, busy: Store, otto_sees: Screen) -> None:  # noqa: ARG002  runs to list
        otto_sees.open("/runs")
        otto_sees.page.keyboard.press("Tab")
        expect(otto_sees.page.get_by_text("Skip to the content")).to_be_focused()
        otto_sees.page.keyboard.press("Enter")
        otto_sees.page.keyboard.press("Tab")

        assert otto_sees.page.evaluate("document.querySelector('main').contains(document.activeElement)")

    def test_everything_on_each_page_is_reached(self, busy: Store, otto_sees: Screen) -> None:
        """Nobody needs a mouse at night: Tab comes to each link, field and button, and nothing holds it."""
        missed = {}
        for path in paths(busy):
            otto_sees.open(path)
            wanted = otto_sees.page.evaluate(MARK_ALL)
            for _ in range(wanted + 1):
                otto_sees.page.keyboard.press("Tab")
                otto_sees.page.evaluate("document.activeElement?.removeAttribute('data-wanted')")
            if left := otto_sees.page.locator("[data-wanted]").evaluate_all("all => all.map((one) => one.outerHTML)"):
                missed[path] = left

        assert missed == {}

    def test_a_slash_goes_to_the_filters(self, busy: Store, otto_sees: Screen) -> None:  # noqa: ARG002
        otto_sees.open("/runs")
        otto_sees.page.keyboard.press("/")

        expect(otto_sees.page.get_by_label("Stream")).to_be_focused()

    def test_all_of_a_cause_are_discarded_without_a_mouse(self, hub_store: Store, otto_sees: Screen) -> None:
        rejected(hub_store, "a", "b")
        otto_sees.open(CAUSE)
        page = otto_sees.page
        for _ in range(40):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent").strip() == "Discard all":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("Enter")
        page.keyboard.type("no longer sold")
        page.keyboard.press("Enter")
        expect(page.get_by_text("2 records discarded")).to_be_visible()

        assert states(hub_store) == ["discarded"]


class TestTheme:
    def test_it_follows_airflows_switch_at_once(self, pages: Hub, otto_sees: Screen) -> None:
        otto_sees.open("/overview")
        before = otto_sees.page.evaluate("getComputedStyle(document.body).backgroundColor")
        other = otto_sees.page.context.new_page()
        other.goto(f"{pages.url}/hub/pages/runs")
        other.evaluate("localStorage.setItem('theme', 'dark')")
        otto_sees.page.wait_for_function("document.documentElement.dataset.theme === 'dark'")

        assert otto_sees.page.evaluate("getComputedStyle(document.body).backgroundColor") != before

    def test_one_switch_changes_the_zone_of_all_times(self, busy: Store, pages: Hub, browser: Browser) -> None:  # noqa: ARG002
        with screen_of(browser, pages, "otto") as screen:
            screen.open("/overview")
            as_of = screen.page.locator("main time[data-absolute]").first
            assert as_of.inner_text().endswith(" UTC")
            screen.click("UTC")

            assert re.search(r"[+-]\d\d:\d\d$", as_of.inner_text())
            screen.open("/runs")
            expect(screen.page.get_by_role("button", name="Local time")).to_be_visible()


def test_without_scripts_every_page_can_be_read(busy: Store, pages: Hub, browser: Browser) -> None:
    with screen_of(browser, pages, "vera", scripts=False) as screen:
        for path in paths(busy):
            screen.open(path)
            assert screen.page.get_by_role("heading", level=1).is_visible(), path
        screen.open("/runs?stream=&state=partial")
        assert "Done" not in screen.page.locator("tbody").inner_text()


@pytest.mark.parametrize("text", [SCRIPT, ATTRIBUTE])
def test_no_script_in_a_record_runs(hub_store: Store, otto_sees: Screen, text: str) -> None:
    Triage(hub_store).sync(
        entry(id=f"a{text}", sku=f"b{text}", quantityOnStock=3, supplyChannel={"typeId": text, "id": text})
    )
    for path in ("/overview", "/quarantine", "/quarantine/1"):
        otto_sees.open(path)
        otto_sees.page.wait_for_load_state("networkidle")
        assert otto_sees.page.title().endswith("Crossdock")


class TestInAirflow:
    def test_the_navigation_opens_the_overview_in_its_frame(self, busy: Store, otto_sees: Screen) -> None:
        page = otto_sees.page
        ((run_id,),) = query(busy, "SELECT max(run_id) FROM sync_run")
        query(
            busy,
            "UPDATE sync_run SET dag_id = 'sync_x', dag_run_id = 'manual__1' WHERE run_id = %s RETURNING 1",
            run_id,
        )
        page.goto(otto_sees.hub.url)
        page.get_by_role("link", name="Crossdock").click()
        frame = page.frame_locator("iframe")
        expect(frame.get_by_role("heading", name="Overview")).to_be_visible(timeout=60_000)
        frame.get_by_role("link", name="Runs", exact=True).click()
        expect(frame.get_by_role("heading", name="Runs", exact=True)).to_be_visible()
        frame.locator("tbody tr a.row").first.click()
        expect(frame.get_by_text("What became of each row")).to_be_visible()

    def test_a_run_leads_to_its_dag_run_in_airflow(self, busy: Store, otto_sees: Screen) -> None:
        """The frame may not navigate its parent: the page tells Airflow's router."""
        ((run_id,),) = query(busy, "SELECT max(run_id) FROM sync_run")
        query(
            busy,
            "UPDATE sync_run SET dag_id = 'sync_x', dag_run_id = 'manual__1' WHERE run_id = %s RETURNING 1",
            run_id,
        )
        page = otto_sees.page
        page.goto(f"{otto_sees.hub.url}/plugin/crossdock")
        frame = page.frame_locator("iframe")
        frame.get_by_role("link", name="Runs", exact=True).click()
        frame.locator(f'tbody a.row[href$="{run_id}"]').click()
        frame.get_by_role("link", name="Airflow").click()
        page.wait_for_url("**/dags/sync_x/runs/manual__1**")
