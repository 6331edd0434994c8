"""./hub bench events: figures, measured here and now beside a yardstick."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from crossdock.bench.events import run as bench
from crossdock.bench.events.run import Plan, Report
from crossdock.cli import console


def bench_events(
    quick: Annotated[
        bool, typer.Option("--quick", help="A tenth of the time; figures to look at, not to quote.")
    ] = False,
    into: Annotated[
        Path | None, typer.Option(help="A folder for events.json and events.svg.", file_okay=False, exists=True)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False,
) -> None:
    """Publish and processing of events: throughput, waits from 1,000/s to saturation, during a sync, one reader and two."""
    plan = Plan()
    if quick:
        plan = Plan(
            closed_events=50_000, repeats=1, curve_s=2, steady_s=6, sync_s=6, sync_rows=20_000, proof_events=100_000
        )
    with console.progress("Measuring") as bar:
        report = bench.run(plan, bar.tell)
    if into:
        (into / "events.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
        (into / "events.svg").write_text(bench.picture(report))
    if as_json:
        console.show_json(report)
    else:
        _show(report)


def _show(report: Report) -> None:
    figures = [*report.closed, *report.curve, *report.steady, report.during_sync, *report.readers]
    console.show_table(
        "Events of 1 KB, synchronous_commit on",
        ["log", "offered/s", "readers", "published/s", "processed/s", "publish ms P50/P95/P99", "processing ms"],
        [
            [
                each.log,
                each.offered or "all it can",
                each.readers,
                round(each.published_per_s),
                round(each.processed_per_s),
                " / ".join(f"{value:g}" for value in each.publish_ms),
                " / ".join(f"{value:g}" for value in each.processing_ms),
            ]
            for each in figures
        ],
        empty="Nothing was measured.",
    )
    proof = report.proof
    console.praise(
        f"{report.ratio:.2f} times the plain log; two readers do {report.growth:.2f} times what one does. Of {proof.events:,} events {proof.lost:,} were lost and "
        f"{proof.doubled:,} had a second effect. A sync of {report.sync_rows:,} rows beside it took {report.sync_s:g} s."
    )
