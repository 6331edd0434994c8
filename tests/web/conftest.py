"""The pages in Airflow's api-server, and people who visit them with the session of a browser."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import psycopg
import pytest
import requests

from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.stack.postgres import PostgresServer
from tests.api.conftest import SIMPLE, Hub, serve
from tests.hub_databases import HubDatabases
from tests.streams import define_shop


class Found(HTMLParser):
    """What a page links to, and the forms on it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.forms: list[dict[str, str]] = []
        self.scripts: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag == "a" and named.get("href"):
            self.links.append(str(named["href"]))
        elif tag == "form":
            self.forms.append({"action": str(named.get("action")), "method": str(named.get("method", "get"))})
        elif named.get("type") == "checkbox" and "checked" not in named:
            pass  # a browser does not send it
        elif tag in {"input", "textarea"} and self.forms and named.get("name"):
            self.forms[-1][str(named["name"])] = str(named.get("value") or "")
        elif tag == "script":
            self.scripts.append(named)


@dataclass
class Visitor:
    """A person with a browser's session."""

    hub: Hub
    name: str
    #: The status of the last answer.
    status: int = field(default=0)

    def get(self, path: str, **options: Any) -> str:
        """Open a page and return its HTML."""
        return self.send("GET", path, **options).text

    def answer(self, path: str, **options: Any) -> requests.Response:
        return self.send("GET", path, **options)

    def post(self, page: str, action: str, *, headers: dict[str, str] | None = None, **fields: str) -> str:
        """Send the form on *page* whose action ends with *action*, as a browser does, and return the page that follows."""
        form = next(form for form in Found(self.get(page)).forms if urlsplit(form["action"]).path.endswith(action))
        assert form["method"] == "post"
        sent = {name: value for name, value in form.items() if name not in {"action", "method"}} | fields
        own = {"Origin": self.hub.url, "Sec-Fetch-Site": "same-origin"}
        answer = self.send("POST", urljoin(self.hub.url, form["action"]), data=sent, headers={**own, **(headers or {})})
        self.status = answer.history[0].status_code if answer.history else answer.status_code
        return answer.text

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        """Send a request with the session's cookie."""
        url = path if "://" in path else f"{self.hub.url}/hub/pages{path}"
        cookies = {"_token": self.hub.token(self.name)}
        answer = requests.request(method, url, cookies=cookies, timeout=240, **options)
        self.status = answer.status_code
        return answer


@pytest.fixture(scope="session")
def pages_server(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Hub]:
    """Under Airflow's simple auth manager, with the pages and Airflow's own UI."""
    yield from serve(tmp_path_factory.mktemp("pages"), postgres, SIMPLE)


@pytest.fixture
def pages(pages_server: Hub, hub_databases: HubDatabases, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty hub of one shop."""
    monkeypatch.setattr(settings(), "definitions_url", define_shop(pages_server.definitions))
    hub_databases.renew(psycopg.conninfo.conninfo_to_dict(pages_server.dsn)["dbname"])
    return pages_server


@pytest.fixture
def hub_store(pages: Hub) -> Iterator[Store]:
    with pages.store() as opened:
        yield opened


@pytest.fixture
def otto(pages_server: Hub) -> Visitor:
    """An operator. What is in the hub, a test asks for by `hub_store`."""
    return Visitor(pages_server, "otto")


@pytest.fixture
def vera(pages_server: Hub) -> Visitor:
    """A viewer."""
    return Visitor(pages_server, "vera")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the end of the server's log beside what failed."""
    report = yield
    if report.failed and isinstance(hub := getattr(item, "funcargs", {}).get("pages_server"), Hub):
        report.sections.append(("log of the server", "\n".join(hub.log.read_text().splitlines()[-80:])))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests of the server in one worker: a second one would start it again."""
    for item in items:
        if "pages_server" in getattr(item, "fixturenames", ()) and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("pages"))
