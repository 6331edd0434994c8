"""Show runs, as the API gives them, as JSON documents and as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from crossdock.cli import console
from crossdock.cli.instants import shown
from crossdock.core.counted import counted

Run = Mapping[str, Any]

#: The outcomes that are kept for each record, and those of which the ledger has only the number.
LISTED, COUNTED = ("inserted", "updated", "rejected", "held"), ("unchanged", "stale")


def document(run: Run) -> dict[str, Any]:
    """Build the JSON document of a run: flat counts, instants in ISO 8601."""
    same = ("run_id", "stream", "integration", "dataset", "mode", "state")
    more = ("balanced", "lines", "drift", "warnings")
    last = ("dag_id", "dag_run_id", "attempt", "error", "started_at")
    return {
        **{name: run[name] for name in same},
        **run["counts"],
        **{name: run[name] for name in more},
        "window": {"low": run["window_low"], "high": run["window_high"]},
        **{name: run[name] for name in last},
        "seconds": round(run["seconds"], 3),
    }


def show_runs(found: Sequence[Run]) -> None:
    """Show runs as a table."""
    console.show_table(
        "Runs, newest first",
        ["run", "stream", "mode", "state", "read", "outcome", "seconds"],
        [
            [
                run["run_id"],
                run["stream"],
                run["mode"],
                run["state"],
                run["counts"]["read"],
                outcomes(run["counts"]),
                round(run["seconds"], 1),
            ]
            for run in found
        ],
        empty="No runs yet. To start one: ./hub sync inventory --full",
    )


def outcomes(counts: Mapping[str, int]) -> str:
    """Format the outcomes that are not 0: `990 unchanged + 10 rejected`."""
    sides = ((outcome, count) for outcome, count in counts.items() if outcome != "read")
    return " + ".join(f"{count:,} {outcome}" for outcome, count in sides if count) or "nothing"


def show_run(run: Run, *, airflow_url: str | None = None) -> None:
    """Show a run with its outcomes and calls, and what to do next; with *airflow_url*, also where its tasks' logs are."""
    counts, lines = run["counts"], run["lines"]
    console.show(f"  {run['mode']}  {run['state']}  {run['seconds']:.1f} s", heading=run["run_id"])
    console.show(f"  {counts['read']:,} read{_became(run)}")
    if lines["read"]:
        console.show(f"  {counted(lines['read'], 'line')} {_sign(lines)} {outcomes(lines)}")
    for finding in run["drift"] or ():
        console.show(f"  drift: {finding['field']} is {finding['finding']} {finding['saw']}")
    for warning in run["warnings"]:
        examples = ", ".join(warning["examples"])
        console.show(
            f"  warning: the rule {warning['rule']} failed for {counted(warning['records'], 'record')}, such as {examples}"
        )
    if run["window_high"]:
        console.show(f"  window {run['window_low'] or 'the beginning'} … {run['window_high']}")
    if run["calls"]["calls"] or run["calls"]["avoided"]:
        console.show(f"  {calls(run['calls'])}")
    _show_failure(run, airflow_url)
    for retry in run.get("retries", ()):
        console.notice(retried(retry))
    if missing := missing_keys(run):
        console.error(missing)
    if _has_rows(counts):
        console.say(f"Record by record: ./hub run rows {run['run_id']}")
    console.say(next_step(run))


def _show_failure(run: Run, airflow_url: str | None) -> None:
    """Show why a run failed, what of it is not loaded, and where the logs of its tasks are."""
    tasks = run.get("failed_tasks", ())
    if run["error"] and not tasks:
        console.error(run["error"])
    if run["state"] != "failed":
        return
    for task in tasks:
        console.error(failed(task))
    if (unloaded := run.get("landed", 0) - run["counts"]["read"]) > 0:
        console.say(f"{counted(unloaded, 'more record')} had been read, and not loaded.")
    if airflow_url and run["dag_id"] and run["dag_run_id"]:
        console.say(f"Its tasks and their logs: {airflow_url}/dags/{run['dag_id']}/runs/{quote(run['dag_run_id'])}")


def _has_rows(counts: Mapping[str, int]) -> bool:
    return any(counts[name] for name in LISTED)


def show_rows(
    run_id: str, rows: Sequence[Mapping[str, Any]], counts: Mapping[str, int], *, outcome: str | None
) -> None:
    """Show rows of a run as a table, and what is counted only."""
    console.show_table(
        f"Rows of {run_id}",
        ["outcome", "record", "key", "version", "item", "cause"],
        [
            [
                row["outcome"],
                row["record_id"],
                row["record_key"],
                str(row["version"] or ""),
                str(row["item_id"] or ""),
                row["cause"],
            ]
            for row in rows
        ],
        empty=f"No rows are {outcome}." if outcome else "The run changed and rejected nothing.",
    )
    if only_counted := [f"{counts[name]:,} {name}" for name in COUNTED if counts[name]]:
        console.say(f"Only counted, not listed: {' and '.join(only_counted)}.")


def _sign(counts: Mapping[str, int]) -> str:
    return "=" if 2 * counts["read"] == sum(counts.values()) else "≠"


def _became(run: Run) -> str:
    """Say what became of the records. Of a run that has not ended well, none that were read says nothing of the source."""
    counts = run["counts"]
    if counts["read"]:
        return f" {_sign(counts)} {outcomes(counts)}"
    if run["state"] != "done" or run["keys"]:
        return ""
    if _reads_everything(run):
        return ": the source has no records"
    return ": the source has nothing new in the window"


def _reads_everything(run: Run) -> bool:
    """Check whether a run reads all that its source has, as the first one of a stream does."""
    is_first = run["mode"] == "delta" and bool(run["window_high"]) and not run["window_low"]
    return run["mode"] == "full" or is_first


def calls(usage: Mapping[str, Any]) -> str:
    """Format the calls that a run made: `12 calls, 3 retries, 2 errors; P50 3 ms, P95 11 ms`."""
    names = {
        "retries": "retries",
        "errors": "errors",
        "refusals": "refused",
        "throttled": "throttled",
        "avoided": "avoided",
    }
    rest = [f"{usage[field]:,} {name}" for field, name in names.items() if usage[field]]
    parts = ", ".join([counted(usage["calls"], "call"), *rest])
    if usage["p50_ms"] is None or usage["p95_ms"] is None:
        return parts
    return f"{parts}; P50 {_ms(usage['p50_ms'])}, P95 {_ms(usage['p95_ms'])}"


def failed(task: Mapping[str, Any]) -> str:
    """Say which task failed, how often it was tried, and why."""
    number = "" if task["map_index"] is None else f" {task['map_index']}"
    reason = (task["reason"] or "its process was gone before it could say why").removeprefix(
        f"{task['task_id']} failed: "
    )
    return f"{task['task_id']}{number} failed after {counted(task['tries'], 'try', 'tries')}: {reason}"


def retried(retry: Mapping[str, Any]) -> str:
    """Say which task failed, why, and when it is tried again: `extract failed on try 1 of 4: … Next try at 09:31:05 UTC`."""
    number = "" if retry["map_index"] is None else f" {retry['map_index']}"
    reason = (retry["reason"] or "its process was gone before it could say why").rstrip(".")
    failed = f"{retry['task_id']}{number} failed on try {retry['tries']} of {retry['most_tries']}: {reason}."
    if retry["next_try_at"] is None:
        return f"{failed} The next try has begun, or waits for its turn."
    return f"{failed} Airflow tries it again at {shown(retry['next_try_at'])} UTC."


def _ms(value: float) -> str:
    """Write milliseconds: three digits, or all of a large number."""
    return f"{value:,.0f} ms" if value >= 1_000 else f"{value:.3g} ms"  # noqa: PLR2004  a second


def next_step(run: Run) -> str:
    """Suggest the next command."""
    stream, counts = run["stream"], run["counts"]
    match run["state"]:
        case "done":
            return "All runs: ./hub runs" if missing_keys(run) else "Done. All runs: ./hub runs"
        case "partial" if counts["rejected"]:
            return f"To see the rejected records: ./hub quarantine list --run {run['run_id']}"
        case "partial":
            locked = counted(counts["held"], "record")
            return f"{locked} could not be written yet. The next run reads again what is open: ./hub sync {stream}"
        case "held":
            return f"If the source is correct: ./hub sync {stream} --full --allow-shrink"
        case "failed":
            whole = " --full" if run["mode"] == "full" else ""
            return f"After the cause is fixed: ./hub sync {stream}{whole}"
        case _:
            return f"The run is still running: ./hub run show {run['run_id']}"


def missing_keys(run: Run) -> str | None:
    """Say that the source does not have the keys that a run was to read; None where it may have them all."""
    read, asked = run["counts"]["read"], len(run["keys"])
    if run["state"] != "done" or read >= asked:
        return None
    # Personal keys are masked, and then all alike.
    keys = ", ".join(sorted(set(run["keys"])))
    if not read:
        return f"The source has no records with these keys: {keys}"
    return f"The source has {counted(read, 'record')} for {asked} keys, so it does not have some of these keys: {keys}"
