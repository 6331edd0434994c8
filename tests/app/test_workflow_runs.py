"""A run of a workflow's DAG comes to its end, task by task, whatever its steps are: no task waits for one that comes after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crossdock.app import workflow_runs
from crossdock.app.workflow_runs import Later, NotMade, StepNotThere, WorkflowDriver
from crossdock.app.workflow_snapshots import Task, deployed_of
from crossdock.db.database import Store
from crossdock.observability import decisions
from crossdock.workflows import repository
from crossdock.workflows.declared import executions
from crossdock.workflows.declared import repository as versions
from crossdock.workflows.declared.executions import State, StepFailedForGood, subject_of
from crossdock.workflows.declared.model import Workflow
from tests.workflows.declared.systems import Systems, answers, flows_of, let_time_pass
from tests.workflows.declared.test_executions import ASKING, FAILED, FORKED, ORDER, REFUSED, read, workflow
from tests.workflows.declared.test_trial import example

RUN = "manual__1"


@dataclass
class Airflow:
    """Makes the tasks of a run in an order that their DAG allows: one after the other, as a worker with one slot does."""

    store: Store
    workflow: Workflow
    systems: Systems = field(default_factory=Systems)
    #: Task → what became of it.
    tasks: dict[str, str] = field(default_factory=dict)
    #: How often a task was deferred, or tried again.
    looks: int = 0

    def __post_init__(self) -> None:
        with self.store.transaction() as work:
            versions.add(work, self.workflow, "-", actor="dora")
            versions.deploy(work, self.workflow.id, self.workflow.version, actor="otto")
        found = SimpleNamespace(
            calls=lambda: SimpleNamespace(store=self.store), flows=flows_of(self.systems, self.workflow)
        )
        self.driver = cast("WorkflowDriver", found)

    def run(self, **params: Any) -> State:
        workflow_runs.begin(self.driver, self.workflow.id, RUN, params, actor="airflow:ada")
        self._all(deployed_of(self.workflow, datetime.now(UTC)).tasks)
        self._make("finish", lambda: workflow_runs.finish(self.driver, self.workflow.id, RUN))
        with self.store.transaction() as work:
            return executions.status(work, self.driver.flows, self.execution_id).state

    @property
    def execution_id(self) -> str:
        with self.store.transaction() as work:
            return repository.of_subject(work, subject_of(self.workflow.id, RUN))[0].execution_id

    def _all(self, tasks: list[Task]) -> None:
        for task in tasks:
            if "failed" in self.tasks.values():
                return
            self._make(
                task.step,
                lambda task=task: workflow_runs.make_step(self.driver, self.workflow.id, RUN, task.makes),  # type: ignore[misc]
            )
            for inside in task.inside.values():
                self._all(inside)

    def _make(self, name: str, make: Any) -> None:
        for _ in range(30):
            try:
                found = make()
            except StepNotThere:
                found = Later
            except StepFailedForGood:
                self.tasks[name] = "failed"
                return
            if found is not Later and not isinstance(found, Later):
                self.tasks[name] = "skipped" if isinstance(found, NotMade) else "success"
                return
            self.looks += 1
            self._answer()
            let_time_pass(self.store, self.execution_id)
        raise AssertionError(f"the task {name} does not come to an end")

    def _answer(self) -> None:
        """Somebody answers whatever is asked, with the first choice."""
        with self.store.transaction() as work:
            asked = decisions.find(work)
        for each in asked:
            executions.decide(self.store, each, each.choices[0], "-", "ada")


@pytest.fixture
def airflow(store: Store) -> Iterator[Any]:
    return lambda found, systems=None: Airflow(store, found, systems or Systems())


def test_each_step_of_the_order_flow_is_a_task_of_its_own(airflow: Any) -> None:
    run = airflow(example("order_flow"))

    assert run.run(**ORDER) is State.COMPLETED
    assert run.tasks == {
        **dict.fromkeys(("check_customer", "check_inventory", "authorise", "capture", "confirm", "finish"), "success"),
        **dict.fromkeys(("refuse_blocked", "refuse_short", "refuse_unpaid"), "skipped"),
    }
    assert run.looks == 0


def test_cases_and_branches_have_tasks_that_do_not_wait_for_those_inside_them(airflow: Any) -> None:
    run = airflow(FORKED)

    assert run.run() is State.COMPLETED
    assert run.tasks == dict.fromkeys(("both", "slow", "quick", "after", "finish"), "success")


def test_a_case_that_is_not_taken_is_skipped(airflow: Any) -> None:
    run = airflow(
        workflow(
            "  - id: choose\n    switch:\n      - {when: params.big, do: [{id: much, set: {n: 1}}]}\n"
            "      - do: [{id: little, set: {n: 2}}]\n" + read("after"),
            head="params: {big: {type: boolean}}\n",
        )
    )

    assert run.run(big=False) is State.COMPLETED
    assert (run.tasks["much"], run.tasks["little"], run.tasks["after"]) == ("skipped", "success", "success")


def test_an_end_that_the_workflow_foresees_is_no_failure_of_its_run(airflow: Any) -> None:
    run = airflow(
        workflow(
            "  - {id: pause, wait: 1s}\n  - {id: halt, if: 'params.big', cancel: Nobody wants it}\n" + read("after"),
            head="params: {big: {type: boolean}}\n",
        )
    )

    assert run.run(big=True) is State.CANCELLED
    assert run.tasks == {"pause": "success", "halt": "success", "after": "skipped", "finish": "success"}


def test_an_end_that_a_handler_foresees_is_no_failure_of_its_task(airflow: Any) -> None:
    text = read("check").replace("}}\n", "}, catch: {handler: quit}}\n") + read("after")
    handler = "handlers: {quit: {do: [{id: halt, cancel: It is not there}]}}\n"
    run = airflow(workflow(text, head=handler), Systems(answers(check=[REFUSED])))

    assert run.run() is State.CANCELLED
    assert run.tasks == {"check": "success", "after": "skipped", "finish": "success"}


def test_a_loop_is_one_task(airflow: Any) -> None:
    run = airflow(
        workflow(
            "  - id: each\n    for: {each: number, in: params.numbers, at_most: 5}\n    do:\n"
            "      - {id: keep, set: {n: number}}\n      - {id: look, call: crm.find_customer, with: {key: \"'a@b.example'\"}}\n",
            head="params: {numbers: {type: array, items: {type: integer}}}\n",
        )
    )

    assert run.run(numbers=[1, 2, 3]) is State.COMPLETED
    assert run.tasks == {"each": "success", "finish": "success"}
    assert len(run.systems.calls) == 3


def test_a_retry_is_a_try_of_its_task(airflow: Any) -> None:
    run = airflow(example("order_flow"), Systems(answers(check_inventory=[FAILED, FAILED])))

    assert run.run(**ORDER) is State.COMPLETED
    assert run.looks == 2


def test_a_question_is_waited_for_without_a_process(airflow: Any) -> None:
    run = airflow(ASKING)

    assert run.run() is State.COMPLETED
    assert (run.tasks["ask"], run.tasks["halt"], run.looks) == ("success", "skipped", 1)


def test_a_failed_step_fails_its_task_and_the_last_task_undoes_the_rest(airflow: Any) -> None:
    run = airflow(example("order_flow"), Systems(answers(capture=[REFUSED])))

    assert run.run(**ORDER) is State.FAILED
    assert (run.tasks["capture"], run.tasks["finish"]) == ("failed", "failed")
    assert run.systems.calls[-1] == ("authorise", "void")


def test_a_run_of_a_newer_dag_completes_an_execution_of_the_version_with_which_it_began(airflow: Any) -> None:
    run = airflow(workflow(read("old") + read("also")))
    newer = workflow(read("new"), version=2)
    workflow_runs.begin(run.driver, "w2", RUN, {}, actor="airflow:ada")

    run._all(deployed_of(newer, datetime.now(UTC)).tasks)
    run._make("finish", lambda: workflow_runs.finish(run.driver, "w2", RUN))

    assert run.tasks == {"new": "skipped", "finish": "success"}
    assert [step for step, _ in run.systems.calls] == ["old", "also"]
