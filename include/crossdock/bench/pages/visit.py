"""Open pages at a steady rate, however long each takes, and write down how long that was."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from statistics import median, quantiles
from threading import local

import msgspec
import requests

from crossdock.bench.report import Goal, Say, Setup, Table, goals_table, markdown
from crossdock.bench.sync.processes import ProgramFailed

_AT_ONCE = 8
_TIMEOUT_S = 60.0
_LIMIT_MS = 300.0
_MOST_KB = 150.0
_BELOW = "/hub/pages"
#: Every page that lists or shows something of what has grown.
PAGES = (
    "/overview",
    "/badge",
    "/runs",
    "/runs?stream=commercetools.inventory&state=partial",
    "/runs/{run}",
    "/runs/{run}/rows?outcome=rejected",
    "/quarantine",
    "/quarantine?stream=commercetools.inventory&cause=rule_3",
    "/quarantine/{item}",
    "/dead-letters",
    "/dead-letters/{dead_letter}",
    "/replays",
    "/events",
    "/events?key=key-17",
    "/events/{event}",
    "/event-delivery",
    "/event-volumes",
    "/orders",
    "/decisions",
    "/integrations",
    "/integrations/commercetools",
    "/alerts",
    "/alert-routes",
    "/audit",
)
_sessions = local()


class PagesOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How long each page took, in milliseconds, and what a browser downloads once."""

    setup: Setup
    airflow: str
    quarantine: int
    events: int
    runs: int
    rate: float
    took_ms: dict[str, list[float]]
    assets_bytes: int

    @property
    def goals(self) -> list[Goal]:
        return [
            *(
                Goal(what=f"{page}: P95", figure=_p95(found), limit=_LIMIT_MS, unit=" ms")
                for page, found in self.took_ms.items()
            ),
            Goal(what="assets, once", figure=self.assets_bytes / 1000, limit=_MOST_KB, unit=" kB"),
        ]

    @property
    def tables(self) -> list[Table]:
        return [
            goals_table(self.goals),
            Table(
                "Milliseconds",
                ["page", "least", "median", "P95", "most"],
                [
                    [page, *(f"{figure:.0f}" for figure in (min(found), median(found), _p95(found), max(found)))]
                    for page, found in self.took_ms.items()
                ],
                "A pause of the whole server counts for every page that was open then: with few rounds, that is the P95.",
            ),
        ]

    @property
    def page(self) -> str:
        made = self.setup
        intro = (
            f"A hub with {self.quarantine:,} open records in quarantine, {self.events:,} events and {self.runs:,} runs; "
            f"{self.rate:g} pages a second, each page in turn, while the stack runs beside. Measured {made.measured_at} on "
            f"{made.machine}; PostgreSQL {made.postgres}, Airflow {self.airflow}. Made by:"
        )
        return markdown("Pages of a hub that has grown", [intro], made.command, self.tables)


def _p95(found: Sequence[float]) -> float:
    return quantiles(found, n=20)[-1] if len(found) > 1 else found[0]


def visit(
    url: str, token: str, ids: Mapping[str, str], *, rate: float, rounds: int, say: Say
) -> dict[str, list[float]]:
    """
    Open each page *rounds* times, *rate* of them a second.

    Raises:
        ProgramFailed: a page answered with an error.

    """
    pages = [filled(page, ids) for page in PAGES]
    for page in pages:  # What a process loads and compiles once is not the page's.
        _ms(url, token, page)
    asked: list[tuple[str, Future[float]]] = []
    began = time.monotonic()
    with ThreadPoolExecutor(_AT_ONCE, "page") as pool:
        for number, page in enumerate(pages * rounds):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            asked.append((page, pool.submit(_ms, url, token, page)))
            if number % (len(pages) * 10) == 0:
                say(f"{number:,} of {len(pages) * rounds:,} pages")
    names = dict(zip(pages, PAGES, strict=True))
    found: dict[str, list[float]] = {page: [] for page in PAGES}
    for page, answer in asked:
        found[names[page]].append(answer.result())
    return found


def assets_bytes(url: str, token: str) -> int:
    """Add up what the overview loads besides itself."""
    html = _get(url, token, "/overview").text
    addresses = set(re.findall(r'(?:src|href)="(/[^"]*/assets/[^"]+)"', html))
    return sum(len(requests.get(url + address, timeout=_TIMEOUT_S).content) for address in addresses)


def filled(page: str, ids: Mapping[str, str]) -> str:
    """Write the IDs of what is there into the path of a page."""
    for name, value in ids.items():
        page = page.replace(name, value)
    return page


def _ms(url: str, token: str, page: str) -> float:
    began = time.perf_counter()
    _get(url, token, page)
    return (time.perf_counter() - began) * 1000


def _get(url: str, token: str, page: str) -> requests.Response:
    if not hasattr(_sessions, "session"):
        _sessions.session = requests.Session()
        _sessions.session.trust_env = False  # 127.0.0.1 is reached without a proxy
    answer: requests.Response = _sessions.session.get(
        f"{url}{_BELOW}{page}", cookies={"_token": token}, timeout=_TIMEOUT_S
    )
    if answer.status_code != HTTPStatus.OK:
        raise ProgramFailed(f"{page} was answered with HTTP {answer.status_code}")
    return answer
