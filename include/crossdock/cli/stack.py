"""./hub up, down, status, doctor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.cli.overview import ANSWERS, facts
from crossdock.stack import doctor as stack_doctor
from crossdock.stack import lifecycle
from crossdock.stack.secrets import airflow_login


def up(
    dataset: Annotated[
        Path | None,
        typer.Option(
            help="Serve the shop of this parquet file, from before the first DAG run.", exists=True, dir_okay=False
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """
    Start what is not running or is silent: two PostgreSQL servers, the sandbox, its mail systems, the alert sender, Airflow,
    and two supervisors, which start anew what ends or is silent from then on. All on 127.0.0.1.

    Example: ./hub up
    """
    started_at = time.monotonic()
    with console.progress("Starting") as bar:
        running = lifecycle.up(progress=bar.update, shop=lifecycle.shop_of(dataset) if dataset else None)
    seconds = round(time.monotonic() - started_at, 1)
    if as_json:
        console.show_json(
            {
                "airflow_url": running.airflow_url,
                "pages_url": running.pages_url,
                "sandbox_url": running.sandbox_url,
                "seconds": seconds,
            }
        )
        return
    console.success(f"Running after {seconds} s: {running.airflow_url}  (login: ./hub status --password)")
    console.say(f"What needs you: {running.pages_url}")
    console.say("To sync the inventory: ./hub sync inventory --full")


def down(as_json: Json = False) -> None:
    """
    Stop everything that `up` started. The data stays in .hub/.

    Example: ./hub down
    """
    with console.progress("Stopping") as bar:
        stopped = lifecycle.down(progress=bar.update)
    if as_json:
        console.show_json({"ended": stopped})
    else:
        (console.success if stopped else console.say)(
            f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running."
        )


def status(
    as_json: Json = False,
    password: Annotated[bool, typer.Option("--password", help="Show Airflow's admin login.")] = False,
) -> None:
    """
    Show the processes, the latest run, and what needs a person.

    Example: ./hub status --password
    """
    found = lifecycle.status()
    now = facts(found)
    if as_json:
        each = [asdict(process) for process in found.processes]
        console.show_json({"state": found.state, "starting": found.starting, "processes": each, **now})
    else:
        _show_status(found, now)
        if password and found.airflow_url:
            login = airflow_login()
            console.show(f"Airflow: {found.airflow_url}  user {login[0]}  password {login[1]}")
    if found.starting:
        console.say(f"It is {found.starting}. Wait for it; nothing is to be done.")
    elif found.state != "running":
        console.say("To start it: ./hub up")
    if found.state != "running" or now["hub"] != ANSWERS:
        raise typer.Exit(Exit.FAILED)


def _show_status(found: lifecycle.StackStatus, now: Mapping[str, object]) -> None:
    console.show_table(
        f"Stack: {'starting' if found.starting else found.state}",
        ["process", "state", "pid", "where", "what is wrong"],
        [
            [
                process.name,
                process.state,
                str(process.pid or ""),
                process.url or str(process.port or ""),
                "; ".join(filter(None, [process.problem, _restarts(process)])),
            ]
            for process in found.processes
        ],
        empty="",
    )
    for name, fact in now.items():
        if fact is not None:
            _show_fact(name.replace("_", " "), fact)


def _show_fact(name: str, fact: object) -> None:
    """Show a fact in one line; each of several sentences in one of its own."""
    if not isinstance(fact, list):
        console.show(f"{name}: {fact}")
        return
    console.show(f"{name}: {len(fact) or 'none'}")
    for sentence in fact:
        console.show(f"  - {sentence}")


def _restarts(process: lifecycle.ProcessStatus) -> str:
    if not process.restarts or process.restarted_at is None:
        return ""
    times = "once" if process.restarts == 1 else f"{process.restarts} times"
    return f"started anew {times}, last at {process.restarted_at:%Y-%m-%d %H:%M} UTC: {process.restarted_because}"


def doctor(as_json: Json = False) -> None:
    """
    Check the installation and suggest fixes.

    Example: ./hub doctor
    """
    with console.progress("Checking") as bar:
        bar.update("Checking the stack")
        checks = stack_doctor.examine()
    ok = all(check.ok for check in checks)
    if as_json:
        console.show_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            mark = console.notice if check.is_notice else console.success if check.ok else console.error
            mark(f"{check.name}: {check.found}")
            if check.fix:
                console.say(f"    → {check.fix}")
    if not ok:
        raise typer.Exit(Exit.FAILED)
