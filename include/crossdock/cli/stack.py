"""./hub up, down, status, doctor."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

import typer

from crossdock.app import watched
from crossdock.app.services import services
from crossdock.app.subscribers import subscribers
from crossdock.cli import console
from crossdock.cli.exit_codes import Exit
from crossdock.cli.hints import with_hint
from crossdock.cli.options import Json
from crossdock.db import leases
from crossdock.db.database import Store, Work
from crossdock.events.dead_letters import repository as dead_letter_repository
from crossdock.maintenance import alarms
from crossdock.maintenance.alarm_conditions import broken
from crossdock.maintenance.alerting import repository as alert_messages
from crossdock.maintenance.alerting.sender import LEASE
from crossdock.observability import alerts
from crossdock.observability.alerts import Alert
from crossdock.stack import doctor as stack_doctor
from crossdock.stack import lifecycle
from crossdock.stack.lifecycle import ProcessStatus
from crossdock.stack.secrets import airflow_login
from crossdock.sync import ledger
from crossdock.sync.quarantine import repository as quarantine_repository


def up(as_json: Json = False) -> None:
    """
    Start what is not running or is silent: two PostgreSQL servers, the sandbox, its mail systems, the alert sender, Airflow,
    and two supervisors, which start anew what ends or is silent from then on. All on 127.0.0.1.
    """
    started_at = time.monotonic()
    with console.progress("Starting") as bar:
        running = lifecycle.up(progress=bar.update)
    seconds = round(time.monotonic() - started_at, 1)
    if as_json:
        console.show_json({"airflow_url": running.airflow_url, "sandbox_url": running.sandbox_url, "seconds": seconds})
        return
    console.success(f"Running after {seconds} s: {running.airflow_url}  (login: ./hub status --password)")
    console.say("To sync the inventory: ./hub sync inventory --full")


def down(as_json: Json = False) -> None:
    """Stop everything that `up` started. The data stays in .hub/."""
    with console.progress("Stopping") as bar:
        stopped = lifecycle.down(progress=bar.update)
    if as_json:
        console.show_json({"ended": stopped})
    else:
        console.success(f"Stopped: {', '.join(stopped)}" if stopped else "Nothing was running.")


def status(
    as_json: Json = False,
    password: Annotated[bool, typer.Option("--password", help="Show Airflow's admin login.")] = False,
) -> None:
    """Show the processes, the latest run, and what needs a person."""
    found = lifecycle.status()
    facts = _facts() if found.state == "running" else {}
    if as_json:
        console.show_json(
            {"state": found.state, "processes": [asdict(process) for process in found.processes], **facts}
        )
    else:
        console.show_table(
            f"Stack: {found.state}",
            ["process", "state", "pid", "where", "restarts"],
            [_row(process) for process in found.processes],
            empty="",
        )
        for name, fact in facts.items():
            text = "; ".join(fact) or "none" if isinstance(fact, list) else fact
            console.show(f"{name.replace('_', ' ')}: {text}")
        if password and found.airflow_url:
            login = airflow_login()
            console.show(f"Airflow: {found.airflow_url}  user {login[0]}  password {login[1]}")
    if found.state != "running":
        console.say("To start it: ./hub up")
        raise typer.Exit(Exit.FAILED)


def _row(process: ProcessStatus) -> list[str]:
    state = process.problem or process.state
    where = process.url or str(process.port or "")
    restarts = ""
    if process.restarted_at is not None:
        restarts = f"{process.restarts}, last {process.restarted_at:%Y-%m-%d %H:%M:%S} UTC: {process.restarted_because}"
    return [process.name, state, str(process.pid or ""), where, restarts]


def _facts() -> dict[str, object]:
    running = lifecycle.load()
    if running is None:
        return {}
    with Store(running.hub_dsn) as store:
        # Alarms are evaluated by the delivery workers; without a worker they are evaluated here.
        alarms.check(store, subscribers(services()), watched.thresholds())
        return _facts_of(store)


def _facts_of(store: Store) -> dict[str, object]:
    with store.transaction() as work:
        latest = ledger.newest(work, limit=1)
        return {
            "last_run": f"{latest[0].run_id} {latest[0].state}" if latest else "none yet: ./hub sync inventory --full",
            "in_quarantine": sum(cause.items for cause in quarantine_repository.causes(work)),
            "dead_letters": sum(cause.dead_letters for cause in dead_letter_repository.causes(work)),
            "outages": [
                f"{name}: {outage or 'too many calls failed'}" for name, outage in broken(work, timedelta(0)).items()
            ],
            "alerts": [_sentence(alert) for alert in alerts.find(work, limit=10)],
            "alert_messages": _messages(work),
        }


def _messages(work: Work) -> str:
    """Say whether somebody gets the alerts."""
    if leases.holder(work, LEASE) is None:
        return "nobody sends them: the process alert-sender is not at work (./hub doctor)"
    if not alert_messages.routes(work):
        return "no route: nobody gets an alert. Add one with ./hub alerts routes add"
    waiting, since = alert_messages.backlog(work)
    return f"{waiting} wait, the oldest since {since:%Y-%m-%d %H:%M} (./hub alerts messages)" if since else "none wait"


def _sentence(alert: Alert) -> str:
    return f"since {alert.at:%Y-%m-%d %H:%M}: {with_hint(alert.message, alert.hint)}"


def doctor(as_json: Json = False) -> None:
    """Check the installation and suggest fixes."""
    with console.progress("Checking") as bar:
        bar.update("Checking the stack")
        checks = stack_doctor.examine()
    ok = all(check.ok for check in checks)
    if as_json:
        console.show_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        for check in checks:
            (console.success if check.ok else console.error)(f"{check.name}: {check.found}")
            if check.fix:
                console.say(f"    → {check.fix}")
    if not ok:
        raise typer.Exit(Exit.FAILED)
