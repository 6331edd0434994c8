"""Show runs as JSON documents and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crossdock.cli import console
from crossdock.db.database import Store
from crossdock.http import call_metrics
from crossdock.http.call_metrics import Usage
from crossdock.sync import ledger
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts, RunState

OUTCOMES = tuple(Counts.__struct_fields__)


def document(run: Run) -> dict[str, Any]:
    """Build the JSON document of a run: flat counts, instants in ISO 8601."""
    return {
        "run_id": run.run_id,
        "stream": run.stream,
        "integration": run.integration,
        "dataset": run.dataset,
        "mode": run.mode.value,
        "state": run.state.value,
        **msgspec.structs.asdict(run.counts),
        "balanced": run.counts.balanced and run.lines.balanced,
        "lines": msgspec.structs.asdict(run.lines),
        "drift": run.drift,
        "window": {"low": run.window_low, "high": run.window_high},
        "dag_id": run.dag_id,
        "dag_run_id": run.dag_run_id,
        "attempt": run.attempt,
        "error": run.error,
        "started_at": run.started_at,
        "seconds": round(run.seconds, 3),
    }


def show_runs(found: Sequence[Run]) -> None:
    """Show runs as a table."""
    console.show_table(
        "Runs, newest first",
        ["run", "mode", "state", "read", "outcome", "seconds"],
        [
            [run.run_id, run.mode, run.state, run.counts.read, outcomes(run.counts), round(run.seconds, 1)]
            for run in found
        ],
        empty="No runs yet. To start one: ./hub sync inventory --full",
    )


def outcomes(counts: Counts) -> str:
    """Format the outcomes that are not 0: `990 unchanged + 10 rejected`."""
    sides = ((outcome, getattr(counts, outcome)) for outcome in OUTCOMES[1:])
    return " + ".join(f"{count:,} {outcome}" for outcome, count in sides if count) or "nothing"


def show_run(store: Store, run_id: str) -> Run:
    """Show a run with its outcomes, and what to do next."""
    with store.transaction() as work:
        run = ledger.get(work, run_id)
        usage = call_metrics.usage_of_run(work, run_id)
    sign = "=" if run.counts.balanced else "≠"
    console.out.print(f"[bold]{run.run_id}[/]  {run.mode}  {run.state}  {run.seconds:.1f} s")
    console.out.print(f"  {run.counts.read:,} read {sign} {outcomes(run.counts)}")
    if run.lines.read:
        console.out.print(f"  {run.lines.read:,} lines {'=' if run.lines.balanced else '≠'} {outcomes(run.lines)}")
    for finding in run.drift or ():
        console.out.print(f"  drift: {finding['field']} is {finding['finding']} {finding['saw']}")
    if run.window_high:
        console.out.print(f"  window {run.window_low or 'the beginning'} … {run.window_high}")
    if usage.calls or usage.avoided:
        console.out.print(f"  {calls(usage)}")
    if run.error:
        console.error(run.error)
    console.say(next_step(run))
    return run


def calls(usage: Usage) -> str:
    """Format the calls that a run made: `12 calls, 3 retries, 2 errors; P50 3 ms, P95 11 ms`."""
    counts = {
        "retries": usage.retries,
        "errors": usage.failures,
        "refused": usage.refusals,
        "throttled": usage.throttled,
        "avoided": usage.avoided,
    }
    parts = [f"{usage.calls:,} calls", *(f"{count:,} {name}" for name, count in counts.items() if count)]
    if usage.p50_s is None or usage.p95_s is None:
        return ", ".join(parts)
    return f"{', '.join(parts)}; P50 {usage.p50_s * 1000:.3g} ms, P95 {usage.p95_s * 1000:.3g} ms"


def _when_done(run: Run) -> str:
    if run.request.keys and not run.counts.read:
        return f"The source has no records with these keys: {', '.join(run.request.keys)}"
    return "Done. All runs: ./hub runs"


def next_step(run: Run) -> str:
    """Suggest the next command."""
    match run.state:
        case RunState.DONE:
            return _when_done(run)
        case RunState.PARTIAL if run.counts.rejected:
            return "To see the rejected records: ./hub quarantine list"
        case RunState.PARTIAL:
            return f"{run.counts.held} records were locked and are read again by the next run: ./hub sync {run.stream}"
        case RunState.HELD:
            return f"If the source is correct: ./hub sync {run.stream} --full --allow-shrink"
        case RunState.FAILED:
            return f"After the cause is fixed: ./hub sync {run.stream}"
        case _:
            return f"The run is still running: ./hub run show {run.run_id}"
