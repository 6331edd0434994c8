"""One run of the demo: the stack that it runs on, its steps, and the syncs that they start."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from crossdock.cli import console, run_reports
from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.client import dag_runs
from crossdock.core.errors import HubError
from crossdock.stack.lifecycle import Stack

#: A run as the API gives it.
SyncRun = dict[str, Any]

#: What a step does: it returns what it found, in a sentence, or raises.
Act = Callable[[Bar], str]


@dataclass
class DemoRun:
    """The stack that the demo runs on, and what has happened so far."""

    stack: Stack
    steps: list[dict[str, Any]] = field(default_factory=list)
    passes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return bool(self.steps) and all(step["ok"] for step in self.steps)

    def sync_all(self, requests: Iterable[tuple[str, dict[str, Any]]], bar: Bar) -> dict[str, SyncRun]:
        """
        Run several streams at once, each with its request, and wait for all: each has its own lease and its own DAG.

        Raises:
            DemoFailed: a DAG run failed.

        """
        api = self.stack.api()
        started = {stream: dag_runs.trigger(api, stream, request) for stream, request in requests}
        return {stream: self._ended(stream, dag_run_id, bar) for stream, dag_run_id in started.items()}

    def sync(self, stream: str, request: dict[str, Any], bar: Bar) -> SyncRun:
        """Run one stream and wait for it."""
        return self.sync_all([(stream, request)], bar)[stream]

    def _ended(self, stream: str, dag_run_id: str, bar: Bar) -> SyncRun:
        state, (run,) = dag_runs.follow(self.stack.api(), stream, dag_run_id, bar.update)
        expect(state == "success", f"the DAG run {dag_run_id} ended as {state}: {run['error']}", look_at(run))
        self.passes.append(
            {
                "stream": stream,
                "run_id": run["run_id"],
                "pass": 1 + sum(earlier["stream"] == stream for earlier in self.passes),
                **run["counts"],
                "seconds": round(run["seconds"], 2),
            }
        )
        return run

    def take(self, name: str, act: Act) -> bool:
        """Run one step and show how it ended; returns whether it passed."""
        started_at = time.monotonic()
        with console.progress(name) as bar:
            bar.update(name)
            try:
                detail, ok = act(bar), True
            except Exception as error:  # noqa: BLE001  whatever goes wrong, the demo says so and stops
                detail, ok = str(error) if isinstance(error, HubError) else repr(error), False
        seconds = round(time.monotonic() - started_at, 2)
        self.steps.append({"name": name, "ok": ok, "seconds": seconds, "detail": detail})
        (console.success if ok else console.error)(f"{name} ({seconds:.0f} s)\n    {detail}")
        return ok


def demo_document(run: DemoRun) -> dict[str, Any]:
    return {"syncs": run.passes, "steps": run.steps, "ok": run.passed}


def look_at(run: SyncRun) -> str:
    """Write the command that shows *run*."""
    return f"./hub run show {run['run_id']}"


def summary(run: SyncRun) -> str:
    return f"{run['counts']['read']:,} read = {run_reports.outcomes(run['counts'])}"
