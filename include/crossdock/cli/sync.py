"""./hub sync ENTITY."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from crossdock.app.streams import sync_of
from crossdock.cli import console, run_reports
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.exit_codes import Exit, exit_of
from crossdock.cli.instants import instant_option
from crossdock.cli.session import open_store, running_stack
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.streams import declared_sync
from crossdock.integrations.registered import find_active
from crossdock.stack import dag_runs
from crossdock.sync.model import SyncRequest


class SyncGroup(CommandGroup):
    """The syncs in code, and the declared ones."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._declared = [name for name in files.paths() if name not in self.commands]
        # Placeholders, because typer suggests the nearest of these.
        self.commands = {**self.commands, **{name: TyperCommand(name) for name in self._declared}}

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the command of a declaration's file; that of a file with errors reports them."""
        if cmd_name not in self._declared:
            return super().get_command(ctx, cmd_name)
        alone = typer.Typer()
        try:
            declaration, _ = declared_sync(files.paths()[cmd_name])
        except InvalidDeclaration as wrong:
            _refused(alone, cmd_name, wrong)
        else:
            _command(alone, cmd_name, f"{declaration.title}. --key names a record.")
        return typer.main.get_command(alone)


app = typer.Typer(
    cls=SyncGroup, no_args_is_help=True, help="Run a sync now, as its DAG in Airflow, and wait until it has finished."
)


Full = Annotated[bool, typer.Option("--full", help="Read everything, regardless of the watermark.")]
Since = Annotated[datetime | None, instant_option("--since", "Only records modified at or after this time.")]
Until = Annotated[datetime | None, instant_option("--until", "Only records modified before this time.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only the record with this key; may be repeated.")]
Limit = Annotated[int, typer.Option(help="Stop after about this many records; 0 for all.")]
AllowShrink = Annotated[
    bool, typer.Option("--allow-shrink", help="Accept an empty or much smaller source (disables the shrink check).")
]
Watch = Annotated[bool, typer.Option("--watch", help="Show the states of Airflow's tasks.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the run has finished.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]


def _command(group: typer.Typer, entity: str, what: str) -> None:
    """Add the command of a sync; only the DAG differs between them."""

    @group.command(entity, help=what)
    def command(
        full: Full = False,
        since: Since = None,
        until: Until = None,
        key: Keys = None,
        limit: Limit = 0,
        allow_shrink: AllowShrink = False,
        watch: Watch = False,
        wait: Wait = True,
        as_json: Json = False,
    ) -> None:
        given = {
            "full": full,
            "since": since,
            "until": until,
            "keys": key or [],
            "limit": limit,
            "allow_shrink": allow_shrink,
        }
        request = SyncRequest.of({name: value for name, value in given.items() if value is not None})
        _sync(entity, request, watch=watch, wait=wait, as_json=as_json)


_command(app, "inventory", "Sync stock levels from commercetools. --key names a sku.")
_command(app, "product", "Sync products with their variants. --key names a product key.")
_command(app, "order", "Sync orders with their lines. --key names an order number.")


def _refused(group: typer.Typer, entity: str, wrong: InvalidDeclaration) -> None:
    @group.command(
        entity,
        help="The declaration is not valid: run this to see every error.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def command() -> None:
        raise wrong


def _sync(entity: str, request: SyncRequest, *, watch: bool, wait: bool, as_json: bool) -> None:
    api = running_stack().api()
    with open_store() as store:
        # Reported here at once; the DAG run would be skipped, with the reason only in its log.
        find_active(store, sync_of(entity).integration)
    dag_run_id = dag_runs.trigger(api, entity, request)
    if not wait:
        if as_json:
            console.show_json({"dag_run_id": dag_run_id})
        else:
            console.success(f"Started: {dag_run_id}. To see its result: ./hub runs")
        return
    with open_store() as store:
        with console.progress(f"sync {entity}") as bar:
            _, begun = dag_runs.follow(api, store, entity, dag_run_id, bar.update, watch_tasks=watch)
        if as_json:
            documents = [run_reports.document(run) for run in begun]
            console.show_json(documents[0] if len(begun) == 1 else documents)
        else:
            for run in begun:
                run_reports.show_run(store, run.run_id)
    ends = {exit_of(run.state) for run in begun}
    # The worst outcome of the shards is the outcome of the whole.
    ended = next(end for end in (Exit.PERSON_NEEDED, Exit.FAILED, Exit.PARTIAL, Exit.DONE) if end in ends)
    if ended is not Exit.DONE:
        raise typer.Exit(ended)
