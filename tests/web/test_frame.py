"""The frame of all pages: who sees them, what a browser may do with them, and that every link leads somewhere."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import requests
from hatchling.builders.wheel import WheelBuilder
from starlette.routing import Route

from crossdock import web
from crossdock.api.access import guard_of
from crossdock.api.app import create_app
from crossdock.web.app import create_pages
from crossdock.web.page import NAVIGATION
from tests.api.conftest import Hub
from tests.api.matrix import ROLES
from tests.web.conftest import Found, Visitor
from tests.web.matrix import OF_NOTHING, PAGES, SIGNED

PROJECT = Path(__file__).parents[2]
STATIC = Path(web.__file__).parent / "static"
#: htmx.org 2.0.11 of the npm registry, Zero-Clause BSD: `dist/htmx.min.js`, unchanged.
HTMX = "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717"
#: What a person downloads once, and keeps.
MOST_BYTES = 150_000


def path_of(path: str) -> str:
    for name, value in OF_NOTHING.items():
        path = path.replace(name, value)
    return path


def test_every_page_is_in_the_matrix() -> None:
    """A page without a rule must not be open to anybody who finds it."""
    routes = [route for route in create_pages().routes if isinstance(route, Route)]
    found = {(method, route.path) for route in routes for method in route.methods or () if method != "HEAD"}

    assert found - {("GET", "/assets/{name}")} - SIGNED == set(PAGES)


def test_each_page_and_action_has_the_guard_of_its_route() -> None:
    """What the API refuses to somebody, no page does for them."""
    of_api = {(method, route.path): guard_of(route) for route in create_app().routes for method in route.methods}  # type: ignore[attr-defined]
    of_pages = {(method, route.path): guard_of(route) for route in create_pages().routes for method in route.methods}  # type: ignore[attr-defined]

    assert {page: of_pages[page].roles for page in PAGES} == {page: of_api[like].roles for page, like in PAGES.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("name", [name for name in ROLES if name != "nobody"])
def test_a_role_sees_what_the_api_shows_it(pages_server: Hub, name: str) -> None:
    visitor = Visitor(pages_server, name)
    for (method, path), like in PAGES.items():
        answer = visitor.send(method, path_of(path), headers={"Origin": pages_server.url})
        if ROLES[name] not in like.roles:
            assert answer.status_code == 403, path
            assert "You may not do this" in answer.text
            assert f"{name} needs the" in answer.text
        elif method == "GET":
            assert answer.status_code in {200, 404}, f"{path}: {answer.text}"
        else:
            assert answer.status_code in {400, 403}, f"{path}: a form of nothing has no token"
            assert "needs the" not in answer.text


def test_without_a_login_a_page_says_what_to_do(pages_server: Hub) -> None:
    for method, path in PAGES:
        answer = requests.request(method, f"{pages_server.url}/hub/pages{path_of(path)}", timeout=60)

        assert answer.status_code == 401, path
        assert "Sign in to see this page" in answer.text
        assert any(link.startswith("/api/v2/auth/login") for link in Found(answer.text).links)


def test_an_error_names_the_page_that_helps(pages_server: Hub) -> None:
    otto = Visitor(pages_server, "otto")
    unknown = otto.get("/orders/none")

    assert otto.status == 404
    assert '<a class="button main" href="/hub/pages/orders">' in unknown


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("POST", "/runs")])
def test_an_error_of_a_page_speaks_of_no_api(pages_server: Hub, method: str, path: str) -> None:
    page = Visitor(pages_server, "otto").send(method, path).text

    assert "openapi" not in page
    assert "Allow header" not in page


def test_the_address_of_a_preview_leads_to_the_quarantine(pages_server: Hub) -> None:
    answer = Visitor(pages_server, "otto").answer("/quarantine-previews", allow_redirects=False)

    assert (answer.status_code, answer.headers["location"]) == (303, "/hub/pages/quarantine")


def test_after_the_login_a_person_is_back_at_the_link_of_a_message(pages_server: Hub) -> None:
    page = requests.get(f"{pages_server.url}/hub/pages/quarantine?stream=shop_eu.orders", timeout=60)
    link = next(link for link in Found(page.text).links if "auth/login" in link)
    login = requests.get(pages_server.url + link, timeout=60, allow_redirects=False)

    assert login.status_code in {302, 307}
    assert "next=%2Fhub%2Fpages%2Fquarantine%3Fstream%3Dshop_eu.orders" in login.headers["Location"]


@pytest.mark.usefixtures("pages")  # an empty hub: escaped, the text of a record may look like a script
@pytest.mark.parametrize("path", ["/overview", "/nothing", "/overview?limt=3"])
def test_no_page_runs_a_script_or_stands_in_a_frame_that_is_not_ours(vera: Visitor, path: str) -> None:
    """A script in a page would have the session's token, and a frame of another site the person's clicks. So on errors too."""
    answer = vera.answer(path)
    policy = answer.headers["Content-Security-Policy"]

    assert "frame-ancestors 'self'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<script(?! src=)|<style|\son\w+=|\sstyle=|javascript:", answer.text)


def test_a_page_that_does_not_exist_says_so(vera: Visitor) -> None:
    assert "There is nothing here" in vera.get("/nothing")
    assert vera.status == 404


def test_an_unknown_filter_is_refused_and_not_left_out(vera: Visitor) -> None:
    assert "is not known" in vera.get("/overview?limt=3")
    assert vera.status == 400


def test_every_link_leads_to_a_page(otto: Visitor) -> None:
    """From the overview on; what does not exist has no link."""
    seen, waiting = set[str](), {"/hub/pages/overview"}
    while waiting:
        link = waiting.pop()
        seen.add(link)
        answer = otto.answer(otto.hub.url + link)
        assert answer.status_code == 200, f"{link}: {answer.text}"
        if "text/html" in answer.headers["Content-Type"]:
            found = {url for url in Found(answer.text).links if url.startswith("/hub/pages")}
            waiting |= {url.partition("#")[0] for url in found} - seen
    assert {f"/hub/pages/{entry.path}" for entry in NAVIGATION} <= seen


def test_the_vendored_script_is_the_one_that_was_published() -> None:
    assert hashlib.sha256((STATIC / "htmx.min.js").read_bytes()).hexdigest() == HTMX


def test_the_assets_are_small_and_kept(pages_server: Hub, vera: Visitor) -> None:
    """A browser asks for each of them once; their address changes with their content."""
    addresses = set(re.findall(r'(?:src|href)="(/hub/pages/assets/[^"]+)"', vera.get("/overview")))
    answers = [requests.get(pages_server.url + address, timeout=60) for address in sorted(addresses)]

    assert {answer.status_code for answer in answers} == {200}
    assert all("immutable" in answer.headers["Cache-Control"] for answer in answers)
    assert sum(len(answer.content) for answer in answers) <= MOST_BYTES
    assert all("?v=" in address for address in addresses)


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fpage.py", "%2e%2e/page.py"])
def test_nothing_but_the_assets_is_served(pages_server: Hub, name: str) -> None:
    assert requests.get(f"{pages_server.url}/hub/pages/assets/{name}", timeout=60).status_code in {401, 404}


def test_the_wheel_has_every_template_and_asset() -> None:
    """A company installs the wheel beside its own project, and has nothing else of ours."""
    included = {each.distribution_path for each in WheelBuilder(str(PROJECT)).recurse_included_files()}
    ours = {
        path.relative_to(PROJECT / "include").as_posix()
        for folder in ("static", "templates")
        for path in (STATIC.parent / folder).iterdir()
    }

    assert len(ours) > 20
    assert ours <= included
