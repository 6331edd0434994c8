"""A page: rendered on the server, every value escaped, with what all pages show: navigation, caller, times, links."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import jinja2
from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.core.roles import Caller, Role
from crossdock.web import formats
from crossdock.web.assets import address_of
from crossdock.web.forms import FIELD, token_of

_TEMPLATES = Path(__file__).parent / "templates"
#: Where the pages are mounted below Airflow.
PREFIX = "/hub/pages"


class Entry(NamedTuple):
    """A place in the navigation."""

    path: str
    title: str


#: In the order in which a person needs them. What does not exist has no link.
NAVIGATION = (
    Entry("overview", "Overview"),
    Entry("runs", "Runs"),
    Entry("quarantine", "Quarantine"),
    Entry("events", "Events"),
    Entry("orders", "Orders"),
    Entry("workflows", "Workflows"),
    Entry("decisions", "Decisions"),
    Entry("integrations", "Integrations"),
    Entry("alerts", "Alerts"),
    Entry("audit", "Audit"),
)
#: First segment of an address → the entry of the navigation that it stands under, where that has another name.
_UNDER = {
    "dead-letters": "quarantine",
    "replays": "quarantine",
    "quarantine-previews": "quarantine",
    "dag-run": "runs",
    "event-delivery": "events",
    "event-volumes": "events",
    "event-replay": "events",
    "new-integration": "integrations",
    "declaration-preview": "integrations",
    "alert-mutes": "alerts",
    "alert-routes": "alerts",
    "alert-link": "alerts",
    "executions": "workflows",
    "workflow-editor": "workflows",
}


def show(
    request: Request, caller: Caller | None, template: str, *, status: HTTPStatus = HTTPStatus.OK, **values: Any
) -> HTMLResponse:
    """Render *template* with *values* for *caller*; None for one whom nobody knows."""
    links = Links(request.scope.get("root_path", ""))
    first = request.url.path.removeprefix(links.base).strip("/").partition("/")[0]
    around = {
        "base": links.base,
        "url": links.url,
        "airflow": links.airflow,
        "asset": lambda name: links.base + address_of(name),
        "under": _UNDER.get(first, first),
        "navigation": NAVIGATION,
        "caller": caller,
        "may_operate": caller is not None and Role.OPERATOR in caller.roles,
        "may_define": caller is not None and Role.DEVELOPER in caller.roles,
        "may_execute": caller is not None and Role.USER in caller.roles,
        "field": FIELD,
        "token": token_of(request, caller) if caller else "",
        "now": datetime.now(UTC),
    }
    return HTMLResponse(_environment().get_template(template).render({**around, **values}), status.value)


def go_to(request: Request, *path: object, **query: object) -> RedirectResponse:
    """Send the browser to a page after an action, by GET: to reload that page repeats nothing."""
    links = Links(request.scope.get("root_path", ""))
    return RedirectResponse(links.url(*path, **query), HTTPStatus.SEE_OTHER.value)


class Links(NamedTuple):
    """Addresses of pages, wherever Airflow is mounted."""

    base: str

    def url(self, *path: object, **query: object) -> str:
        """Build the address of a page from the segments of its path; a parameter without a value is left out."""
        return _joined(self.base, path, query)

    def airflow(self, *path: object, **query: object) -> str:
        """Build the address of a page of Airflow's own."""
        return _joined(self.base.removesuffix(PREFIX), path, query)


def _joined(base: str, path: tuple[object, ...], query: Mapping[str, object]) -> str:
    asked = urlencode({name: str(value) for name, value in query.items() if value not in (None, "")})
    return "/".join([base, *(quote(str(part), safe="") for part in path)]) + (f"?{asked}" if asked else "")


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(formats.FILTERS)
    return environment
