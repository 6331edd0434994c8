"""The commands of ./hub."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Annotated, ClassVar

import typer
from typer import TyperException

from crossdock import __version__
from crossdock.cli.command_groups import LazyCommand, LazyCommandGroup
from crossdock.cli.exit_codes import Exit, exit_of_error
from crossdock.cli.interrupts import INTERRUPTED
from crossdock.core.errors import HubError
from crossdock.core.pydantic_words import plain


class Commands(LazyCommandGroup):
    lazy_commands: ClassVar[Mapping[str, LazyCommand]] = {
        "demo": LazyCommand(
            "crossdock.cli.demo.command:demo",
            "Show the main job in small: start, sync, fix a record, survive an outage, change nothing twice.",
        ),
        "up": LazyCommand(
            "crossdock.cli.stack:up",
            "Start the local stack: two PostgreSQL servers, the sandbox and Airflow, all on 127.0.0.1.",
        ),
        "down": LazyCommand("crossdock.cli.stack:down", "Stop what `up` started. Data in .hub/ is kept."),
        "status": LazyCommand(
            "crossdock.cli.stack:status", "Show processes, the latest run, and what waits for a person."
        ),
        "doctor": LazyCommand("crossdock.cli.stack:doctor", "Check the installation and suggest fixes."),
        "backup": LazyCommand(
            "crossdock.cli.backup:backup", "Back up the running stack: both databases, landed pages, secrets."
        ),
        "restore": LazyCommand("crossdock.cli.backup:restore", "Restore a backup into an empty home."),
        "clean": LazyCommand(
            "crossdock.cli.clean:clean", "Remove what is past its time, from the hub, Airflow and logs."
        ),
        "prepare": LazyCommand(
            "crossdock.cli.prepare:prepare",
            "Prepare a deployment: migrate both databases and load airflow_settings.yaml.",
        ),
        "sync": LazyCommand("crossdock.cli.sync:sync", "Sync a stream from its source."),
        "backfill": LazyCommand("crossdock.cli.backfill:backfill", "Read past days again."),
        "show": LazyCommand("crossdock.cli.show:show", "Show a record as it is, or as it was."),
        "runs": LazyCommand("crossdock.cli.runs:runs", "List recent runs."),
        "run": LazyCommand("crossdock.cli.runs:app", "Show one run."),
        "quarantine": LazyCommand(
            "crossdock.cli.quarantine:app", "List, fix, replay and discard records that failed a rule."
        ),
        "integration": LazyCommand(
            "crossdock.cli.integrations:app", "Manage the systems that the hub is connected to."
        ),
        "attempts": LazyCommand(
            "crossdock.cli.attempts:app", "List calls that write, and resolve those without a known outcome."
        ),
        "alerts": LazyCommand(
            "crossdock.cli.alerts:app", "List, acknowledge and mute alerts, and say who gets which of them."
        ),
        "mail": LazyCommand(
            "crossdock.cli.mail:app", "List mails, send a test mail, and go on with one that is not sent."
        ),
        "order": LazyCommand(
            "crossdock.cli.orders:app", "Place, follow and compensate orders, and decide about their steps."
        ),
        "workflow": LazyCommand(
            "crossdock.cli.executions:app",
            "Workflows that people declare in a file: validate, test, deploy, execute, watch.",
        ),
        "decisions": LazyCommand("crossdock.cli.decisions:app", "List what waits for a person, and decide."),
        "trace": LazyCommand(
            "crossdock.cli.journeys:trace", "Show all that happened to a SKU or a customer, in time order."
        ),
        "warehouses": LazyCommand(
            "crossdock.cli.warehouses:app",
            "List warehouses, and declare who reserves them and what is sent from there.",
        ),
        "payments": LazyCommand("crossdock.cli.payments:app", "Place, capture, void, refund and resolve payments."),
        "dead-letters": LazyCommand(
            "crossdock.cli.dead_letters:app",
            "List, fix, replay and discard events that a subscriber could not process.",
        ),
        "events": LazyCommand("crossdock.cli.events:app", "Inspect events, delivery status and replays."),
        "audit": LazyCommand("crossdock.cli.audit:app", "Read and verify the audit trail."),
        "psql": LazyCommand(
            "crossdock.cli.psql:psql",
            "Open psql on the views of the local stack, read-only.",
            {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}},
        ),
        "export": LazyCommand(
            "crossdock.cli.export:export", "Write a view of the hub's data to a Parquet or CSV file."
        ),
        "login": LazyCommand("crossdock.cli.login:login", "Log in to a hub on another machine."),
        "logout": LazyCommand("crossdock.cli.login:logout", "Forget the login."),
        "sandbox": LazyCommand("crossdock.cli.sandbox:app", "Control the simulated retailer: change, break, repair."),
        "verify-dataset": LazyCommand(
            "crossdock.cli.verify_dataset:verify_dataset", "Compare the hub with a dataset file, row by row."
        ),
        "bench": LazyCommand("crossdock.cli.bench:app", "Measure speed beside other tools."),
        "profile": LazyCommand("crossdock.cli.profile:app", "Show where the time of a sync goes."),
        "new": LazyCommand(
            "crossdock.cli.new.command:app", "Write a connector, a stream or a subscriber, with its tests."
        ),
        "test": LazyCommand(
            "crossdock.cli.test:test",
            "Run the static checks and the tests.",
            {"context_settings": {"allow_extra_args": True, "ignore_unknown_options": True}},
        ),
    }


app = typer.Typer(
    name="hub",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Crossdock: commerce integrations on Apache Airflow, with every row accounted for.\n\n"
    "Exit codes: 0 done, 1 failed or not found, 2 wrong use, 3 partial (something is in quarantine), 4 a person is needed.",
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"crossdock {__version__}")
        raise typer.Exit


@app.callback()
def hub(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Crossdock: commerce integrations on Apache Airflow, with every row accounted for."""
    del version


def main() -> None:
    """
    Run the command line. An error of ours is a sentence with the next step, not a stack trace.

    With `--json` it is also one JSON document on standard output, in place of the requested one.
    """
    as_json = "--json" in sys.argv[1:]
    # A statement that Ctrl-C cut off cannot be rolled back by a statement; the server does it when we are gone.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    try:
        # Not standalone: typer itself would print the words of a wrong command as they are.
        code = app(prog_name=_program(), standalone_mode=False)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except typer.Abort:
        code = Exit.FAILED
        _report(_Declined("Nothing was done"), code, as_json=as_json)
    except (HubError, TyperException) as error:
        code = exit_of_error(error)
        _report(error, code, as_json=as_json)
    if code == INTERRUPTED:
        # Typer turns KeyboardInterrupt into this code before it comes here.
        _report(_Interrupted(), code, as_json=as_json)
    sys.exit(code)


def _program() -> str:
    """
    Name the program as people type it; for the completion of a shell as its file is called.

    bash finds the completion of `hub` for ./hub and for a whole path, too, and the variable of the completion is named after it.
    """
    is_completion = {"--install-completion", "--show-completion"} & set(sys.argv) or "_HUB_COMPLETE" in os.environ
    return "hub" if is_completion else "./hub"


class _Declined(HubError):
    """A person answered a prompt with no."""


class _Interrupted(HubError):
    def __init__(self) -> None:
        super().__init__(
            "The command was interrupted. Runs in Airflow continue (./hub runs, ./hub status); end them in Airflow"
        )


def _report(error: HubError | TyperException, code: int, *, as_json: bool) -> None:
    from crossdock.cli import console  # noqa: PLC0415  loads rich
    from crossdock.cli.hints import phrase, with_hint  # noqa: PLC0415
    from crossdock.client.hub import HubRefused  # noqa: PLC0415

    if isinstance(error, TyperException):
        error.message = plain(error.message)
    message = error.format_message() if isinstance(error, TyperException) else str(error)
    hint = error.hint if isinstance(error, HubError) else None
    if isinstance(error, TyperException) and not as_json:
        console.wrong_use(error)
    else:
        console.error(with_hint(message, hint))
    if as_json:
        kind = type(error).__name__.lstrip("_")
        # What the hub's API answered has more to say, such as the checks of a connection.
        answer = {"problem": error.problem} if isinstance(error, HubRefused) else {}
        document = {"kind": kind, "message": message, "hint": phrase(hint) if hint else None, **answer}
        console.show_json({"error": {**document, "exit_code": int(code)}})
