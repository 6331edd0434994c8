"""The figures of a stack as Markdown, and raw."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec

from crossdock.bench.stack.figures import StackOutcome, percentile
from crossdock.bench.sync.report import goals_table, table


def write(outcome: StackOutcome, folder: Path) -> list[Path]:
    """The tables and the raw samples in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stack.md").write_text(markdown(outcome))
    (folder / "stack.json").write_text(msgspec.json.format(msgspec.json.encode(outcome)).decode() + "\n")
    return [folder / "stack.md", folder / "stack.json"]


def markdown(outcome: StackOutcome) -> str:
    setting = outcome.setting
    parts = [
        "# A local stack",
        (
            f"Measured {setting.measured_at} on {setting.machine}; Airflow {setting.airflow}, PostgreSQL"
            f" {setting.postgres}; {setting.records:,} stock levels in the hub. Made by:"
        ),
        f"```\n{setting.command}\n```",
        "What is measured, and how: [README.md](README.md). Raw samples: [stack.json](stack.json).",
        "## Goals",
        goals_table(outcome.goals),
        "## Starting",
        table(
            ["`./hub up`", "seconds", "CPU s"],
            [[start.how, f"{start.wall_s:.1f}", f"{start.cpu_s:.1f}"] for start in outcome.starts],
        ),
        "## At rest",
        _at_rest(outcome),
        "## One changed record",
        _runs(outcome),
        "## DAG files",
        table(
            ["file", "median s", "most s"],
            [[file, f"{median(each):.3f}", f"{max(each):.3f}"] for file, each in outcome.imports.items()],
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _at_rest(outcome: StackOutcome) -> str:
    rows = [
        [each.name, each.processes, f"{each.idle_cores:.3f}", f"{each.pss_mb:.0f}", f"{each.pss_mb_after:.0f}"]
        for each in outcome.processes
    ]
    rows.append(
        [
            "together",
            sum(each.processes for each in outcome.processes),
            f"{sum(each.idle_cores for each in outcome.processes):.3f}",
            f"{sum(each.pss_mb for each in outcome.processes):.0f}",
            f"{sum(each.pss_mb_after for each in outcome.processes):.0f}",
        ]
    )
    return table(["process", "processes", "busy cores", "PSS MiB", "PSS MiB after the runs"], rows)


def _runs(outcome: StackOutcome) -> str:
    measured = {
        "trigger to done, s": [run.wall_s for run in outcome.runs],
        **{
            f"{task} at work, s": [run.tasks.get(task, 0.0) for run in outcome.runs]
            for task in (outcome.runs[0].tasks if outcome.runs else {})
        },
        "CPU of its tasks, s": [run.tasks_cpu_s for run in outcome.runs],
        "CPU of the whole stack, s": [run.stack_cpu_s for run in outcome.runs],
    }
    rows = [
        [what, *(f"{percentile(values, share) or 0:.2f}" for share in (50, 95)), f"{max(values, default=0):.2f}"]
        for what, values in measured.items()
    ]
    return table([f"{len(outcome.runs)} runs", "P50", "P95", "most"], rows)
