"""./hub sync STREAM."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from crossdock.cli import console, run_reports
from crossdock.cli.exit_codes import Exit, exit_of
from crossdock.cli.instants import instant_option
from crossdock.cli.session import find_stream, open_store, running_stack
from crossdock.integrations.registered import find_active
from crossdock.stack import dag_runs
from crossdock.sync import Stream
from crossdock.sync.model import SyncRequest

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


def sync(
    stream: Annotated[
        str, typer.Argument(help="commercetools.inventory; or inventory, where only one integration has it.")
    ],
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
    """Sync a stream now, as its DAG in Airflow, and wait until the run has finished."""
    given = {
        "full": full,
        "since": since,
        "until": until,
        "keys": key or [],
        "limit": limit,
        "allow_shrink": allow_shrink,
    }
    request = SyncRequest.of({name: value for name, value in given.items() if value is not None})
    _sync(find_stream(stream), request, watch=watch, wait=wait, as_json=as_json)


def _sync(stream: Stream, request: SyncRequest, *, watch: bool, wait: bool, as_json: bool) -> None:
    api = running_stack().api()
    with open_store() as store:
        # Reported here at once; the DAG run would be skipped, with the reason only in its log.
        find_active(store, stream.integration)
    dag_run_id = dag_runs.trigger(api, stream.id, request)
    if not wait:
        if as_json:
            console.show_json({"dag_run_id": dag_run_id})
        else:
            console.success(f"Started: {dag_run_id}. To see its result: ./hub runs")
        return
    with open_store() as store:
        with console.progress(f"sync {stream.id}") as bar:
            _, begun = dag_runs.follow(api, store, stream.id, dag_run_id, bar.update, watch_tasks=watch)
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
