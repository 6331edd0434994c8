"""The pages of workflows in a real browser: read by everybody, and the editor with its problems, its completion and its keys."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from crossdock.db.database import Store
from crossdock.workflows.declared.answers import Answer, Status
from tests.api.conftest import Hub
from tests.web.browser import Screen, chromium, needs_chromium, screen_of
from tests.web.hostile import ATTRIBUTE, SCRIPT
from tests.web.workflows import REFUND, SECOND, add, executed, waiting

pytestmark = needs_chromium

ORDER_FLOW = (Path(__file__).parents[2] / "docs/workflows/order_flow.yaml").read_text()
PICTURES = Path(__file__).parents[2] / "docs/images"
OF_REFUND = "/workflows/refund_with_approval"
#: Page → the name of its picture.
SHOWN = {
    "/workflows": "workflows",
    OF_REFUND: None,
    f"{OF_REFUND}?version=1": None,
    f"{OF_REFUND}/edit": None,
    f"{OF_REFUND}/test": None,
    f"{OF_REFUND}/deploy?version=2": "workflow-deploy",
    f"{OF_REFUND}/execute": None,
    "/workflow-editor": "workflow-editor",
    "/executions": None,
    "/executions/{failed}": "execution",
    "/executions/{asks}": None,
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def paths(pages: Hub, hub_store: Store) -> dict[str, str | None]:  # noqa: ARG001  begins with an empty hub
    """A hub with workflows, and executions that ended well and not well."""
    add(hub_store)
    for number in range(12):
        executed(hub_store, run_id=f"well_{number}")
    away = [
        Answer(Status.FAILED, message="Stripe does not answer"),
        Answer(Status.UNKNOWN, message="no answer in 30 s"),
    ]
    failed = executed(hub_store, answers={"pay_back": away * 5}, run_id="not_well")
    asks = waiting(hub_store)
    add(hub_store, SECOND, deploys=False)
    known = {"{failed}": failed.execution_id, "{asks}": asks.execution_id}
    return {re.sub(r"\{\w+\}", lambda found: known[found[0]], path): name for path, name in SHOWN.items()}


@pytest.fixture
def editor(browser: Browser, pages: Hub, paths: dict[str, str | None]) -> Iterator[Screen]:  # noqa: ARG001  something to call
    with screen_of(browser, pages, "dora") as screen:
        screen.open("/workflow-editor")
        yield screen


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 768)])
def test_everybody_can_read_every_page(
    paths: dict[str, str | None], pages: Hub, browser: Browser, theme: str, width: int
) -> None:
    """Axe finds nothing, nothing is asked of another origin, and no page is wider than the window."""
    with screen_of(browser, pages, "admin", theme=theme, width=width) as screen:
        found = {}
        for path in paths:
            screen.open(path)
            assert not screen.is_wider_than_the_window(), path
            found[path] = screen.violations()
        screen.open(f"{OF_REFUND}/test")
        screen.page.get_by_label("Params, YAML").fill("amount_minor: 1")
        screen.click("Run the test")
        expect(screen.page.get_by_text("Steps, in the order")).to_be_visible()
        found["a test run"] = screen.violations()
        assert not screen.is_wider_than_the_window()
        assert {path: each for path, each in found.items() if each} == {}
        assert screen.foreign == []
        assert screen.complaints == []


def test_the_pictures_of_the_docs_are_taken(
    paths: dict[str, str | None], pages: Hub, browser: Browser, tmp_path: Path
) -> None:
    """`HUB_PICTURES=1 ./hub test tests/web/test_workflow_pages_in_a_browser.py` writes them anew."""
    folder = PICTURES if os.environ.get("HUB_PICTURES") else tmp_path
    named = [(path, name) for path, name in paths.items() if name]
    with screen_of(browser, pages, "admin") as screen:
        for path, name in named:
            screen.open(path)
            screen.page.screenshot(path=folder / f"page-{name}.png")

    assert min((folder / f"page-{name}.png").stat().st_size for _, name in named) > 10_000


def test_without_scripts_every_page_can_be_read_and_a_version_stored(
    paths: dict[str, str | None], pages: Hub, browser: Browser
) -> None:
    with screen_of(browser, pages, "admin", scripts=False) as screen:
        for path in paths:
            screen.open(path)
            assert screen.page.get_by_role("heading", level=1).is_visible(), path
        screen.open("/workflow-editor")
        screen.page.get_by_label("Definition, YAML or JSON").fill("id: 1\n")
        screen.click("Store this version")
        assert "line 1" in screen.text
        screen.page.get_by_label("Definition, YAML or JSON").fill(
            REFUND.replace("refund_with_approval", "other_refund")
        )
        screen.click("Store this version")
        assert "Test run of version 1" in screen.text


class TestTheEditor:
    def test_a_problem_appears_as_one_types_and_a_click_moves_the_caret_to_its_line(self, editor: Screen) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON")
        text.fill(text.input_value().replace("set: {approved: true}", "sett: {approved: true}"))
        expect(editor.page.get_by_text("is not known; known fields")).to_be_visible(timeout=60_000)
        line = next(n for n, each in enumerate(text.input_value().split("\n"), 1) if "sett:" in each)
        expect(editor.page.locator(f"#L{line}")).to_have_class("wrong")
        editor.page.get_by_role("link", name=f"line {line}", exact=True).first.click()

        at = editor.page.evaluate("[document.activeElement.selectionStart, document.activeElement.value]")
        assert at[1][: at[0]].count("\n") + 1 == line
        assert editor.complaints == []

    def test_a_step_of_the_graph_moves_the_caret_to_its_line(self, editor: Screen) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON").input_value()
        line = next(n for n, each in enumerate(text.split("\n"), 1) if "id: ask" in each)
        editor.page.locator(f'#verdict svg a[data-line="{line}"]').click()

        at = editor.page.evaluate("document.activeElement.selectionStart")
        assert text[:at].count("\n") + 1 == line

    @pytest.mark.parametrize(
        ("before", "typed", "becomes"),
        [
            ("do:\n  - id: a\n    ", "ca", "call: "),
            ("do:\n  - id: a\n    call: ", "payments.ref", "payments.refund"),
            ("do:\n  - id: a\n    call: payments.refund\n    with:\n      ", "amo", "amount_minor: "),
            ("do:\n  - id: a\n    retry:\n      ", "ba", "backoff: "),
            (
                "do:\n  - id: a\n    call: payments.get_payment\n  - id: b\n    if: ",
                "steps.a.cap",
                "steps.a.capture_ref",
            ),
            ("params:\n  sku: {type: string}\ndo:\n  - id: a\n    if: ", "params.s", "params.sku"),
            ("triggers:\n  - event: ", "crossdock.order.conf", "crossdock.order.confirmed"),
            ("do:\n  - id: first\n    then: ", "en", "end"),
            ("", "hand", "handlers: "),
        ],
    )
    def test_what_is_begun_is_completed_by_the_keyboard(
        self, editor: Screen, before: str, typed: str, becomes: str
    ) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON")
        text.fill(before)
        text.press("End")
        text.press_sequentially(typed)
        expect(editor.page.get_by_role("option").first).to_be_visible()
        text.press("Enter")

        assert text.input_value().startswith(before + becomes)
        assert editor.complaints == []

    def test_tab_leaves_the_text_when_nothing_is_offered(self, editor: Screen) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON")
        text.focus()
        text.press("Control+Space")
        text.press("Escape")
        text.press("Tab")

        expect(text).not_to_be_focused()

    def test_a_new_line_begins_where_the_one_before_does_and_can_be_taken_back(self, editor: Screen) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON")
        text.fill("do:\n  - id: aa")
        text.press("Control+End")
        text.press("Enter")
        assert text.input_value() == "do:\n  - id: aa\n    "
        text.press("Control+z")
        assert text.input_value() == "do:\n  - id: aa"

    @pytest.mark.parametrize("hostile", [SCRIPT, ATTRIBUTE])
    def test_no_script_in_a_text_runs(self, editor: Screen, hostile: str) -> None:
        text = editor.page.get_by_label("Definition, YAML or JSON")
        text.fill(
            text.input_value().replace(
                "title: Have", f"title: '{hostile.replace(chr(39), chr(39) * 2)}'\n{hostile}: Have"
            )
        )
        expect(editor.page.get_by_text("problem").first).to_be_visible(timeout=60_000)

        assert editor.page.title() == "New workflow · Crossdock"

    def test_from_a_new_text_to_its_deployment(self, editor: Screen) -> None:
        editor.click("Store this version")
        editor.click("Run the test")
        expect(editor.page.get_by_text("Steps, in the order")).to_be_visible()
        editor.page.get_by_role("link", name="To the deployment").click()

        expect(editor.page.get_by_text("Operators and administrators deploy")).to_be_visible()


def test_a_click_on_a_step_of_an_execution_leads_to_its_row(
    paths: dict[str, str | None], pages: Hub, browser: Browser
) -> None:
    path = next(path for path, name in paths.items() if name == "execution")
    with screen_of(browser, pages, "otto") as screen:
        screen.open(path)
        screen.page.locator('svg a[href="#step-pay_back"]').click()

        assert screen.page.url.endswith("#step-pay_back")
        screen.click("Retry")
        expect(screen.page.get_by_role("dialog")).to_be_visible()
        screen.page.keyboard.press("Escape")
        expect(screen.page.get_by_role("dialog")).to_be_hidden()
