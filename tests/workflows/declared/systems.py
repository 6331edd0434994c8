"""Other systems for executions of declared workflows: each try of a step has an answer, then come samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.db.database import Store
from crossdock.integrations.actions.model import Document, Done, Failed, Refused, RefusedBy, Unknown
from crossdock.integrations.manifests import manifests
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions
from crossdock.workflows.declared.answers import Answer, Status
from crossdock.workflows.declared.effects import Effects
from crossdock.workflows.declared.flow import DeclaredFlow
from crossdock.workflows.declared.model import Workflow
from crossdock.workflows.declared.route import step_of
from crossdock.workflows.declared.samples import answer_of
from crossdock.workflows.model import Driver, Execution, Memo, Progress, Route, StepCall, TimedOut, TryEnd

HUB = WorkflowCatalog()
KINDS = {
    "crm": "hubspot",
    "commercetools": "commercetools",
    "payments": "stripe",
    "mail_server": "smtp_relay",
    "mails": "smtp_relay",
}


@dataclass
class Systems:
    """What is called, and what it answers."""

    answers: dict[str, list[Answer]] = field(default_factory=dict)
    #: Step and action of each call, in their order.
    calls: list[tuple[str, str]] = field(default_factory=list)
    inputs: list[Document] = field(default_factory=list)
    #: Effects by their keys: one for each, however often it is called.
    effects: Counter[str] = field(default_factory=Counter)
    before: Callable[[StepCall], None] = lambda _: None

    def __call__(
        self, integration: str, action: str, given: Document, call: StepCall, _timeout_s: float | None
    ) -> TryEnd:
        self.before(call)
        self.calls.append((call.step, action))
        self.inputs.append(given)
        left = self.answers.get(step_of(call.step), []) if call.direction == "act" else []
        answer = left.pop(0) if left else Answer()
        message = answer.message or answer.status
        match answer.status:
            case Status.DONE:
                self.effects[call.key] = 1
                declared = manifests()[KINDS[integration]].actions[action]
                return Done(answer.output if answer.output is not None else answer_of(declared, given))
            case Status.FAILED:
                return Failed(message)
            case Status.UNKNOWN:
                return Unknown(message)
            case Status.TIMEOUT:
                return TimedOut(message)
            case Status.DECLINED:
                return Refused(message, by=RefusedBy.DECISION)
            case _:
                return Refused(message)


class Checked(DeclaredFlow):
    """A flow that looks at each step anew, whatever it knows of the items of its loops: both ways are the same."""

    def route(self, execution: Execution, progress: Progress, memo: Memo | None = None) -> Route:
        found, anew = super().route(execution, progress, memo), self.way(execution, progress).route
        assert _without_effects(found) == _without_effects(anew)
        return found


def _without_effects(route: Route) -> object:
    """Show a way without its functions, which are made anew each time."""
    steps = [
        [(step.name, step.undo is not None, step.undo_resolves) for step in each] for each in (route.steps, route.next)
    ]
    return steps, [step.kind for step in route.next], route.cancelled


class Flows(dict[str, DeclaredFlow]):
    """The flows of workflows that are not stored."""

    def of(self, _work: Any, name: str) -> DeclaredFlow:
        return self[name]


def flows_of(systems: Systems, *workflows: Workflow) -> Flows:
    effects = Effects(systems, HUB)
    found = [Checked(workflow, effects) for workflow in workflows]
    return Flows({flow.name: flow for flow in found})


def begun(store: Store, flow: DeclaredFlow, run_id: str = "run_1", **params: Any) -> str:
    given = executions.params_of(flow.workflow, params)
    with store.transaction() as work:
        started, _ = engine.start(
            work,
            flow,
            executions.subject_of(flow.workflow.id, run_id),
            given,
            driver=Driver.EVENTS,
            actor="t",
            is_woken=False,
        )
    return started.execution_id


def go_on(store: Store, flows: Flows, execution_id: str, *, moves: int = 200) -> Execution:
    """Move an execution on, and let its waits pass, until nothing more happens by itself."""
    for _ in range(moves):
        found = engine.advance(store, flows, execution_id)
        if found.next_at is None:
            return found
        let_time_pass(store, execution_id)
    raise AssertionError("it does not come to an end")


def let_time_pass(store: Store, execution_id: str) -> None:
    """Have what waits be due, as if it had begun before."""
    with store.transaction() as work:
        work.execute(
            "UPDATE execution_step SET next_at = clock_timestamp(), began_at = began_at - (next_at - clock_timestamp()) "
            "WHERE execution_id = %s AND next_at > clock_timestamp()",
            [execution_id],
        )
        work.execute("UPDATE execution SET next_at = clock_timestamp() WHERE execution_id = %s", [execution_id])


def states(store: Store, flows: Flows, execution_id: str) -> dict[str, str]:
    """Show the state of each step by its name."""
    with store.transaction() as work:
        return {step.name: str(step.state) for step in executions.status(work, flows, execution_id).steps}


def answers(**given: Sequence[Answer]) -> dict[str, list[Answer]]:
    return {name: list(each) for name, each in given.items()}
