"""
Deployed workflows, as DAG files see them: snapshots in the folder of definitions that all of Airflow's processes read.

DAG files are parsed again and again, so they neither query a database nor read definitions: of each step they know its place,
no more. The workflows are divided among as many snapshots as there are DAG files, by their IDs.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.log import logger
from crossdock.integrations import definition_files

if TYPE_CHECKING:
    from crossdock.db.database import Store
    from crossdock.workflows.declared.model import Block, Step, Workflow

#: How many DAG files there are (`dags/workflows_0.py` and so on); 500 workflows make about 15 in each. When one changes, Airflow builds
#: and stores the DAGs of its whole file, so that more files make a deployment faster, and a hub at rest busier.
FILES = 32
_EVENTS = "workflow-events.json"


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """One step, as a task of the DAG."""

    step: str
    #: The steps that the task makes: its own, and those of a loop.
    makes: list[str]
    #: The integration that it calls; its tasks share a pool.
    integration: str | None = None
    #: The lists of steps inside that have tasks of their own, by their names: cases and branches.
    inside: dict[str, list[Task]] = {}
    #: Of these, those that the next step waits for; None for all.
    join: list[str] | None = None


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deployed workflow, as its DAG needs it."""

    workflow_id: str
    version: int
    title: str
    description: str
    #: Param → JSON Schema; what the schedule gives is its default.
    params: dict[str, dict[str, Any]]
    cron: str | None
    timezone: str
    tasks: list[Task]
    #: The types of the events that start it, or that its steps wait for.
    event_types: list[str]
    #: Its schedule begins then.
    deployed_at: datetime


log = logger(__name__)

prepare(list[Deployed], list[str])
_decode = msgspec.json.Decoder(list[Deployed]).decode
_decode_names = msgspec.json.Decoder(list[str]).decode


def file_of(workflow_id: str) -> int:
    """Choose the DAG file, from 0, that builds the DAG of a workflow."""
    return zlib.crc32(workflow_id.encode()) % FILES


def file_name(file_no: int) -> str:
    """Name a DAG file by its number."""
    return f"workflows_{file_no}.py"


def read(file_no: int, *, url: str | None = None) -> list[Deployed]:
    """
    Read the workflows of one DAG file; none before the first `write`. *url* replaces the setting.

    None as well of one that a hub with other code wrote: `up` and `prepare` write it anew. Until then its executions go on without runs.
    """
    snapshot = definition_files.read(_name(file_no), url=url)
    if not snapshot:
        return []
    try:
        return _decode(snapshot)
    except msgspec.ValidationError as error:
        log.warning("The workflows of %s are left out until the hub writes them anew: %s", _name(file_no), error)
        return []


def event_types() -> tuple[str, ...]:
    """Name the types of events that workflows wait for: those that are deployed, and those that still run."""
    found = definition_files.read(_EVENTS)
    return tuple(_decode_names(found)) if found else ()


def write(store: Store, *, url: str | None = None, anew: bool = False) -> list[int]:
    """
    Write the snapshots of what is deployed, and return the numbers of those that changed. Idempotent.

    Each is replaced as a whole, so that a reader sees the old or the new one. A version never changes: one that is in a snapshot is
    not built again, unless all is to be built *anew*, as by a hub with other code or a restored database. *url* replaces the setting
    `HUB_DEFINITIONS_URL`.
    """
    from crossdock.app import workflows  # noqa: PLC0415  reads definitions, which no DAG file needs
    from crossdock.workflows.declared import repository, triggers  # noqa: PLC0415  loads the database driver

    built = {} if anew else {(each.workflow_id, each.version): each for each in _all(url)}

    def built_of(found: repository.Deployment) -> Deployed:
        known = built.get((found.workflow_id, found.version))
        if known is not None:
            return msgspec.structs.replace(known, deployed_at=found.deployed_at)
        return deployed_of(workflows.read(found.definition), found.deployed_at)

    with store.transaction() as work:
        # Otherwise the older of two changes could be written last.
        repository.lock_deployments(work)
        deployed = list(map(built_of, repository.deployments(work)))
        at_work = [workflows.read(definition) for definition in repository.definitions_at_work(work)]
        types = {name for each in deployed for name in each.event_types}.union(*map(triggers.event_types, at_work))
        _replace(_EVENTS, msgspec.json.encode(sorted(types)), url)
        return write_snapshots(deployed, url=url)


def _all(url: str | None) -> Iterator[Deployed]:
    """Read what the snapshots have; nothing from one that a hub with other code wrote."""
    for file_no in range(FILES):
        yield from read(file_no, url=url)


def write_snapshots(found: Iterable[Deployed], *, url: str | None = None) -> list[int]:
    """Divide *found* among the DAG files, write what differs, and return the numbers of those files."""
    snapshots: list[list[Deployed]] = [[] for _ in range(FILES)]
    for deployed in found:
        snapshots[file_of(deployed.workflow_id)].append(deployed)
    return [file_no for file_no, snapshot in enumerate(snapshots) if _write(file_no, snapshot, url)]


def deployed_of(workflow: Workflow, deployed_at: datetime) -> Deployed:
    """Build what the DAG of a workflow needs."""
    from crossdock.workflows.declared.mappings import mapped  # noqa: PLC0415  as above
    from crossdock.workflows.declared.triggers import event_types as event_types_of  # noqa: PLC0415  as above

    timer = next((trigger for trigger in workflow.triggers if trigger.cron is not None), None)
    scheduled = mapped(dict(timer.given), {}) if timer is not None else {}
    params = {
        name: {**schema, "default": scheduled[name]} if name in scheduled else dict(schema)
        for name, schema in workflow.params.items()
    }
    return Deployed(
        workflow_id=workflow.id,
        version=workflow.version,
        title=workflow.title,
        description=workflow.description,
        params=params,
        cron=timer.cron if timer is not None else None,
        timezone=(timer.timezone if timer is not None else None) or "UTC",
        tasks=_tasks(workflow.block),
        event_types=sorted(event_types_of(workflow)),
        deployed_at=deployed_at,
    )


def _tasks(block: Block) -> list[Task]:
    return [_task(step) for step in block.steps]


def _task(step: Step) -> Task:
    from crossdock.workflows.declared.model import Call, Fork, Loop, Switch, steps_in  # noqa: PLC0415  as above

    match step.does:
        case Call(called=called):
            return Task(step=step.id, makes=[step.id], integration=called.integration)
        case Switch(cases):
            inside = {f"case_{number}": _tasks(case.block) for number, case in enumerate(cases, 1)}
            return Task(step=step.id, makes=[step.id], inside=inside)
        case Fork(branches, join):
            return Task(
                step=step.id,
                makes=[step.id],
                inside={name: _tasks(block) for name, block in branches.items()},
                join=list(join) if join is not None else None,
            )
        case Loop(block=block):
            # How many items there are is known when it runs.
            return Task(step=step.id, makes=[step.id, *(inner.id for inner in steps_in(block))])
    return Task(step=step.id, makes=[step.id])


def _write(file_no: int, snapshot: Iterable[Deployed], url: str | None) -> bool:
    return _replace(_name(file_no), msgspec.json.encode(list(snapshot)), url)


def _replace(name: str, content: bytes, url: str | None) -> bool:
    """Write a file if it differs; return whether it did."""
    known = definition_files.read(name, url=url)
    if known == content or (known is None and content == b"[]"):
        return False
    definition_files.replace(name, content, url=url)
    return True


def _name(file_no: int) -> str:
    return f"workflows-{file_no}.json"
