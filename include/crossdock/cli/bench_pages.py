"""./hub bench pages: the pages in Airflow's UI over a hub that has grown."""

from __future__ import annotations

from importlib import metadata
from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.pages import fill, visit
from crossdock.bench.pages.fill import Size
from crossdock.bench.pages.visit import PagesOutcome
from crossdock.bench.report import Say
from crossdock.bench.stack import steps
from crossdock.bench.sync.database import server_version
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json
from crossdock.db.database import Store
from crossdock.stack import lifecycle


def bench_pages(
    quarantine: Annotated[int, typer.Option(min=100, help="Open records in quarantine.")] = 100_000,
    events: Annotated[int, typer.Option(min=5_000, help="Events in the store.")] = 1_000_000,
    runs: Annotated[int, typer.Option(min=1_000, help="Runs in the ledger.")] = 10_000,
    rate: Annotated[float, typer.Option(min=0.1, help="Pages a second.")] = 5,
    rounds: Annotated[int, typer.Option(min=2, help="How often each page is opened.")] = 60,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure each page of a hub that has grown, on a stack of its own; into docs/benchmarks/.

    Example: ./hub bench pages --events 200000
    """
    refuse_other_systems()
    say = (lambda _: None) if as_json else console.say
    with steps.own_home():
        lifecycle.up(progress=say)
        size = Size(quarantine=quarantine, events=events, runs=runs)
        outcome = _measure(size, rate, rounds, say)
    files = report.write(out or default_folder(), "pages", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)


def _measure(size: Size, rate: float, rounds: int, say: Say) -> PagesOutcome:
    running = lifecycle.load()
    assert running is not None  # noqa: S101  `up` has just left it running
    with Store(running.hub_dsn) as store:
        fill.fill(store, size, say)
        ids = fill.ids(store)
    token = running.api().new_token()
    return PagesOutcome(
        setup=report.setup(as_given(), server_version(running.hub_dsn)),
        airflow=metadata.version("apache-airflow"),
        quarantine=size.quarantine,
        events=size.events,
        runs=size.runs,
        rate=rate,
        took_ms=visit.visit(running.airflow_url, token, ids, rate=rate, rounds=rounds, say=say),
        assets_bytes=visit.assets_bytes(running.airflow_url, token),
    )
