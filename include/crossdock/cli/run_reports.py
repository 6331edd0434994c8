"""Runs as documents and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from crossdock.cli import console
from crossdock.db.database import Store
from crossdock.http import call_metrics as call_counts
from crossdock.http.call_metrics import Usage
from crossdock.sync import ledger as runs
from crossdock.sync.ledger import Run
from crossdock.sync.model import Counts, RunState

FATES = tuple(Counts.__struct_fields__)


def document(run: Run) -> dict[str, Any]:
    """A run as JSON: flat counts, instants in ISO 8601."""
    return {
        "run_id": run.run_id,
        "integration": run.integration,
        "entity": run.entity,
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
    console.show_table(
        "Runs, newest first",
        ["run", "mode", "state", "read", "what became of it", "seconds"],
        [[run.run_id, run.mode, run.state, run.counts.read, fates(run.counts), round(run.seconds, 1)] for run in found],
        empty="No runs yet. Start one: ./hub sync inventory --full",
    )


def fates(counts: Counts) -> str:
    """What became of the records, without what did not happen: `990 unchanged + 10 rejected`."""
    sides = ((fate, getattr(counts, fate)) for fate in FATES[1:])
    return " + ".join(f"{count:,} {fate}" for fate, count in sides if count) or "nothing"


def show_run(store: Store, run_id: str) -> Run:
    """One run with its accounting, and what to do next."""
    with store.transaction() as work:
        run = runs.get(work, run_id)
        usage = call_counts.usage_of_run(work, run_id)
    sign = "=" if run.counts.balanced else "≠"
    console.out.print(f"[bold]{run.run_id}[/]  {run.mode}  {run.state}  {run.seconds:.1f} s")
    console.out.print(f"  {run.counts.read:,} read {sign} {fates(run.counts)}")
    if run.lines.read:
        console.out.print(f"  {run.lines.read:,} lines {'=' if run.lines.balanced else '≠'} {fates(run.lines)}")
    for finding in run.drift or ():
        console.out.print(f"  drift: {finding['field']} is {finding['finding']} {finding['saw']}")
    if run.window_high:
        console.out.print(f"  window {run.window_low or 'the beginning'} … {run.window_high}")
    if usage.calls or usage.avoided:
        console.out.print(f"  {calls(usage)}")
    if run.error:
        console.complain(run.error)
    console.say(next_step(run))
    return run


def calls(usage: Usage) -> str:
    """What a run asked of its system: `12 calls, 3 retries, 2 errors; P50 3 ms, P95 11 ms`."""
    told = {
        "retries": usage.retries,
        "errors": usage.failures,
        "refused": usage.refusals,
        "throttled": usage.throttled,
        "avoided": usage.avoided,
    }
    parts = [f"{usage.calls:,} calls", *(f"{count:,} {name}" for name, count in told.items() if count)]
    if usage.p50_s is None or usage.p95_s is None:
        return ", ".join(parts)
    return f"{', '.join(parts)}; P50 {usage.p50_s * 1000:.3g} ms, P95 {usage.p95_s * 1000:.3g} ms"


def _when_done(run: Run) -> str:
    if run.request.keys and not run.counts.read:
        return f"The source has none of these: {', '.join(run.request.keys)}"
    return "Nothing is left to do. All runs: ./hub runs"


def next_step(run: Run) -> str:
    """The command that a person would give now."""
    match run.state:
        case RunState.DONE:
            return _when_done(run)
        case RunState.PARTIAL if run.counts.rejected:
            return "Look at what was rejected: ./hub quarantine list"
        case RunState.PARTIAL:
            return f"{run.counts.held} records were busy; the next run tries them: ./hub sync {run.entity}"
        case RunState.HELD:
            return f"If the source is right: ./hub sync {run.entity} --full --allow-shrink"
        case RunState.FAILED:
            return f"When the cause is gone: ./hub sync {run.entity}"
        case _:
            return f"It is at work: ./hub run show {run.run_id}"
