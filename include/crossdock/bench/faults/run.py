"""Make one fault after the other on a stack under load, and measure what each does."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import psutil  # type: ignore[import-untyped]
import requests

from crossdock.bench.faults.check import balance
from crossdock.bench.faults.injections import Fault, NotHere
from crossdock.bench.faults.outcome import Measured, Row
from crossdock.bench.faults.stage import Stage
from crossdock.bench.faults.watch import Watch
from crossdock.bench.report import machine
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.errors import StackError
from crossdock.stack.home import project

#: Between two looks whether all works.
_PAUSE_S = 0.5
#: All must still work after so long.
_STEADY_S = 4.0
#: How long each help may take to work.
_HELP_S = 60.0
#: Before the first fault, and before each other one.
_WELL_TIMEOUT_S = 240.0


def row_of(fault: Fault, stage: Stage, patience_s: float) -> Row:
    """Make *fault*, watch for *patience_s* whether the stack recovers, help where it does not, and count."""
    wait_until_well(stage)
    stage.say(f"{fault.name}: {fault.what}")
    stage.hit_at = None
    watch = Watch(stage)
    watch.lasts = fault.lasts_s is not None
    try:
        with fault.act(stage):
            watch.begin()
            if fault.by_person:
                stage.up()
            _wait(watch, fault.lasts_s if fault.lasts_s is not None else patience_s, until_works=fault.lasts_s is None)
    except (NotHere, ProgramFailed, StackError, requests.RequestException, psutil.Error) as reason:
        watch.end()
        return _skipped(fault, str(reason))
    if fault.lasts_s is not None:
        watch.over_at = time.time()
        _wait(watch, patience_s, until_works=True)
    by_itself = _works(watch)
    figures = (watch.webhook_s(), watch.record_s(), watch.sync_s(), watch.whole_s())
    help_given = () if by_itself else tuple(_help(watch, stage, fault))
    helped_s = None if not (help_given or fault.by_person) or not _works(watch) else time.time() - watch.began
    watch.end()
    return _counted(fault, stage, watch, figures, by_itself=by_itself, help_given=help_given, helped_s=helped_s)


def wait_until_well(stage: Stage) -> None:
    """Wait until all works without any fault."""
    watch = Watch(stage)
    stage.hit_at = None
    watch.begin()
    try:
        _wait_until_calm(watch)
        if not watch.is_calm():
            stage.say(f"    it does not recover: {', '.join(watch.seen.missing)}; ./hub down, ./hub up")
            stage.down()
            stage.up()
            _wait_until_calm(watch)
    finally:
        watch.end()


def _wait(watch: Watch, seconds: float, *, until_works: bool) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (until_works and watch.all_works()):
        time.sleep(_PAUSE_S)


def _wait_until_calm(watch: Watch) -> None:
    deadline = time.monotonic() + _WELL_TIMEOUT_S
    while time.monotonic() < deadline and not watch.is_calm():
        time.sleep(_PAUSE_S)


def _works(watch: Watch) -> bool:
    """Whether all works, and goes on for a moment."""
    if not watch.all_works():
        return False
    time.sleep(_STEADY_S)
    return watch.all_works()


def _help(watch: Watch, stage: Stage, fault: Fault) -> Iterator[str]:
    """Do what a person would: first what costs least. What was frozen has just been let go on."""
    if "frozen" in fault.name:
        yield "let go on"
        _wait(watch, _HELP_S / 2, until_works=True)
        if watch.all_works():
            return
    yield "up"
    stage.up()
    _wait(watch, _HELP_S, until_works=True)
    if watch.all_works():
        return
    yield "down and up"
    stage.down()
    stage.up()
    _wait(watch, 2 * _HELP_S, until_works=True)


def _counted(
    fault: Fault,
    stage: Stage,
    watch: Watch,
    figures: tuple[float | None, float | None, float | None, float | None],
    *,
    by_itself: bool,
    help_given: tuple[str, ...],
    helped_s: float | None,
) -> Row:
    stage.load.pause()
    try:
        found = balance(stage, watch.began)
    finally:
        stage.load.go_on()
    return Row(
        name=fault.name,
        what=fault.what,
        webhook_s=figures[0],
        record_s=figures[1],
        sync_s=figures[2],
        whole_s=figures[3],
        by_itself=None if fault.by_person else by_itself,
        help=("up", *help_given) if fault.by_person else help_given,
        helped_s=helped_s,
        acknowledged=found.acknowledged,
        refused=found.refused,
        changes=found.changes,
        lost=found.lost_webhooks + found.lost_changes,
        doubled=found.doubled,
        dead_letters=found.dead_letters,
        failed_runs=found.failed_runs,
        said=tuple(watch.seen.said),
        alerts=found.alerts,
        load_average=round(os.getloadavg()[0], 1),
    )


def _skipped(fault: Fault, reason: str) -> Row:
    return Row(
        name=fault.name,
        what=fault.what,
        webhook_s=None,
        record_s=None,
        sync_s=None,
        whole_s=None,
        by_itself=None,
        skipped=reason,
    )


def nothing_measured(patience_s: float) -> Measured:
    """Describe this commit and this machine, without rows."""
    done = subprocess.run(
        ["git", "-C", str(project()), "rev-parse", "--short", "HEAD"],  # noqa: S607  git, wherever it is
        capture_output=True,
        text=True,
        check=False,
    )
    commit = done.stdout.strip() or "unknown"
    return Measured(
        commit=commit, measured_at=datetime.now(UTC).strftime("%Y-%m-%d"), machine=machine(), patience_s=patience_s
    )


def sentence(row: Row) -> str:
    """Say in one line what a fault did."""
    if row.skipped:
        return f"{row.name}: skipped, {row.skipped}"
    figures = " / ".join(
        "-" if at is None else f"{at:.0f}" for at in (row.webhook_s, row.record_s, row.sync_s, row.whole_s)
    )
    helped = f" ({', '.join(row.help)}: {row.helped_s and round(row.helped_s)} s)" if row.help else ""
    own = {None: "by a person", True: "by itself", False: "NOT by itself"}[row.by_itself]
    return (
        f"{row.name}: {figures} s, {own}{helped}; lost {row.lost} of {row.acknowledged}+{row.changes}, doubled {row.doubled}, "
        f"dead letters {row.dead_letters}, failed runs {row.failed_runs}; alerts: {', '.join(row.alerts) or 'none'}"
    )
