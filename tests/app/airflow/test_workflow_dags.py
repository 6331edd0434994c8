"""The DAG of a workflow: a task for each step, in an order that its lists, cases and branches allow, whatever its steps are called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from crossdock.app import workflow_snapshots
from crossdock.app.airflow import workflow_dags
from crossdock.app.workflow_snapshots import Deployed, Task, deployed_of
from crossdock.core.settings import settings
from tests.workflows.declared.test_executions import FORKED, read, workflow
from tests.workflows.declared.test_trial import FOLDER, example, parsed

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.stem.endswith(".answers"))


def dag_of(deployed: Deployed) -> Any:
    return workflow_dags._dag("workflow_w2", deployed, in_task=False)


def before(dag: Any) -> dict[str, set[str]]:
    return {task.task_id: set(task.upstream_task_ids) for task in dag.tasks}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_example_is_a_dag_from_its_first_task_to_its_last(name: str) -> None:
    found = example(name)
    tasks = before(dag_of(deployed_of(found, NOW)))

    assert [task for task, others in tasks.items() if not others] == ["workflow.begin"]
    assert {task for others in tasks.values() for task in others} | {"workflow.finish"} == set(tasks)
    in_handlers = {step.id for block in found.handlers.values() for step in block.steps}
    in_loops = {inner.id for step in found.block.steps for block in step.blocks for inner in block.steps} - set(tasks)
    assert {step.id for step in found.steps()} - in_handlers - in_loops <= set(tasks)


def test_cases_and_branches_follow_their_step_and_the_next_step_follows_them() -> None:
    assert before(dag_of(deployed_of(FORKED, NOW))) == {
        "workflow.begin": set(),
        "both": {"workflow.begin"},
        "slow": {"both"},
        "quick": {"both"},
        "after": {"slow", "quick"},
        "workflow.finish": {"after"},
    }


def test_a_branch_that_nothing_waits_for_is_waited_for_at_the_end_alone() -> None:
    text = (
        "  - id: both\n    fork:\n      join: [one]\n      branches:\n"
        "        one: {do: [{id: slow, set: {n: 1}}]}\n        two: {do: [{id: quick, set: {n: 2}}]}\n" + read("after")
    )
    tasks = before(dag_of(deployed_of(workflow(text), NOW)))

    assert (tasks["after"], tasks["workflow.finish"]) == ({"slow"}, {"after", "quick"})


def test_steps_may_be_called_as_the_first_task_or_a_case() -> None:
    text = (
        "  - {id: begin, set: {n: 1}}\n  - {id: pay_case_1, set: {n: 1}}\n"
        '  - id: pay\n    switch:\n      - {when: "true", do: [{id: finish, set: {n: 2}}]}\n'
    )
    assert set(before(dag_of(deployed_of(workflow(text), NOW)))) == {
        "workflow.begin",
        "begin",
        "pay_case_1",
        "pay",
        "finish",
        "workflow.finish",
    }


def test_a_workflow_whose_dag_cannot_be_built_takes_no_other_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings(), "definitions_url", f"file://{tmp_path}")
    good = deployed_of(FORKED, NOW)
    twice = Task(step="same", makes=["same"])
    names = [name for name in map("w{}".format, range(200)) if workflow_snapshots.file_of(name) == 0][:2]
    values = {
        "version": 1,
        "title": "T",
        "description": "",
        "params": {},
        "cron": None,
        "timezone": "UTC",
        "event_types": [],
        "deployed_at": NOW,
    }
    bad = Deployed(workflow_id=names[0], tasks=[twice, twice], **values)
    workflow_snapshots.write_snapshots([bad, Deployed(workflow_id=names[1], tasks=good.tasks, **values)])

    assert list(workflow_dags.define(0)) == [f"workflow_{names[1]}"]


def test_a_schedule_gives_its_params_and_any_field_of_the_form_may_be_empty() -> None:
    """A request gives its params to the hub, and Airflow refuses a run without what it takes for required."""
    found = parsed(
        "schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\n"
        "triggers: [{cron: '30 2 * * *', timezone: Europe/Berlin, with: {days: \"`3`\"}}]\n"
        "params: {days: {type: integer}, kind: {enum: [a, b], default: a}}\ndo: [{id: keep, set: {n: params.days}}]\n"
    )
    by_hand = dag_of(deployed_of(example("order_flow"), NOW))
    scheduled = dag_of(deployed_of(found, NOW))

    assert (scheduled.params["days"], scheduled.params["kind"]) == (3, "a")
    by_hand.params.validate()
    assert by_hand.params["sku"] is None


@pytest.mark.parametrize("last_run", [None, timedelta(hours=1)])
def test_a_schedule_begins_after_the_deployment(last_run: timedelta | None) -> None:
    """
    Airflow makes up the last time before, for a new DAG and for one whose schedule is new: what a step orders was ordered at once.

    The last run, if there was one, was of another schedule, before this deployment.
    """
    from airflow.serialization.serialized_objects import DagSerialization  # noqa: PLC0415  with Airflow's database models
    from airflow.timetables.base import DagRunInfo  # noqa: PLC0415

    at = datetime.now(UTC)
    passed = at - timedelta(minutes=10)
    found = parsed(
        "schema: crossdock.workflow/1\nid: w2\nversion: 1\ntitle: T\n"
        f"triggers: [{{cron: '{passed.minute} {passed.hour} * * *'}}]\ndo: [{{id: keep, set: {{n: \"`1`\"}}}}]\n"
    )
    dag = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dag_of(deployed_of(found, at))))
    before = DagRunInfo.exact(at - last_run) if last_run is not None else None

    following = dag.next_dagrun_info(last_automated_run_info=before)
    assert at < following.run_after <= at + timedelta(days=1)
