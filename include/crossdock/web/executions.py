"""Executions of workflows: the list, and one with its steps as a table and on the graph; cancel and retry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Problem, Router, cursor_at, cursor_like, position_of
from crossdock.app import personal_data, workflow_requests
from crossdock.core.ids import workflow_dag
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.events.dead_letters import repository as dead_letters
from crossdock.observability import decisions
from crossdock.web import param_form
from crossdock.web.forms import Form, Posted
from crossdock.web.page import go_to, show
from crossdock.web.workflow_graph import graph_of
from crossdock.workflows import repository as engine
from crossdock.workflows import service
from crossdock.workflows.declared import executions, repository
from crossdock.workflows.declared.events import WORKFLOW_FAILED
from crossdock.workflows.declared.executions import State, StepStatus
from crossdock.workflows.declared.flow import version_in
from crossdock.workflows.declared.route import ShownState
from crossdock.workflows.declared.subscribers import FAILED_EXECUTIONS
from crossdock.workflows.model import Direction, Driver, Execution, ExecutionState, StepProgress

router = Router()

ExecutionId = Annotated[str, Path(pattern=r"^exe_[0-9a-f]{32}$")]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
_ON_A_PAGE = 50
#: Of a step that is made several times, the graph shows what needs a person most.
_URGENCY = (
    ShownState.PERMANENTLY_FAILED,
    ShownState.FAILED,
    ShownState.RUNNING,
    ShownState.COMPENSATED,
    ShownState.SUCCESS,
    ShownState.PENDING,
    ShownState.SKIPPED,
)


@router.get("/executions")
def list_executions(
    request: Request,
    store: OpenStore,
    caller: Viewer,
    workflow_id: Annotated[str | None, Query(pattern=r"^([a-z][a-z0-9_]{1,62})?$")] = None,
    state: Annotated[str | None, Query(pattern=rf"^({'|'.join(State)})?$")] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-exe_[0-9a-f]{32}$")] = None,
) -> HTMLResponse:
    with store.transaction() as work:
        found = executions.find(
            work,
            workflow_id=workflow_id or None,
            state=State(state) if state else None,
            before=position_of(cursor) if cursor else None,
            limit=_ON_A_PAGE + 1,
        )
        known = repository.newest(work, after="", limit=500)
    page = found[:_ON_A_PAGE]
    return show(
        request,
        caller,
        "executions.html",
        executions=[_in_list(each) for each in page],
        asked={"workflow_id": workflow_id or None, "state": state or None},
        workflows=sorted({each.workflow_id for each in known} | ({workflow_id} if workflow_id else set())),
        states=list(State),
        cursor=cursor,
        next_cursor=cursor_at(page[-1].created_at, page[-1].execution_id) if len(found) > _ON_A_PAGE else None,
    )


@router.get("/executions/{execution_id}")
def execution(request: Request, store: OpenStore, caller: Viewer, execution_id: ExecutionId) -> HTMLResponse:
    """Show the steps. Params and outputs are shown to operators only, and that is recorded in the audit trail."""
    flows = workflow_requests.flows()
    with store.transaction() as work:
        found = executions.status(work, flows, execution_id)
        workflow = flows.of(work, found.execution.flow).workflow
        has_run = found.execution.driver is Driver.DAG or bool(engine.runs_of(work, execution_id))
        dead = dead_letters.last_of_subject(work, FAILED_EXECUTIONS, WORKFLOW_FAILED.name, execution_id)
        asked = decisions.find(work, about=execution_id, limit=1)
        decided = decisions.find(work, about=execution_id, is_open=False)
        words = service.words_of_cancellation(work, found.execution)
        deployed = repository.deployments(work, [found.workflow_id])
    of, rows = found.execution, found.made
    outputs = {row.step: row.output for row in rows if row.direction is Direction.ACT and row.output}
    is_shown = personal_data.reveal(
        store, caller, f"execution/{execution_id}", [of.input, outputs, {"reason_given": words}], None
    )
    return show(
        request,
        caller,
        "execution.html",
        found=found,
        execution=of,
        workflow=workflow,
        graph=graph_of(workflow),
        states=_states(found.steps),
        steps=_first_of_each(found.steps),
        tries=_tries(rows),
        params=of.input if is_shown else None,
        outputs=outputs if is_shown else {},
        # Its task `begin` has not said so yet, or did.
        dag_run=(workflow_dag(found.workflow_id), found.run_id) if has_run else None,
        dead_letter=dead.dead_letter_id if dead else None,
        decides_about=_decides_about(of, has_question=bool(asked)),
        decided=decided,
        reason_given=words if is_shown else None,
        deployed=deployed[0].version if deployed else None,
        may_cancel=of.state not in (ExecutionState.UNDOING, ExecutionState.UNDONE),
        may_retry=found.state is not State.COMPLETED and of.state is not ExecutionState.COMPLETED,
        begins_anew=of.state is ExecutionState.UNDONE,
        fields=param_form.fields_of(workflow, of.input) if is_shown else [],
        attempt=uuid4().hex,
    )


@router.post("/executions/{execution_id}/cancel")
def cancel(
    request: Request, store: OpenStore, caller: Operator, execution_id: ExecutionId, form: Posted
) -> RedirectResponse:
    """Have all undone that it did, also when it is completed."""
    executions.cancel(store, execution_id, reason=form.reason(), actor=caller.actor)
    return go_to(request, "executions", execution_id)


@router.post("/executions/{execution_id}/retry")
def retry(
    request: Request, store: OpenStore, caller: Operator, execution_id: ExecutionId, form: Posted
) -> RedirectResponse:
    """Retry the step that it waits for; one that was undone begins anew, as another execution."""
    newest = form.text("version") == "deployed"
    retried = executions.retry(
        store,
        workflow_requests.flows(),
        execution_id,
        newest=newest,
        params=_other_params(store, form, execution_id, newest=newest),
        reason=form.reason(),
        actor=caller.actor,
    )
    return go_to(request, "executions", retried.execution_id)


def run_of(form: Form) -> str:
    """
    Read what names the run that a form starts: sent twice, it starts one.

    Raises:
        Problem: 400, it is not from a page of ours.

    """
    attempt = form.text("attempt")
    if len(attempt) != 32 or not set(attempt) <= set("0123456789abcdef"):  # noqa: PLR2004  of a UUID
        raise Problem(
            HTTPStatus.BAD_REQUEST,
            "bad-request",
            "The form is not complete. Open the page again and repeat the action there",
        )
    return attempt


def _other_params(store: Store, form: Form, execution_id: str, *, newest: bool) -> dict[str, Any] | None:
    """Read the params of the form; None if they are those that it has."""
    flows = workflow_requests.flows()
    with store.transaction() as work:
        known = engine.get(work, execution_id)
        if version_in(known.flow) is None or not form.has("with_params"):
            return None
        workflow = flows.of(work, known.flow).workflow
    given = param_form.read(form, workflow)
    same = {name: value for name, value in known.input.items() if name in workflow.params}
    return None if given == same and not newest else given


def _in_list(found: Execution) -> dict[str, Any]:
    workflow_id, version = version_in(found.flow) or ("", 0)
    return {
        "execution_id": found.execution_id,
        "workflow_id": workflow_id,
        "version": version,
        "state": executions.state_of(found),
        "waits_for": found.waits_for,
        "reason": found.reason,
        "started_at": found.created_at,
        "started_by": found.created_by,
        "took_s": ((found.ended_at or found.read_at) - found.created_at).total_seconds(),
    }


def _decides_about(found: Execution, *, has_question: bool) -> str | None:
    """Name what the decision is about that an execution waits for: a step that nobody knows about, or a question of its own."""
    return found.execution_id if has_question or found.waits_for is not None else None


def _states(steps: Sequence[StepStatus]) -> Mapping[str, str]:
    """Map each step to how far it is; of one that is made several times, to what needs a person most."""
    states: dict[str, ShownState] = {}
    for each in steps:
        known = states.get(each.step, each.state)
        states[each.step] = min(known, each.state, key=_URGENCY.index)
    return states


def _first_of_each(steps: Sequence[StepStatus]) -> list[tuple[StepStatus, bool]]:
    """Mark the first row of each step: the graph leads to it."""
    seen = set[str]()
    return [(each, each.step not in seen and not seen.add(each.step)) for each in steps]  # type: ignore[func-returns-value]


def _tries(rows: Sequence[StepProgress]) -> Mapping[str, list[StepProgress]]:
    """Map the name of a step to how far it and its undo are, if they were tried more than once."""
    found: dict[str, list[StepProgress]] = {}
    for row in rows:
        if len(row.log) > 1:
            found.setdefault(row.step, []).append(row)
    return found
