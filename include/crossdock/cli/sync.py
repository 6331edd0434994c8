"""./hub sync STREAM."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from crossdock.cli import console, run_reports
from crossdock.cli.exit_codes import Exit, exit_of
from crossdock.cli.instants import instant_option, optional_text
from crossdock.cli.options import Json
from crossdock.cli.session import airflow_api
from crossdock.cli.streams import StreamName, stream_named
from crossdock.client import dag_runs
from crossdock.client.hub import HubApi
from crossdock.core.errors import BadRequest, IntegrationPaused, NotFound
from crossdock.core.hints import Hint, HintId

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


def sync(
    stream: StreamName,
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
    """
    Sync a stream now, as its DAG in Airflow, and wait until the run has finished.

    Example: ./hub sync inventory --key CHAIR-1
    """
    _refuse_contradiction(full=full, since=since, until=until, keys=key)
    request = {
        "full": full,
        "since": optional_text(since),
        "until": optional_text(until),
        "keys": key or [],
        "limit": limit,
        "allow_shrink": allow_shrink,
    }
    _sync(stream, request, watch=watch, wait=wait, as_json=as_json)


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


def _sync(name: str, request: dict[str, Any], *, watch: bool, wait: bool, as_json: bool) -> None:
    api = airflow_api(starts_runs=True)
    found = stream_named(HubApi(api), name)
    # Reported here at once; the DAG run would be skipped, with the reason only in its log.
    _refuse_inactive(found)
    stream = str(found["id"])
    dag_run_id = dag_runs.trigger(api, stream, request)
    if not wait:
        if as_json:
            console.show_json({"dag_run_id": dag_run_id})
        else:
            console.success(f"Started: {dag_run_id}. To see its result: ./hub runs")
        return
    with console.progress(f"sync {stream}") as bar:
        _, begun = dag_runs.follow(api, stream, dag_run_id, bar.update, watch_tasks=watch)
    if as_json:
        documents = [run_reports.document(run) for run in begun]
        console.show_json(documents[0] if len(begun) == 1 else documents)
    else:
        for run in begun:
            run_reports.show_run(run, airflow_url=api.url)
    ends = {exit_of(run) for run in begun}
    # The worst outcome of the shards is the outcome of the whole.
    ended = next(end for end in (Exit.PERSON_NEEDED, Exit.FAILED, Exit.PARTIAL, Exit.DONE) if end in ends)
    if ended is not Exit.DONE:
        raise typer.Exit(ended)


def _refuse_inactive(stream: dict[str, Any]) -> None:
    match stream["integration_state"]:
        case "paused":
            raise IntegrationPaused(stream["integration"], stream["integration_changed_by"])
        case "removed":
            raise NotFound(
                f"{stream['integration']} was removed: nothing is read until it is added again",
                hint=Hint(HintId.LIST_INTEGRATIONS),
            )
