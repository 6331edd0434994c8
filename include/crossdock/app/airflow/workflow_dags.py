"""Build the DAG of each deployed workflow: its form, its schedule, and one task for each step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

from airflow.sdk import (
    DAG,
    BaseOperator,
    CronTriggerTimetable,
    Param,
    TaskGroup,
    TriggerRule,
    get_parsing_context,
)
from airflow.sdk.exceptions import AirflowSkipException

from crossdock.app import workflow_runs, workflow_snapshots
from crossdock.app.airflow.dag_alerts import dag_failed, dag_succeeded
from crossdock.app.airflow.retry_policy import RetryByKind
from crossdock.app.airflow.task_failures import cause_of, explained_failures
from crossdock.app.airflow.until import Until
from crossdock.app.services import services
from crossdock.app.workflow_runs import Later, Made, NotMade, WorkflowDriver
from crossdock.app.workflow_snapshots import Deployed, Task
from crossdock.core.ids import OWNER, prefixed, workflow_dag
from crossdock.core.log import logger
from crossdock.core.settings import settings
from crossdock.workflows.declared.executions import StepFailedForGood

log = logger(__name__)

#: The retries of a step are its definition's, and counted by the hub: the task is only tried as often as they need.
_MOST_TRIES = 60
#: The first and the last task: no step has a dot in its name.
BEGIN, FINISH = "workflow.begin", "workflow.finish"

_TRIAGE = """
Version {version} of the workflow `{workflow}`. Each task makes its step, and waits where the step waits; its retries are those of
the definition. An execution keeps the version with which it began: a task whose step it does not have is skipped.

**Triage.** A step that failed for good is a dead letter: fix it there, and replay it. Up to the pivot all that was done is
undone by `workflow.finish`, which then fails to mark the run. Every task can be cleared at any time: no step is made twice. An execution
that no task takes for some minutes goes on without them. To see one: `./hub workflow status ID`.
"""


def define(file_no: int) -> dict[str, DAG]:
    """Build the DAGs of one DAG file, by ID. In a task's process only the DAG of the task is built."""
    only = get_parsing_context().dag_id
    found: dict[str, DAG] = {}
    for deployed in workflow_snapshots.read(file_no):
        dag_id = workflow_dag(deployed.workflow_id)
        if only not in (None, dag_id):
            continue
        try:
            found[dag_id] = _dag(dag_id, deployed, in_task=only is not None)
        except Exception:
            # One must not take the others of this file away. Its executions go on without a run.
            log.exception("The DAG %s cannot be built", dag_id)
    return found


def _dag(dag_id: str, deployed: Deployed, *, in_task: bool) -> DAG:
    with DAG(
        dag_id=dag_id,
        # One that cannot be built to its end is not half there.
        auto_register=False,
        description=deployed.title,
        schedule=CronTriggerTimetable(deployed.cron, timezone=deployed.timezone) if deployed.cron else None,
        # Airflow would make up the last time before: what a schedule orders would be ordered by the deployment.
        start_date=deployed.deployed_at if deployed.cron else None,
        catchup=False,
        doc_md=f"{deployed.description or deployed.title}\n\n"
        + _TRIAGE.format(version=deployed.version, workflow=deployed.workflow_id),
        tags=["workflow"],
        # Airflow checks them in each task, against the newest DAG: a run of an older version would fail by a newer param.
        params={} if in_task else {name: _param(schema) for name, schema in deployed.params.items()},
        default_args={
            "owner": OWNER,
            "retries": _MOST_TRIES,
            "retry_delay": timedelta(seconds=settings().retry_delay_s),
            "retry_policy": RetryByKind(),
            "on_failure_callback": _failed,
        },
    ) as dag:
        defaults = {name: schema["default"] for name, schema in deployed.params.items() if "default" in schema}
        begin = Begin(task_id=BEGIN, workflow_id=deployed.workflow_id, defaults=defaults)
        later: list[BaseOperator] = []
        ends = _chained([begin], deployed.workflow_id, deployed.tasks, later)
        finish = Finish(
            task_id=FINISH,
            workflow_id=deployed.workflow_id,
            trigger_rule=TriggerRule.ALL_DONE,
            on_success_callback=dag_succeeded,
        )
        for end in (*ends, *later):
            end.set_downstream(finish)
    return dag


def _param(schema: Mapping[str, Any]) -> Param:
    """Build a field of the form. Any may be empty here: a request gives its params to the hub, and not to Airflow."""
    given = {name: value for name, value in schema.items() if name != "default"}
    if "default" in schema:
        return Param(schema["default"], **given)
    if "type" in given:
        types = given["type"] if isinstance(given["type"], list) else [given["type"]]
        given["type"] = [*types, "null"]
    if "enum" in given:
        given["enum"] = [*given["enum"], None]
    given.pop("const", None)
    return Param(None, **given)


def _chained(
    before: Sequence[BaseOperator], workflow_id: str, tasks: Sequence[Task], later: list[BaseOperator]
) -> list[BaseOperator]:
    """Add the tasks of a list of steps, one after the other; return those that the next one waits for, and keep others in *later*."""
    for each in tasks:
        made = _step(workflow_id, each)
        for one in before:
            one.set_downstream(made)
        before = [made]
        if each.inside:
            ends: list[BaseOperator] = []
            for name, inside in each.inside.items():
                # A step has no dash in its name.
                with TaskGroup(f"{each.step}-{name}", prefix_group_id=False):
                    last = _chained([made], workflow_id, inside, later)
                (ends if each.join is None or name in each.join else later).extend(last)
            before = ends
    return list(before)


def _step(workflow_id: str, task: Task) -> BaseOperator:
    pool = {"pool": prefixed(task.integration)} if task.integration else {}
    return MakeStep(
        task_id=task.step,
        workflow_id=workflow_id,
        makes=task.makes,
        # Also after a case that was not taken; not after a step that failed.
        trigger_rule=TriggerRule.NONE_FAILED,
        **pool,
    )


class _OfWorkflow(BaseOperator):
    """A task that moves the execution of its run on."""

    def __init__(self, *, workflow_id: str, **options: Any) -> None:
        super().__init__(**options)
        self.workflow_id = workflow_id

    def execute(self, context: Any) -> None:
        """
        Move the execution on.

        Raises:
            AirflowSkipException: this run does not make the step.
            TaskDeferred: the step waits.

        """
        with _driver() as driver:
            found = self._move(driver, context["dag_run"])
        match found:
            case Later(at=at):
                self.defer(trigger=Until(at.isoformat()), method_name="look_again")
            case NotMade(why=why):
                raise AirflowSkipException(why)
            case Made():
                return

    def look_again(self, context: Any, event: Any = None) -> None:  # noqa: ARG002  Airflow's signature
        """Go on after a wait."""
        self.execute(context)

    def _move(self, driver: WorkflowDriver, dag_run: Any) -> Made | Later | NotMade:
        raise NotImplementedError


class Begin(_OfWorkflow):
    """Start the execution of the run, unless it was started by a request."""

    def __init__(self, *, defaults: Mapping[str, Any], **options: Any) -> None:
        super().__init__(**options)
        self.defaults = dict(defaults)

    def _move(self, driver: WorkflowDriver, dag_run: Any) -> Made | Later | NotMade:
        by = getattr(dag_run, "triggering_user_name", None) or getattr(dag_run.run_type, "value", dag_run.run_type)
        given = {name: value for name, value in (dag_run.conf or {}).items() if value is not None}
        params = {**self.defaults, **given}
        return workflow_runs.begin(driver, self.workflow_id, dag_run.run_id, params, actor=f"airflow:{by}")


class MakeStep(_OfWorkflow):
    """Make one step."""

    def __init__(self, *, makes: Sequence[str], **options: Any) -> None:
        super().__init__(**options)
        self.makes = list(makes)

    def _move(self, driver: WorkflowDriver, dag_run: Any) -> Made | Later | NotMade:
        return workflow_runs.make_step(driver, self.workflow_id, dag_run.run_id, self.makes)


class Finish(_OfWorkflow):
    """Make what is left, and undo what has to be undone."""

    def _move(self, driver: WorkflowDriver, dag_run: Any) -> Made | Later | NotMade:
        return workflow_runs.finish(driver, self.workflow_id, dag_run.run_id)


def _failed(context: Mapping[str, Any]) -> None:
    """Open the alert of the DAG. A step that failed for good is a dead letter, which has an alert of its own."""
    if not isinstance(cause_of(context.get("exception")), StepFailedForGood):
        dag_failed(context)


@contextmanager
def _driver() -> Iterator[WorkflowDriver]:
    with explained_failures(), closing(services()) as provided:
        yield provided.workflows
