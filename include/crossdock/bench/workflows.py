"""How soon a deployed workflow can be executed, with many deployed beside it, and whether running executions keep their version."""

from __future__ import annotations

import time
from importlib import metadata
from typing import Any

import msgspec

from crossdock.app import workflow_snapshots
from crossdock.bench.report import Goal, Say, Setup, Table, goals_table, markdown, setup
from crossdock.bench.stack.outcome import percentile
from crossdock.bench.stack.steps import own_home
from crossdock.bench.sync.database import server_version
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import AirflowRefused
from crossdock.client.hub import HubApi
from crossdock.core.ids import workflow_dag
from crossdock.core.paths import path_of
from crossdock.db.database import Store
from crossdock.stack import lifecycle
from crossdock.stack.lifecycle import Stack
from crossdock.workflows.declared import repository
from crossdock.workflows.declared.model import Block, Workflow

WANTED_S = 2.0
_MISSING_AFTER_S = 120.0
_ENDS_WITHIN_S = 900.0
#: Each look is work for the api-server that is measured.
_POLL_S = 0.05
_P95 = 95
#: Executions one after the other, of those that were deployed.
_EXECUTED = 10

_DEFINITION = """
schema: crossdock.workflow/1
id: {workflow_id}
version: {version}
title: A workflow of the measurement
params: {{text: {{type: string, default: "-"}}}}
do:
  - {{id: first, set: {{text: params.text}}}}
  - {{id: pause, wait: {wait}}}
  - {{id: last, set: {{version: "`{version}`"}}}}
"""


class WorkflowsOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result."""

    setup: Setup
    airflow: str
    deployed_beside: int
    #: From the request that deploys to a run that Airflow has taken, in seconds, one for each deployment.
    executable_s: list[float]
    #: From the request that executes to the execution's end, without a wait in between.
    executed_s: list[float]
    kept: int
    deployed_in_mid_run: int

    @property
    def goals(self) -> list[Goal]:
        return [
            Goal(
                what="from `deploy` to a run that Airflow takes, P95",
                figure=percentile(self.executable_s, _P95),
                limit=WANTED_S,
                unit=" s",
            ),
            Goal(
                what="executions that did not keep the version they began with",
                figure=float(self.deployed_in_mid_run - self.kept),
                limit=0.0,
                unit="",
            ),
        ]

    @property
    def tables(self) -> list[Table]:
        rows = [
            (name, len(found), *(f"{percentile(found, share) or 0:.2f}" for share in (50, 95, 100)))
            for name, found in (
                ("from deploy to a run that Airflow takes", self.executable_s),
                ("from execute to its end, three steps", self.executed_s),
            )
        ]
        return [goals_table(self.goals), Table("Seconds", ["what", "number", "P50", "P95", "most"], rows)]

    @property
    def page(self) -> str:
        intro = [
            f"{len(self.executable_s)} deployments with {self.deployed_beside:,} other workflows deployed, Airflow {self.airflow}.",
            f"{self.setup.machine}; {self.setup.measured_at}.",
            f"{self.kept} of {self.deployed_in_mid_run} executions kept their version while another was deployed.",
        ]
        return markdown("Workflows", intro, self.setup.command, self.tables, [])


def measure(deployments: int, beside: int, command: str, say: Say) -> WorkflowsOutcome:
    """Start a stack of its own with *beside* deployed workflows, deploy and execute *deployments* more, and deploy in mid-run."""
    with own_home():
        running = lifecycle.up(progress=say)
        with Store(running.hub_dsn) as store:
            _fill(store, running, beside)
        api = running.api()
        api.wait_for_dag(workflow_dag(f"beside_{beside - 1}"))
        hub = HubApi(api)
        executable_s = [_executable_s(api, hub, number, say) for number in range(deployments)]
        executed_s = [_executed_s(hub, f"measured_{number}", say) for number in range(min(deployments, _EXECUTED))]
        return WorkflowsOutcome(
            setup=setup(command, server_version(running.hub_dsn)),
            airflow=metadata.version("apache-airflow"),
            deployed_beside=beside,
            executable_s=executable_s,
            executed_s=executed_s,
            kept=_kept(hub, deployments, say),
            deployed_in_mid_run=deployments,
        )


def _fill(store: Store, running: Stack, number: int) -> None:
    """Deploy many workflows at once, as a hub that has had them for long."""
    for each in range(number):
        name = f"beside_{each}"
        text = _DEFINITION.format(workflow_id=name, version=1, wait="1s")
        workflow = Workflow(id=name, version=1, title=name, description="", block=Block("/do", ()))
        with store.transaction() as work:
            repository.add(work, workflow, text, actor="bench")
            repository.deploy(work, name, 1, actor="bench")
    workflow_snapshots.write(store, url=running.environment()["HUB_DEFINITIONS_URL"])


def _executable_s(api: AirflowApi, hub: HubApi, number: int, say: Say) -> float:
    """Deploy a workflow that is new, and start runs of its DAG until Airflow takes one. The run has ended before the next is deployed."""
    name = f"measured_{number}"
    _add(hub, name, 1, "1ms")
    began = time.monotonic()
    hub.put(path_of("workflows", name, "deploy"), {})
    while True:
        try:
            run = api.trigger(workflow_dag(name))
            break
        except AirflowRefused:
            if time.monotonic() - began > _MISSING_AFTER_S:
                raise
            time.sleep(_POLL_S)
    took_s = time.monotonic() - began
    say(f"{name}: executable after {took_s:.2f} s")
    while api.dag_run(workflow_dag(name), run)["state"] in ("queued", "running"):
        time.sleep(_POLL_S)
    return took_s


def _executed_s(hub: HubApi, name: str, say: Say) -> float:
    began = time.monotonic()
    started = hub.post(path_of("workflows", name, "execute"), {}).document
    _end_of(hub, started["execution_id"])
    took_s = time.monotonic() - began
    say(f"{name}: executed in {took_s:.1f} s")
    return took_s


def _kept(hub: HubApi, number: int, say: Say) -> int:
    """Deploy another version while an execution runs, again and again; count those that ended with theirs."""
    _add(hub, "kept", 1, "3s")
    hub.put(path_of("workflows", "kept", "deploy"), {})
    begun: dict[str, int] = {}
    for version in range(1, number + 1):
        started = hub.post(path_of("workflows", "kept", "execute"), {}).document
        begun[started["execution_id"]] = version
        _add(hub, "kept", version + 1, "3s")
        hub.put(path_of("workflows", "kept", "deploy"), {})
        say(f"version {version + 1} deployed while an execution of version {version} runs")
    ended = {execution_id: _end_of(hub, execution_id) for execution_id in begun}
    return sum(ended[each]["state"] == "COMPLETED" and ended[each]["version"] == begun[each] for each in begun)


def _add(hub: HubApi, workflow_id: str, version: int, wait: str) -> None:
    text = _DEFINITION.format(workflow_id=workflow_id, version=version, wait=wait)
    hub.post("/workflows", {"definition": text})
    tested = hub.post(path_of("workflows", workflow_id, "test"), {}).document
    if tested["state"] != "COMPLETED":
        raise ProgramFailed(f"The test run of {workflow_id} is {tested['state']}: {tested['message']}")


def _end_of(hub: HubApi, execution_id: str) -> dict[str, Any]:
    began = time.monotonic()
    while True:
        found: dict[str, Any] = hub.get(path_of("executions", execution_id, "status")).document
        if found["state"] != "RUNNING":
            return found
        if time.monotonic() - began > _ENDS_WITHIN_S:
            raise ProgramFailed(f"{execution_id} did not come to its end: {found}")
        time.sleep(0.1)
