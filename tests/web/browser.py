"""A real browser for the tests of the pages: the system's Chromium, which tells what it asks for and what goes wrong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.conftest import Hub

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
#: `./hub test` reports reasons that begin with "needs", and with CI=true fails.
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs Chromium for the tests of the pages: apt-get install -y chromium"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # As root there is no sandbox; /dev/shm is small in containers.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@dataclass
class Screen:
    """One window of a person."""

    page: Page
    hub: Hub
    #: What the page asked for at another origin, and what the browser complained about.
    foreign: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    clicks: int = 0

    def open(self, path: str) -> None:
        self.page.goto(f"{self.hub.url}/hub/pages{path}")

    def click(self, name: str, *, role: Any = "button") -> None:
        """Click what a person sees as *name*, and count it."""
        self.clicks += 1
        self.page.get_by_role(role, name=name).click()

    @property
    def text(self) -> str:
        return self.page.locator("main").inner_text()

    def violations(self) -> list[str]:
        """List what axe finds: rule, and where."""
        self.page.evaluate(AXE_SCRIPT)
        found = self.page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        assert len(found["passes"]) > 10, "axe has looked"
        return [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def is_wider_than_the_window(self) -> bool:
        return bool(self.page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))


@contextmanager
def screen_of(
    browser: Browser, hub: Hub, name: str, *, width: int = 1280, theme: str = "light", scripts: bool = True
) -> Iterator[Screen]:
    context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=scripts)
    context.add_cookies([{"name": "_token", "value": hub.token(name), "url": hub.url}])
    context.add_init_script(f"localStorage.getItem('theme') || localStorage.setItem('theme', '{theme}')")
    screen = Screen(context.new_page(), hub)
    page = screen.page
    page.on("request", lambda request: request.url.startswith((hub.url, "data:")) or screen.foreign.append(request.url))
    page.on("console", lambda said: said.type == "error" and screen.complaints.append(said.text))
    page.on("pageerror", lambda error: screen.complaints.append(str(error)))
    try:
        yield screen
    finally:
        context.close()
