"""./hub bench event-store: status and replay counts on a large store."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.events import at_size
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.options import Json


def bench_event_store(
    events: Annotated[int, typer.Option(min=1_000, help="How many events the store has.")] = 5_000_000,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure what the delivery's status and the count before a replay take on a large store; into docs/benchmarks/.

    Example: ./hub bench event-store --events 1000000
    """
    say = (lambda _: None) if as_json else console.say
    found = at_size.run(events, as_given(), say)
    files = report.write(out or default_folder(), "event-store", found.page, found)
    show(found.goals, found.tables, files, as_json=as_json)
