"""The steps that measure a local stack: start it, watch it at rest, and sync one changed record at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from crossdock.bench.environment import environment
from crossdock.bench.interrupts import exit_on_signals
from crossdock.bench.meter import cpu_s, ended_children_cpu_s, own_cpu_s, pss_mb, tree
from crossdock.bench.report import Say
from crossdock.bench.stack.outcome import DeltaRun, Process, Start
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.dag_runs import wait_for
from crossdock.client.sandbox import SandboxControl
from crossdock.core.ids import sync_dag
from crossdock.core.settings import UNSCHEDULED
from crossdock.db.database import Store
from crossdock.stack import lifecycle, postgres_location, processes
from crossdock.stack.home import project
from crossdock.stack.lifecycle import Stack
from crossdock.stack.starts import POSTGRES
from crossdock.sync import ledger

_STREAM = "commercetools.inventory"
_DAG = sync_dag(_STREAM)
_ENDED = frozenset({"success", "failed"})
_DAG_RUN_TIMEOUT_S = 300.0
#: After a start Airflow reads the DAG files and cleans up; the stack is not at rest yet.
_SETTLE_S = 30.0


@contextmanager
def own_home() -> Iterator[Path]:
    """
    Use a home for the stacks of this measurement alone, without schedules, and delete it afterwards.

    The stack of this project, running or not, is not touched.
    """
    folder = Path(tempfile.mkdtemp(prefix="crossdock-bench-stack-"))
    ours = {"HUB_HOME": str(folder / "first"), "HUB_STREAMS": UNSCHEDULED}
    with environment(ours), exit_on_signals():
        try:
            yield folder
        finally:
            lifecycle.down()
            for home in folder.iterdir():
                destroy(home)
            shutil.rmtree(folder, ignore_errors=True)


def destroy(home: Path) -> None:
    """Delete the home of a stopped stack, with what was moved of its servers."""
    for name in POSTGRES:
        postgres_location.remove(postgres_location.locate(home / name), home / name)
    shutil.rmtree(home, ignore_errors=True)


def starts(folder: Path, say: Say) -> Iterator[Start]:
    """Start three times: as on a new machine without bytecode, as after an installation, and with the data there."""
    yield _up("first, without bytecode", say, {"PYTHONPYCACHEPREFIX": str(folder / "no-bytecode")})
    lifecycle.down()
    destroy(Path(os.environ["HUB_HOME"]))
    os.environ["HUB_HOME"] = str(folder / "second")
    yield _up("first, with bytecode", say, {})
    lifecycle.down()
    yield _up("again", say, {})


def _up(how: str, say: Say, more: Mapping[str, str]) -> Start:
    say(f"./hub up, {how}")
    began, used = time.perf_counter(), ended_children_cpu_s()
    # Where Python may not write bytecode, every start would be a slow one.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "crossdock.cli", "up"],
        env={**inherited, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stderr is not None  # noqa: S101  for the type checker
            for line in child.stderr:
                say(f"    {line.rstrip()}")
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise ProgramFailed(f"./hub up ended with {child.returncode}; its output is above")
    wall_s = time.perf_counter() - began
    by_stack = sum(cpu_s(record.pid) for record in processes.alive().values())
    return Start(how=how, wall_s=wall_s, cpu_s=ended_children_cpu_s() - used + by_stack)


def at_rest(idle_s: float, say: Say) -> list[Process]:
    """Measure each process with its descendants: busy cores over *idle_s* seconds, and memory at their end."""
    say(f"The stack settles for {_SETTLE_S:.0f} s, then watched for {idle_s:.0f} s")
    time.sleep(_SETTLE_S)
    pids = {name: record.pid for name, record in processes.alive().items()}
    before, began = {name: cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
    time.sleep(idle_s)
    elapsed_s = time.perf_counter() - began
    return [
        Process(
            name=name,
            processes=len(tree(pid)),
            idle_cores=(cpu_s(pid) - before[name]) / elapsed_s,
            pss_mb=pss_mb(pid),
        )
        for name, pid in pids.items()
    ]


def with_memory_now(found: list[Process]) -> list[Process]:
    """Add to *found* what each process holds now."""
    living = processes.alive()
    return [msgspec.structs.replace(process, pss_mb_after=pss_mb(living[process.name].pid)) for process in found]


def import_seconds(running: Stack) -> dict[str, list[float]]:
    """Measure the import of each DAG file, beyond Airflow's own."""
    files = sorted((project() / "dags").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crossdock.bench.stack.dag_imports", *map(str, files)],
        env=running.environment(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"Importing the DAG files ended with {done.returncode}; its output is above")
    found: dict[str, list[tuple[float, float]]] = json.loads(done.stdout.splitlines()[-1])
    return {Path(file).name: [wall_s for wall_s, _ in measured] for file, measured in found.items()}


def fill(running: Stack, say: Say) -> int:
    """Run a full sync into the empty hub, so that the next one is a delta; return how many records it inserted."""
    running.api().wait_for_dag(_DAG)
    run, inserted = _run(running, {"full": True})
    say(f"A full sync inserted {inserted:,} stock levels in {run.wall_s:.1f} s")
    return inserted


def delta_runs(running: Stack, repeat: int, say: Say) -> Iterator[DeltaRun]:
    """Sync one changed record, *repeat* times, after two runs that do not count."""
    sandbox = SandboxControl(running.sandbox_url)
    for number in range(-1, repeat + 1):
        sandbox.live(stock_moves=1)
        run, _ = _run(running, {})
        say(
            f"{f'run {number} of {repeat}' if number > 0 else 'warm up'}: {run.wall_s:.2f} s, CPU of its tasks"
            f" {run.tasks_cpu_s:.2f} s, of the whole stack {run.stack_cpu_s:.2f} s; {run.updated} updated"
        )
        if number > 0:
            yield run


def _run(running: Stack, conf: Mapping[str, object]) -> tuple[DeltaRun, int]:
    """Run the DAG; return the run, measured from its trigger to its recorded end, and the rows inserted."""
    api = running.api()
    api.health()  # loads the HTTP library and connects now: that must not be measured
    pids = {name: record.pid for name, record in processes.alive().items()}
    stack_before, tasks_before = _stack_cpu_s(pids), _tasks_cpu_s(pids)
    triggered_at = time.time()
    dag_run_id = api.trigger(_DAG, conf)

    def ended_run() -> dict[str, Any] | None:
        run = api.dag_run(_DAG, dag_run_id)
        return run if run["state"] in _ENDED else None

    ended = wait_for(ended_run, f"DAG run {dag_run_id}", _DAG_RUN_TIMEOUT_S)
    if ended["state"] != "success":
        raise ProgramFailed(f"DAG run {dag_run_id} ended as {ended['state']}. Its log: {api.url}/dags/{_DAG}/runs")
    tasks_cpu_s, stack_cpu_s = _tasks_cpu_s(pids) - tasks_before, _stack_cpu_s(pids) - stack_before
    with Store(running.hub_dsn) as store, store.transaction() as work:
        (run,) = ledger.of_dag_run(work, dag_run_id, _STREAM, dag_id=_DAG)
    measured = DeltaRun(
        wall_s=_timestamp(ended["end_date"]) - triggered_at,
        tasks_cpu_s=tasks_cpu_s,
        stack_cpu_s=stack_cpu_s,
        tasks=_seconds_of_tasks(api.task_instances(_DAG, dag_run_id)),
        updated=run.counts.updated,
    )
    return measured, run.counts.inserted


def _stack_cpu_s(pids: Mapping[str, int]) -> float:
    return sum(map(cpu_s, pids.values()))


def _tasks_cpu_s(pids: Mapping[str, int]) -> float:
    """CPU seconds of everything below the scheduler: the executor's workers, and the processes of their tasks."""
    return cpu_s(pids["scheduler"]) - own_cpu_s(pids["scheduler"])


def _seconds_of_tasks(instances: list[dict[str, Any]]) -> dict[str, float]:
    ordered = sorted(instances, key=lambda task: str(task["start_date"]))
    return {str(task["task_id"]): _timestamp(task["end_date"]) - _timestamp(task["start_date"]) for task in ordered}


def _timestamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
