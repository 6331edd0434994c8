"""./hub sync ENTITY."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from crossdock.cli import console, run_reports
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.entities import sync_of
from crossdock.cli.exit_codes import Exit, exit_of
from crossdock.cli.instants import instant_option, optional_text
from crossdock.cli.session import airflow_api
from crossdock.client import dag_runs
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest, IntegrationPaused, NotFound
from crossdock.core.hints import Hint, HintId


class SyncGroup(CommandGroup):
    """The syncs in code, and the declared ones, whose files are read only where no sync in code is named."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self._declared: dict[str, Any] = {}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args[0] not in self.commands:
            self._find_declared()
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        self._find_declared()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Make the command of a declaration's file; that of a file with errors reports them."""
        if cmd_name not in self._declared:
            return super().get_command(ctx, cmd_name)
        from crossdock.connectors.declarative.files import InvalidDeclaration  # noqa: PLC0415  a tenth of a second
        from crossdock.connectors.declarative.streams import declared_sync  # noqa: PLC0415

        alone = typer.Typer()
        try:
            declaration, _ = declared_sync(self._declared[cmd_name])
        except InvalidDeclaration as wrong:
            _refused(alone, cmd_name, wrong)
        else:
            _command(alone, cmd_name, f"{declaration.title}. --key names a record.")
        return typer.main.get_command(alone)

    def _find_declared(self) -> None:
        from crossdock.connectors.declarative import files  # noqa: PLC0415  as above

        self._declared = {name: path for name, path in files.paths().items() if name not in self.commands}
        # Placeholders, because typer suggests the nearest of these.
        self.commands = {**self.commands, **{name: TyperCommand(name) for name in self._declared}}


app = typer.Typer(
    cls=SyncGroup, no_args_is_help=True, help="Run a sync now, as its DAG in Airflow, and wait until it has finished."
)


Full = Annotated[bool, typer.Option("--full", help="Read everything, regardless of the watermark.")]
Since = Annotated[datetime | None, instant_option("--since", "Only records modified at or after this time.")]
Until = Annotated[datetime | None, instant_option("--until", "Only records modified before this time.")]
Keys = Annotated[list[str] | None, typer.Option("--key", help="Only the record with this key; may be repeated.")]
Limit = Annotated[int, typer.Option(help="Stop after about this many records; 0 for all.", min=0)]
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
        _refuse_contradiction(full=full, since=since, until=until, keys=key)
        request = {
            "full": full,
            "since": optional_text(since),
            "until": optional_text(until),
            "keys": key or [],
            "limit": limit,
            "allow_shrink": allow_shrink,
        }
        _sync(entity, request, watch=watch, wait=wait, as_json=as_json)


_command(app, "inventory", "Sync stock levels from commercetools. --key names a sku.")
_command(app, "product", "Sync products with their variants. --key names a product key.")
_command(app, "order", "Sync orders with their lines. --key names an order number.")


def _refused(group: typer.Typer, entity: str, wrong: BadRequest) -> None:
    @group.command(
        entity,
        help="The declaration is not valid: run this to see every error.",
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )
    def command() -> None:
        raise wrong


def _refuse_contradiction(
    *, full: bool, since: datetime | None, until: datetime | None, keys: list[str] | None
) -> None:
    """Refuse at once what the run would refuse: it would be a failed DAG run, with the reason only in its log."""
    if full and (since or until or keys):
        raise BadRequest("--full reads everything: it cannot be combined with --since, --until or --key")
    if keys and (since or until):
        raise BadRequest("--key names records: it cannot be combined with --since or --until")
    if keys and not all(keys):
        raise BadRequest("--key is empty")
    if since and until and since >= until:
        raise BadRequest(f"--since {since} must be before --until {until}")


def _sync(entity: str, request: dict[str, Any], *, watch: bool, wait: bool, as_json: bool) -> None:
    api = airflow_api()
    # Reported here at once; the DAG run would be skipped, with the reason only in its log.
    _refuse_inactive(sync_of(HubApi(api), entity))
    dag_run_id = dag_runs.trigger(api, entity, request)
    if not wait:
        if as_json:
            console.show_json({"dag_run_id": dag_run_id})
        else:
            console.success(f"Started: {dag_run_id}. To see its result: ./hub runs")
        return
    with console.progress(f"sync {entity}") as bar:
        _, begun = dag_runs.follow(api, entity, dag_run_id, bar.update, watch_tasks=watch)
    if as_json:
        documents = [run_reports.document(run) for run in begun]
        console.show_json(documents[0] if len(begun) == 1 else documents)
    else:
        for run in begun:
            run_reports.show_run(run)
    ends = {exit_of(run["state"]) for run in begun}
    # The worst outcome of the shards is the outcome of the whole.
    ended = next(end for end in (Exit.PERSON_NEEDED, Exit.FAILED, Exit.PARTIAL, Exit.DONE) if end in ends)
    if ended is not Exit.DONE:
        raise typer.Exit(ended)


def _refuse_inactive(sync: dict[str, Any]) -> None:
    match sync["integration_state"]:
        case "paused":
            raise IntegrationPaused(sync["integration"], sync["integration_changed_by"])
        case "removed":
            raise NotFound(
                f"{sync['integration']} was removed: nothing is read until it is added again",
                hint=Hint(HintId.LIST_INTEGRATIONS),
            )
