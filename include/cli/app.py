"""The verbs of ./hub."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from include.cli import (
    audit_command,
    backfill_command,
    bench_command,
    bench_events_command,
    bench_stack_command,
    console,
    demo_command,
    dlq_commands,
    event_commands,
    integration_commands,
    prepare_command,
    profile_command,
    quarantine_commands,
    run_commands,
    sandbox_commands,
    show_commands,
    stack_commands,
    sync_commands,
    test_command,
    verify_command,
)
from include.cli.exits import Exit
from include.model.errors import BadRequest, HeldForApproval, HubError, IntegrationPaused, NotFound

app = typer.Typer(
    name="hub",
    cls=TyperGroup,
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
app.add_typer(dlq_commands.app, name="dlq")
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


#: What a shell expects of a program that Ctrl-C ended.
_INTERRUPTED = 130


def main() -> None:
    """The command line; an error of ours is a sentence with the next step, not a stack trace."""
    try:
        app(prog_name="./hub")
    except (BadRequest, NotFound) as error:
        console.complain(str(error))
        sys.exit(Exit.WRONG_USE)
    except (HeldForApproval, IntegrationPaused) as error:
        console.complain(str(error))
        sys.exit(Exit.PERSON_NEEDED)
    except HubError as error:
        console.complain(str(error))
        sys.exit(Exit.FAILED)
    except (KeyboardInterrupt, SystemExit) as ended:
        # Typer turns the first into the second before it comes here.
        if isinstance(ended, SystemExit) and ended.code != _INTERRUPTED:
            raise
        console.complain(
            "Interrupted here. What was started goes on: ./hub runs, ./hub status; in Airflow it can be ended"
        )
        sys.exit(_INTERRUPTED)
