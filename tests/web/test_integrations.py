"""Integrations on their pages: added, changed, tested and rotated by forms that are made from the schema of their kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from crossdock.db.database import Store
from crossdock.events.webhooks_in.rules import SCHEME_NAMES
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.web.forms import Form
from crossdock.web.schema_forms import fields_of, read_back
from crossdock.web.webhook_facts import SIGNING
from tests.api.conftest import Hub
from tests.api.test_integrations import CANARY, DECLARED
from tests.shop import query
from tests.web.browser import chromium, needs_chromium, screen_of
from tests.web.conftest import Visitor
from tests.web.test_quarantine import text_of

ADD = "/new-integration/commercetools"


@pytest.fixture(scope="module")
def retailer() -> Iterator[FakeRetailer]:
    with FakeRetailer(
        seed=3, inventory=20, products=5, orders=5, customers=2, flaws=0, client_secret=CANARY
    ) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def clean(pages: Hub) -> Iterator[None]:
    """Airflow's connections outlive the database of a test."""
    yield
    for connection in ("shop_new", "erp_stock"):
        pages.airflow("DELETE", f"/connections/{connection}")


def typed(retailer: FakeRetailer, **changes: str) -> dict[str, str]:
    """What a person types into the form."""
    return {
        "id": "shop_new",
        "name": "New shop",
        "settings.base_url": retailer.url,
        "settings.project": retailer.project,
        "settings.scope": f"view_products:{retailer.project} view_orders:{retailer.project}",
        "settings.allowed_networks": "127.0.0.0/8",
        "credentials.client_id": retailer.client_id,
        "credentials.client_secret": CANARY,
        **changes,
    }


def example_of(declared: dict[str, Any]) -> Any:
    """A value that the schema allows, as a person would type it."""
    if "examples" in declared:
        return declared["examples"][0]
    if declared.get("type") == "boolean":
        return True
    if declared.get("type") == "array":
        return ["a value", "another"]
    return declared.get("default", "x" * declared.get("minLength", 1))


@pytest.mark.parametrize("kind", list(manifests()))
def test_the_form_of_each_kind_gives_back_what_its_schema_allows(kind: str) -> None:
    """A property of a type that no field can take would make the form useless for its kind."""
    for part, schema in (("settings", manifests()[kind].settings), ("credentials", manifests()[kind].credentials)):
        given = {name: example_of(declared) for name, declared in schema["properties"].items()}
        shown = {field.name for field in fields_of(schema, part, given)}
        sent = {f"{part}.{name}": _as_typed(value) for name, value in given.items()}

        assert shown == set(sent)
        assert read_back(schema, part, Form(sent)) == given
        if all("pattern" not in each or "examples" in each for each in schema["properties"].values()):
            assert list(errors_in(schema, given, part)) == []


def _as_typed(value: Any) -> str:
    return "\n".join(value) if isinstance(value, list) else "1" if value is True else str(value)


def test_how_a_sender_signs_is_said_of_each_scheme() -> None:
    assert set(SIGNING) == set(SCHEME_NAMES)


@pytest.mark.usefixtures("clean")
class TestAdd:
    def test_what_fails_its_test_is_not_stored_and_says_what_to_do(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        page = otto.post(ADD, "/commercetools", **typed(retailer, **{"credentials.client_secret": "wrong"}))

        assert otto.status == 422
        assert "credentials Failed" in text_of(page)
        assert "Enter the ID and the secret again" in text_of(page)
        assert f'value="{retailer.url}"' in page, "what was typed is still there"
        assert "wrong" not in page, "but no secret"
        assert query(hub_store, "SELECT count(*) FROM integration") == [(0,)]
        assert otto.hub.airflow("GET", "/connections/shop_new").status_code == 404

    def test_each_mistake_stands_at_its_field(self, hub_store: Store, otto: Visitor, retailer: FakeRetailer) -> None:
        page = otto.post(
            ADD, "/commercetools", **typed(retailer, **{"settings.base_url": "ftp://x", "settings.project": ""})
        )

        assert otto.status == 400
        assert re.search(r'name="settings.project".*?is missing', page, re.DOTALL)
        assert re.search(r'name="settings.base_url".*?does not have the expected form', page, re.DOTALL)
        assert query(hub_store, "SELECT count(*) FROM integration") == [(0,)]

    def test_an_id_is_refused_by_its_form_and_if_it_is_taken(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        assert "must be 2 to 63 lowercase letters" in otto.post(ADD, "/commercetools", **typed(retailer, id="Shop EU"))
        otto.post(ADD, "/commercetools", **typed(retailer))
        assert otto.status == 303
        assert "already exists" in otto.post(ADD, "/commercetools", **typed(retailer))
        assert otto.status == 409
        assert query(hub_store, "SELECT count(*) FROM integration") == [(1,)]

    def test_it_is_changed_tested_and_gets_new_credentials(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        otto.post(ADD, "/commercetools", **typed(retailer))
        of_it = "/integrations/shop_new"
        page = otto.post(f"{of_it}/change", "/change", name="Shop of the north", **_settings(retailer))
        assert "The change is stored" in page
        assert "Shop of the north" in page
        assert "sample Passed" in text_of(otto.post(of_it, "/test"))
        wrong = {"credentials.client_id": retailer.client_id, "credentials.client_secret": "wrong"}
        assert "credentials Failed" in text_of(otto.post(f"{of_it}/rotate", "/rotate", **wrong))
        right = {**wrong, "credentials.client_secret": CANARY}
        assert "have replaced the old ones" in otto.post(f"{of_it}/rotate", "/rotate", **right)
        acts = query(hub_store, "SELECT act FROM audit_entry WHERE subject = 'integration/shop_new' ORDER BY at")

        assert [act for (act,) in acts] == [f"integration.{act}" for act in ("add", "change", "test", "rotate")]
        assert CANARY not in "".join(otto.get(f"{of_it}{path}") for path in ("", "/change", "/rotate"))

    def test_credentials_are_asked_for_again_before_they_are_sent_elsewhere(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        otto.post(ADD, "/commercetools", **typed(retailer))
        elsewhere = {**_settings(retailer), "settings.base_url": "https://evil.example"}
        page = otto.post("/integrations/shop_new/change", "/change", name="x", **elsewhere)

        assert otto.status == 400
        assert "must be given again" in page
        assert query(hub_store, "SELECT settings->>'base_url' FROM integration") == [(retailer.url,)]

    def test_a_change_by_somebody_else_is_not_undone(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        otto.post(ADD, "/commercetools", **typed(retailer))
        page = otto.post("/integrations/shop_new/change", "/change", name="x", version="7", **_settings(retailer))

        assert otto.status == 412
        assert "version 1" in page
        assert query(hub_store, "SELECT name FROM integration") == [("New shop",)]

    def test_a_declaration_is_previewed_with_an_address_of_its_own(
        self, hub_store: Store, otto: Visitor, retailer: FakeRetailer
    ) -> None:
        declared = DECLARED.replace("{url}", retailer.url).replace("{project}", retailer.project)
        page = otto.post(
            "/declaration-preview",
            "/declaration-preview",
            name="erp_stock",
            declaration=declared,
            **{
                "settings.base_url": retailer.url,
                "settings.allowed_networks": "127.0.0.0/8",
                "credentials.user": retailer.client_id,
                "credentials.secret": CANARY,
            },
        )

        assert otto.status == 200, text_of(page)
        assert "5 records" in page
        assert "sku" in page
        assert CANARY not in page
        assert query(hub_store, "SELECT act FROM audit_entry") == [("declaration.preview",)]

    def test_a_mistake_in_a_declaration_is_named_with_its_line(self, hub_store: Store, otto: Visitor) -> None:
        page = otto.post("/declaration-preview", "/declaration-preview", name="erp_stock", declaration="title: 4\n")

        assert otto.status == 422
        assert "line 1" in text_of(page)
        assert query(hub_store, "SELECT count(*) FROM audit_entry") == [(0,)]


def _settings(retailer: FakeRetailer) -> dict[str, str]:
    return {name: value for name, value in typed(retailer).items() if name.startswith("settings.")}


def test_its_page_says_where_webhooks_go_and_what_is_missing(hub_store: Store, pages: Hub, vera: Visitor) -> None:
    query(
        hub_store,
        "INSERT INTO integration (integration_id, kind, name, settings, connection_id, created_by, updated_by) "
        "VALUES ('commercetools', 'commercetools', 'Shop', '{}', 'commercetools', 'x', 'x') RETURNING 1",
    )
    assert "No webhooks are configured" in text_of(vera.get("/integrations/commercetools"))
    connection = {
        "connection_id": "commercetools_webhook",
        "conn_type": "http",
        "password": CANARY,
        "extra": '{"scheme": "shopify"}',
    }
    assert pages.airflow("POST", "/connections", json=connection).ok
    try:
        page = vera.get("/integrations/commercetools")
    finally:
        pages.airflow("DELETE", "/connections/commercetools_webhook")

    assert "/hub/v1/webhooks/commercetools" in page
    assert "X-Shopify-Hmac-Sha256 over the body" in page
    assert "1 key" in page
    assert CANARY not in page


@needs_chromium
@pytest.mark.usefixtures("clean")
def test_one_is_added_in_a_browser_after_a_test_that_failed(
    hub_store: Store, pages: Hub, browser: Browser, retailer: FakeRetailer
) -> None:
    with screen_of(browser, pages, "otto") as screen:
        page = screen.page
        screen.open("/integrations")
        screen.click("Add an integration", role="link")
        page.get_by_role("link", name="commercetools").first.click()
        for name, value in typed(retailer, **{"credentials.client_secret": "wrong"}).items():
            page.locator(f'[name="{name}"]').fill(value)
        screen.click("Test and add")
        expect(page.get_by_text("Enter the ID and the secret again")).to_be_visible(timeout=60_000)
        assert screen.violations() == []
        page.locator('[name="credentials.client_secret"]').fill(CANARY)
        screen.click("Test and add")
        expect(page.get_by_text("It passed its test, and is connected")).to_be_visible(timeout=60_000)
        screen.click("Test", role="button")
        expect(page.get_by_text("Test of New shop")).to_be_visible(timeout=60_000)

    assert query(hub_store, "SELECT test_passed FROM integration") == [(True,)]
