"""Alerts on their pages, and by the signed link of a message: GET asks, and only its POST acts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import Browser, expect

from crossdock.app.airflow.signing_keys import signing_keys
from crossdock.db.database import Store
from crossdock.maintenance.alerting import repository
from crossdock.maintenance.alerting.deeds import PURPOSE, Deed, links_of
from crossdock.maintenance.alerting.routes import Route
from tests.api.conftest import Hub
from tests.shop import query
from tests.web.browser import chromium, needs_chromium
from tests.web.conftest import Found, Visitor
from tests.web.test_other_pages import ALERT
from tests.web.test_quarantine import text_of

#: As the served Airflow has it.
FERNET_KEY = base64.urlsafe_b64encode(b"0123456789012345678901234567890" + b"1").decode()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def alert_id(hub_store: Store) -> int:
    ((found,),) = query(hub_store, ALERT, "3 dead letters", False)
    return int(found)


def link(hub: Hub, alert_id: int, deed: Deed, monkeypatch: pytest.MonkeyPatch, *, at: datetime | None = None) -> str:
    """The link that the sender of alerts writes into a message."""
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY)
    of_alert = links_of(hub.url, signing_keys(PURPOSE))(alert_id, "ops", at or datetime.now(UTC))
    return dict(zip(Deed, (url for _, url in of_alert), strict=True))[deed]


def acknowledged(store: Store) -> list[str | None]:
    return [by for (by,) in query(store, "SELECT acknowledged_by FROM alert")]


def confirmed(page: requests.Response, hub: Hub, **changes: str) -> requests.Response:
    """Send the form of the page, as a browser does."""
    (form,) = [form for form in Found(page.text).forms if form["method"] == "post"]
    sent = {name: value for name, value in form.items() if name not in {"action", "method"}} | changes
    return requests.post(hub.url + form["action"], data=sent, headers={"Origin": hub.url}, timeout=60)


class TestSignedLinks:
    def test_to_open_one_does_nothing_and_its_form_acknowledges_without_a_login(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Programs that look at mails follow each link in them."""
        url = link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch)
        for method in ("GET", "HEAD", "GET"):
            page = requests.request(method, url, timeout=60)
        assert page.status_code == 200
        assert "Acknowledge this alert? " in text_of(page.text)
        assert acknowledged(hub_store) == [None]

        assert "it is not sent again before it closes" in confirmed(page, pages).text
        assert acknowledged(hub_store) == ["alert-route:ops"]
        acts = query(hub_store, "SELECT actor, act FROM audit_entry")
        assert acts == [("alert-route:ops", "alert.acknowledge")]

    def test_one_mutes_for_hours(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = requests.get(link(pages, alert_id, Deed.MUTE, monkeypatch), timeout=60)
        assert query(hub_store, "SELECT count(*) FROM alert_mute") == [(0,)]
        assert "Muted for 4 h" in confirmed(page, pages, hours="4").text

        ((kind, subject, until),) = query(hub_store, "SELECT kind, subject, until FROM alert_mute")
        assert (kind, subject) == ("dead_letters", "stock")
        assert timedelta(hours=3) < until - datetime.now(UTC) <= timedelta(hours=4)

    @pytest.mark.parametrize(
        "change",
        [
            ("deed=acknowledge", "deed=mute"),
            ("alert=", "alert=1"),
            ("route=ops", "route=sales"),
            ("until=1", "until=2"),
            ("signature=", "signature=0"),
        ],
        ids=lambda change: change[0],
    )
    def test_a_changed_one_is_refused(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch, change: tuple[str, str]
    ) -> None:
        url = link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch)
        changed = url.replace(*change)[: len(url)] if change[0] == "signature=" else url.replace(*change)
        assert requests.get(changed, timeout=60).status_code == 403
        page = requests.get(url, timeout=60)
        name = change[0].partition("=")[0]
        ((_, value),) = [pair for pair in _hidden(page.text) if pair[0] == name]
        other = {"deed": "mute", "route": "sales", "signature": "0" * 64}.get(name, f"{value}1")

        assert confirmed(page, pages, **{name: other, "hours": "8"}).status_code == 403
        assert acknowledged(hub_store) == [None]
        assert query(hub_store, "SELECT count(*) FROM alert_mute") == [(0,)]

    def test_an_old_one_is_refused(self, pages: Hub, alert_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
        old = datetime.now(UTC) - timedelta(days=3, minutes=1)
        page = requests.get(link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch, at=old), timeout=60)

        assert page.status_code == 403
        assert "has expired" in page.text

    def test_a_form_of_another_site_is_refused(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = requests.get(link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch), timeout=60)
        (form,) = Found(page.text).forms
        foreign = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        answer = requests.post(pages.url + form["action"], data=form, headers=foreign, timeout=60)

        assert answer.status_code == 403
        assert acknowledged(hub_store) == [None]

    def test_of_an_alert_that_is_over_it_says_so(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        query(hub_store, "UPDATE alert SET closed_at = now() RETURNING 1")
        page = requests.get(link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch), timeout=60)

        assert "It is over" in page.text
        assert Found(page.text).forms == []

    @needs_chromium
    def test_a_person_taps_twice_and_need_not_sign_in(
        self, pages: Hub, hub_store: Store, alert_id: int, monkeypatch: pytest.MonkeyPatch, browser: Browser
    ) -> None:
        page = browser.new_page(viewport={"width": 400, "height": 800})
        page.goto(link(pages, alert_id, Deed.ACKNOWLEDGE, monkeypatch))
        page.get_by_role("button", name="Acknowledge").click()
        expect(page.get_by_text("it is not sent again before it closes")).to_be_visible()
        page.close()

        assert acknowledged(hub_store) == ["alert-route:ops"]


def _hidden(html: str) -> list[tuple[str, str]]:
    (form,) = Found(html).forms
    return list(form.items())


class TestPages:
    def test_an_open_alert_is_muted_with_a_reason_and_the_mute_is_ended(
        self, hub_store: Store, otto: Visitor, vera: Visitor, alert_id: int
    ) -> None:
        assert "Write why" in otto.post("/alerts", f"/alerts/{alert_id}/mute", hours="8")
        otto.post("/alerts", f"/alerts/{alert_id}/mute", hours="8", reason="the shop moves")
        assert "the shop moves" in otto.get("/alert-mutes")
        assert "the shop moves" not in vera.get("/alert-mutes"), "a person's own words may name a customer"
        otto.post("/alert-mutes", "/end")

        assert "Nothing is muted" in otto.get("/alert-mutes")
        acts = [act for (act,) in query(hub_store, "SELECT act FROM audit_entry ORDER BY entry_id")]
        assert acts == ["alert.mute", "alert.unmute"]

    def test_a_route_is_shown_without_addresses_and_tested(self, hub_store: Store, otto: Visitor) -> None:
        route = Route.model_validate({"name": "ops", "integration": "ops_mail", "recipients": ["ada@example.com"]})
        with hub_store.transaction() as work:
            repository.save_route(work, route, declared_in=None)
        page = otto.get("/alert-routes")
        assert "ops_mail" in page
        assert "ada@example.com" not in page

        assert "[test] ops" in otto.post("/alert-routes", "/alert-routes/ops/test")
        assert query(hub_store, "SELECT count(*) FROM alert_message") == [(1,)]


def test_the_page_of_a_link_is_below_where_airflow_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", FERNET_KEY)
    ((_, url), _) = links_of("https://company.example/airflow/", signing_keys(PURPOSE))(1, "ops", datetime.now(UTC))

    assert urlsplit(url).path == "/airflow/hub/pages/alert-link"
