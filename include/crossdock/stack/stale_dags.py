"""DAGs of ours that no DAG file defines: a DAG that was renamed leaves its old id in Airflow, with a button to start it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.core.ids import unprefixed
from crossdock.core.paths import path_of

_PAGE = 100
#: Airflow marks the DAGs of a deleted file as stale when its DAG processor next lists the folder.
_STALE_TIMEOUT_S = 30.0
_POLL_S = 0.5


@dataclass(frozen=True)
class RemovedDags:
    removed: tuple[str, ...]
    #: Stale too, but with a task that is still running: the next call removes them.
    running: tuple[str, ...]


def is_ours(dag_id: str, tags: Collection[str]) -> bool:
    """
    Recognise a DAG of this project, whatever its version, by its id and its tags together.

    An id alone proves nothing: a company's own Airflow may have a `sync_orders` of its own.
    """
    name = unprefixed(dag_id)
    kind, _, subject = name.partition("_")
    if kind in {"sync", "backfill"}:
        # By one tag until streams had their integration in the id: `sync_inventory`.
        return kind in tags and (subject in tags or subject in {f"{one}_{other}" for one in tags for other in tags})
    if name in {"declared_syncs", "check_declarations"}:
        return "declared" in tags
    if name == "clean_up":
        return "maintenance" in tags
    worker = name.removeprefix("deliver_events")
    return worker != name and "events" in tags and (not worker or worker.removeprefix("_").isdecimal())


def remove_stale_dags(api: AirflowApi) -> RemovedDags:
    """
    Delete the stale DAGs of ours from Airflow, with their runs; the hub's ledger keeps its own record of these.

    A DAG that a file still defines is not stale and stays, and so does every DAG that is not ours.
    """
    _wait_for_deleted_files(api)
    removed, running = [], []
    for dag in list(_our_dags(api)):
        if not dag["is_stale"]:
            continue
        try:
            api.delete(path_of("dags", dag["dag_id"]))
        except AirflowRefused as refused:
            if refused.status == HTTPStatus.CONFLICT:
                running.append(dag["dag_id"])
            elif refused.status != HTTPStatus.NOT_FOUND:
                raise
        else:
            removed.append(dag["dag_id"])
    return RemovedDags(tuple(removed), tuple(running))


def _wait_for_deleted_files(api: AirflowApi) -> None:
    """Wait until Airflow has noticed the DAG files that are gone; not at all when none is, as at nearly every start."""
    deadline = time.monotonic() + _STALE_TIMEOUT_S
    while any(not dag["is_stale"] and not Path(dag["fileloc"]).exists() for dag in _our_dags(api)):
        if time.monotonic() > deadline:
            return
        time.sleep(_POLL_S)


def _our_dags(api: AirflowApi) -> Iterator[dict[str, Any]]:
    offset, total = 0, 1
    while offset < total:
        page = api.get("/dags", exclude_stale="false", order_by="dag_id", limit=_PAGE, offset=offset)
        yield from (dag for dag in page["dags"] if is_ours(dag["dag_id"], {tag["name"] for tag in dag["tags"]}))
        offset, total = offset + _PAGE, page["total_entries"]
