"""The verbs of ./hub."""

from __future__ import annotations

import logging
import sys
from typing import Annotated

import typer
from typer import TyperException

from crossdock.cli import audit as audit_command
from crossdock.cli import backfill as backfill_command
from crossdock.cli import bench as bench_command
from crossdock.cli import bench_events as bench_events_command
from crossdock.cli import bench_stack as bench_stack_command
from crossdock.cli import console
from crossdock.cli import dead_letters as dead_letter_commands
from crossdock.cli import events as event_commands
from crossdock.cli import integrations as integration_commands
from crossdock.cli import prepare as prepare_command
from crossdock.cli import profile as profile_command
from crossdock.cli import quarantine as quarantine_commands
from crossdock.cli import runs as run_commands
from crossdock.cli import sandbox as sandbox_commands
from crossdock.cli import show as show_commands
from crossdock.cli import stack as stack_commands
from crossdock.cli import sync as sync_commands
from crossdock.cli import test as test_command
from crossdock.cli import verify_dataset as verify_command
from crossdock.cli.command_groups import Verbs
from crossdock.cli.demo import command as demo_command
from crossdock.cli.exit_codes import INTERRUPTED, Exit, exit_of_error
from crossdock.cli.hints import phrase, with_hint
from crossdock.client.hub import HubRefused
from crossdock.core.errors import HubError

app = typer.Typer(
    name="hub",
    cls=Verbs,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Crossdock: commerce integrations on Apache Airflow, with every row accounted for.\n\n"
    "Exit codes: 0 done, 1 failed, 2 wrong use, 3 partial (something is in quarantine), 4 a person is needed.",
)
app.command("demo")(demo_command.demo)
app.command("up")(stack_commands.up)
app.command("down")(stack_commands.down)
app.command("status")(stack_commands.status)
app.command("doctor")(stack_commands.doctor)
app.command("prepare")(prepare_command.prepare)
app.add_typer(sync_commands.app, name="sync")
app.command("backfill")(backfill_command.backfill)
app.add_typer(show_commands.app, name="show")
app.command("verify-dataset")(verify_command.verify_dataset)
app.command("runs")(run_commands.runs)
app.add_typer(run_commands.app, name="run")
app.add_typer(quarantine_commands.app, name="quarantine")
app.add_typer(integration_commands.app, name="integration")
bench_command.app.command("events")(bench_events_command.bench_events)
app.add_typer(dead_letter_commands.app, name="dead-letters")
app.add_typer(event_commands.app, name="events")
app.add_typer(audit_command.app, name="audit")
app.add_typer(sandbox_commands.app, name="sandbox")
bench_command.app.command("stack")(bench_stack_command.bench_stack)
app.add_typer(bench_command.app, name="bench")
app.add_typer(profile_command.app, name="profile")
app.command("test", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(test_command.test)


def _version(value: bool) -> None:
    if value:
        console.out.print("crossdock 0.1.0")
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
    The command line; an error of ours is a sentence with the next step, not a stack trace.

    With `--json` it is also one JSON document on standard output, in place of the one that was asked for.
    """
    as_json = "--json" in sys.argv[1:]
    # A statement that Ctrl-C cut off cannot be rolled back by a statement; the server does it when we are gone.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    try:
        # Typer itself tells people of wrong use and ends; to programs it is told like every other error.
        code = app(prog_name="./hub", standalone_mode=not as_json)
    except SystemExit as ended:
        code = ended.code
    except KeyboardInterrupt:
        code = INTERRUPTED
    except typer.Abort:
        code = Exit.FAILED
        _tell(_Declined("Nothing was done"), code, as_json=as_json)
    except (HubError, TyperException) as error:
        code = exit_of_error(error)
        _tell(error, code, as_json=as_json)
    if code == INTERRUPTED:
        # Typer turns KeyboardInterrupt into this code before it comes here.
        _tell(_Interrupted(), code, as_json=as_json)
    sys.exit(code)


class _Declined(HubError):
    """A person was asked and said no."""


class _Interrupted(HubError):
    def __init__(self) -> None:
        super().__init__(
            "Interrupted here. What runs in Airflow goes on (./hub runs, ./hub status), and can be ended there"
        )


def _tell(error: HubError | TyperException, code: int, *, as_json: bool) -> None:
    message = error.format_message() if isinstance(error, TyperException) else str(error)
    hint = error.hint if isinstance(error, HubError) else None
    console.complain(with_hint(message, hint))
    if as_json:
        kind = type(error).__name__.lstrip("_")
        # What the hub's API answered, where it was asked: it has more to say, such as the checks of a connection.
        said = {"problem": error.problem} if isinstance(error, HubRefused) else {}
        document = {"kind": kind, "message": message, "hint": phrase(hint) if hint else None, **said}
        console.show_json({"error": {**document, "exit_code": int(code)}})
