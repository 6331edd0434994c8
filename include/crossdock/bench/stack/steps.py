"""What is measured of a local stack, step by step: starting it, leaving it alone, and one changed record at a time."""

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

from crossdock.app.streams import SYNCS
from crossdock.bench.interrupts import told_to_end
from crossdock.bench.meter import descendants, own_cpu_s, pss_mb, whole_cpu_s
from crossdock.bench.stack.figures import DeltaRun, Process, Start
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.bench.sync.rounds import Tell
from crossdock.stack.dag_runs import wait_for
from crossdock.client.sandbox import SandboxControl
from crossdock.db.database import Store
from crossdock.stack import processes, stack
from crossdock.stack.home import project
from crossdock.stack.stack import Stack
from crossdock.sync import ledger as runs

_ENTITY, _DAG = "inventory", "sync_inventory"
_ENDED = frozenset({"success", "failed"})
_DAG_RUN_TIMEOUT_S = 300.0
#: After a start Airflow reads the DAG files and tidies up; that is no rest.
_SETTLE_S = 30.0


@contextmanager
def own_home() -> Iterator[Path]:
    """
    A home for stacks of this measurement alone, where no run starts by itself; afterwards all of it is gone.

    The stack of this project, running or not, is not touched.
    """
    folder = Path(tempfile.mkdtemp(prefix="crossdock-bench-stack-"))
    ours = {"HUB_HOME": str(folder / "first"), **{f"HUB_SYNC_{entity.upper()}_SCHEDULE": "" for entity in SYNCS}}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        with told_to_end():
            try:
                yield folder
            finally:
                stack.down()
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def starts(folder: Path, tell: Tell) -> Iterator[Start]:
    """Three starts on two cores: as on a new machine without compiled code, as after an installation, and the next day."""
    without = folder / "no-bytecode"
    yield _started("first, without bytecode", tell, {"PYTHONPYCACHEPREFIX": str(without)})
    _emptied(folder, "second")
    yield _started("first, with bytecode", tell, {})
    stack.down()
    yield _started("again", tell, {})


def _emptied(folder: Path, name: str) -> None:
    """The stack ended, and a home without data in its place."""
    stack.down()
    shutil.rmtree(os.environ["HUB_HOME"], ignore_errors=True)
    os.environ["HUB_HOME"] = str(folder / name)


def _started(how: str, tell: Tell, more: Mapping[str, str]) -> Start:
    tell(f"./hub up, {how}")
    began, used = time.perf_counter(), _used_by_children_s()
    # Whoever keeps Python from writing compiled code would measure a slow start, each time.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "crossdock.cli", "up"],
        env={**inherited, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stderr is not None  # noqa: S101  for the type checker
        for line in child.stderr:
            tell(f"    {line.rstrip()}")
        code = child.wait()
    except BaseException:
        child.kill()
        child.wait()
        raise
    if code:
        raise ProgramFailed(f"./hub up ended with {code}; what it said stands above")
    wall_s = time.perf_counter() - began
    by_stack = sum(whole_cpu_s(record.pid) for record in processes.alive().values())
    return Start(how=how, wall_s=wall_s, cpu_s=_used_by_children_s() - used + by_stack)


def _used_by_children_s() -> float:
    times = os.times()
    return times.children_user + times.children_system


def at_rest(idle_s: float, tell: Tell) -> list[Process]:
    """Busy cores over *idle_s* seconds, and memory at their end, of each of the stack's processes with its children."""
    tell(f"The stack is left alone for {_SETTLE_S:.0f} s, then watched for {idle_s:.0f} s")
    time.sleep(_SETTLE_S)
    pids = {name: record.pid for name, record in processes.alive().items()}
    before, began = {name: whole_cpu_s(pid) for name, pid in pids.items()}, time.perf_counter()
    time.sleep(idle_s)
    elapsed_s = time.perf_counter() - began
    return [
        Process(
            name=name,
            processes=1 + len(descendants(pid)),
            idle_cores=(whole_cpu_s(pid) - before[name]) / elapsed_s,
            pss_mb=_tree_pss_mb(pid),
        )
        for name, pid in pids.items()
    ]


def with_memory_now(found: list[Process]) -> list[Process]:
    """*found* with what each holds now."""
    living = processes.alive()
    return [msgspec.structs.replace(each, pss_mb_after=_tree_pss_mb(living[each.name].pid)) for each in found]


def _tree_pss_mb(pid: int) -> float:
    return sum(pss_mb(each) for each in (pid, *descendants(pid)))


def import_seconds(running: Stack) -> dict[str, list[float]]:
    """DAG file → seconds of each import, beyond Airflow's own."""
    files = sorted((project() / "dags").glob("*.py"))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "crossdock.bench.stack.dag_imports", *map(str, files)],
        env=running.environment(),
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        raise ProgramFailed(f"Importing the DAG files ended with {done.returncode}; what it said stands above")
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {Path(file).name: seconds for file, seconds in found.items()}


def filled(running: Stack, tell: Tell) -> int:
    """A full sync into the empty hub, so that the next is a delta. How many records it brought."""
    running.api().wait_for_dag(_DAG)
    full = _run(running, {"full": True})
    tell(f"A full sync brought {full.inserted:,} stock levels in {full.measured.wall_s:.1f} s")
    return full.inserted


def delta_runs(running: Stack, repeat: int, tell: Tell) -> Iterator[DeltaRun]:
    """*repeat* runs of one changed record each, after two that nobody counts."""
    sandbox = SandboxControl(running.sandbox_url)
    for turn in range(-1, repeat + 1):
        sandbox.live(stock_moves=1)
        run = _run(running, {}).measured
        tell(
            f"{f'run {turn} of {repeat}' if turn > 0 else 'warm up'}: {run.wall_s:.2f} s, CPU of its tasks"
            f" {run.tasks_cpu_s:.2f} s, of the whole stack {run.stack_cpu_s:.2f} s; {run.updated} updated"
        )
        if turn > 0:
            yield run


class _Ended(msgspec.Struct, frozen=True):
    measured: DeltaRun
    inserted: int


def _run(running: Stack, conf: Mapping[str, object]) -> _Ended:
    """A DAG run, from its trigger to the end that Airflow wrote down: looking must not be what we measure."""
    api = running.api()
    api.health()
    pids = {name: record.pid for name, record in processes.alive().items()}
    before, tasks_before = _stack_cpu_s(pids), _tasks_cpu_s(pids)
    triggered_at = time.time()
    dag_run_id = api.trigger(_DAG, conf)

    def look() -> dict[str, Any] | None:
        run = api.dag_run(_DAG, dag_run_id)
        return run if run["state"] in _ENDED else None

    ended = wait_for(look, f"DAG run {dag_run_id}", _DAG_RUN_TIMEOUT_S)
    if ended["state"] != "success":
        raise ProgramFailed(f"DAG run {dag_run_id} ended as {ended['state']}. Its log: {api.url}/dags/{_DAG}/runs")
    tasks_cpu_s, stack_cpu_s = _tasks_cpu_s(pids) - tasks_before, _stack_cpu_s(pids) - before
    counts = _counts_of(running, dag_run_id)
    return _Ended(
        DeltaRun(
            wall_s=_instant(ended["end_date"]) - triggered_at,
            tasks_cpu_s=tasks_cpu_s,
            stack_cpu_s=stack_cpu_s,
            tasks=_seconds_of_tasks(api.task_instances(_DAG, dag_run_id)),
            updated=counts.updated,
        ),
        counts.inserted,
    )


def _stack_cpu_s(pids: Mapping[str, int]) -> float:
    return sum(map(whole_cpu_s, pids.values()))


def _tasks_cpu_s(pids: Mapping[str, int]) -> float:
    """What ran below the scheduler: the executor's workers, and the processes of the tasks that they waited for."""
    return whole_cpu_s(pids["scheduler"]) - own_cpu_s(pids["scheduler"])


def _seconds_of_tasks(instances: list[dict[str, Any]]) -> dict[str, float]:
    ordered = sorted(instances, key=lambda task: str(task["start_date"]))
    return {str(task["task_id"]): _instant(task["end_date"]) - _instant(task["start_date"]) for task in ordered}


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _counts_of(running: Stack, dag_run_id: str) -> Any:
    with Store(running.hub_dsn) as store, store.transaction() as work:
        (run,) = runs.of_dag_run(work, dag_run_id, _ENTITY, dag_id=_DAG)
        return run.counts
