"""./hub bench growth: what a stack leaves behind per day."""

from __future__ import annotations

import time
from importlib import metadata
from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.growth import load
from crossdock.bench.growth.footprint import footprint
from crossdock.bench.growth.outcome import GrowthOutcome
from crossdock.bench.meter import refuse_other_systems
from crossdock.bench.report import Say
from crossdock.bench.stack import steps
from crossdock.bench.sync.database import server_version
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json
from crossdock.stack import lifecycle


def bench_growth(
    minutes: Annotated[float, typer.Option(min=0.5, help="How long webhooks come in.")] = 20,
    rate: Annotated[float, typer.Option(min=0.1, help="Webhooks a second.")] = 25,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure what webhooks leave behind on a stack of its own: disk, inodes, logs, tables, memory; into docs/benchmarks/.

    Example: ./hub bench growth --minutes 30
    """
    refuse_other_systems()
    say = (lambda _: None) if as_json else console.say
    with steps.own_home():
        lifecycle.up(progress=say)
        outcome = _measure(minutes, rate, say)
    files = report.write(out or default_folder(), "growth", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)


def _measure(minutes: float, rate: float, say: Say) -> GrowthOutcome:
    running = lifecycle.load()
    assert running is not None  # noqa: S101  `up` has just left it running
    steps.fill(running, say)
    api = running.api()
    key = load.configure(api)
    load.wait_until_delivered(api)
    # The first webhooks sign in and load what a fetch needs, once.
    load.send(running, key, rate=rate, seconds=5, say=say)
    load.wait_until_delivered(api)
    before, began = footprint(running), time.monotonic()
    webhooks = load.send(running, key, rate=rate, seconds=minutes * 60, say=say)
    delivered_after_s = load.wait_until_delivered(api)
    return GrowthOutcome(
        setup=report.setup(as_given(), server_version(running.hub_dsn)),
        airflow=metadata.version("apache-airflow"),
        minutes=minutes,
        rate=rate,
        webhooks=webhooks,
        seconds=time.monotonic() - began,
        delivered_after_s=delivered_after_s,
        before=before,
        after=footprint(running),
    )
