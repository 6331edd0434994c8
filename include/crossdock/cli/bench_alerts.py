"""./hub bench alerts: from each cause to its message."""

from __future__ import annotations

from typing import Annotated

import typer

from crossdock.bench import report
from crossdock.bench.alerts.causes import CAUSES
from crossdock.bench.alerts.run import measure
from crossdock.bench.meter import refuse_other_systems
from crossdock.cli import console
from crossdock.cli.bench import Out, as_given, default_folder, show
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.core.errors import BadRequest


def bench_alerts(
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind of alert; nothing is written then.")] = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """
    Measure, on a stack of its own under load, how long it takes from each cause to its message; into docs/benchmarks/.

    Example: ./hub bench alerts --kind run_failed
    """
    refuse_other_systems()
    only = kind or []
    if unknown := set(only) - set(CAUSES):
        raise BadRequest(f"There is no kind of alert {', '.join(sorted(unknown))!r}. Kinds: {', '.join(CAUSES)}")
    say = (lambda _: None) if as_json else console.say
    outcome = measure(as_given(), say, only)
    files = [] if only else report.write(out or default_folder(), "alerts", outcome.page, outcome)
    show(outcome.goals, outcome.tables, files, as_json=as_json)
    if not all(goal.reached for goal in outcome.goals):
        raise typer.Exit(Exit.FAILED)
