"""Routes of executions of declared workflows: see how far one is, cancel it, retry it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit, cursor_at, cursor_like, position_of
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import WithReason, not_there
from crossdock.app.personal_data import masked, reveal
from crossdock.app.workflow_requests import flows
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store, Work
from crossdock.observability import decisions
from crossdock.workflows import service as engine
from crossdock.workflows.declared import executions
from crossdock.workflows.declared.executions import State
from crossdock.workflows.declared.flow import version_in
from crossdock.workflows.declared.route import ShownState
from crossdock.workflows.model import Execution

router = Router(prefix="/executions", tags=["workflows"])

_NO_EXECUTION = not_there("execution")
ExecutionId = Annotated[str, Path(pattern=r"^exe_[0-9a-f]{32}$")]
_WORKFLOW_ID = r"^[a-z][a-z0-9_]{1,62}$"
Operator = Annotated[Caller, guard(Role.OPERATOR)]
#: A person's own words may name a customer.
_PERSONAL = frozenset({"reason_given"})


class ExecutionDocument(BaseModel):
    execution_id: str
    workflow_id: str
    version: int
    state: State
    dag_run_id: str = Field(description="The run of the workflow's DAG, if it has one.")
    reason: str | None = Field(description="Why it was undone; null if it was not.")
    waits_for: str | None = Field(description="The step that a person has to decide about; null if nobody has to.")
    started_at: datetime
    started_by: str
    ended_at: datetime | None


class StepStatusDocument(BaseModel):
    step: str
    name: str = Field(description="Which one of several: `write[3]` in a loop, `tell@check` in the handler of `check`.")
    state: ShownState
    retries: int = Field(description="How often it was tried after its first time.")
    message: str | None = Field(description="Why the last try did not succeed, or what it waits for.")
    began_at: datetime | None
    ended_at: datetime | None
    next_try_at: datetime | None


class AskedDocument(BaseModel):
    """A question that waits for a person."""

    decision_id: int
    question: str
    choices: list[str]


class DecidedDocument(BaseModel):
    """What a person decided about it. Why, in their own words, is in the audit trail."""

    decision_id: int
    question: str
    choice: str
    decided_by: str
    decided_at: datetime


class StatusDocument(ExecutionDocument):
    """How far an execution is."""

    retried_as: str | None = Field(
        description="Of one that is undone: the execution that took its place when it was retried, or its dead letter replayed."
    )
    asks: list[AskedDocument] = Field(description="What a person has to decide for it to go on.")
    decided: list[DecidedDocument] = Field(description="What people have decided about it: the first 100.")
    cancelled_by: str | None = Field(
        description="Who cancelled it: a person, or `the workflow` itself where it came to a `cancel`; null if nobody did."
    )
    reason_given: str | None = Field(
        description="Why a person had it cancelled, in their own words; masked while it is undone, and for all but operators and administrators."
    )
    not_undone: list[str] = Field(
        description="Of one that is undone: the steps that wrote, and stay, because they have no `undo`."
    )
    steps: list[StepStatusDocument]


class ExecutionsPage(BaseModel):
    executions: list[ExecutionDocument] = Field(description="The newest first.")
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class RetryExecutionRequest(WithReason):
    """Why it is retried, and with what."""

    version: Literal["same", "deployed"] = Field(
        "same", description="The version that it began with, or the one that is deployed now."
    )
    params: dict[str, Any] | None = Field(None, description="Other params than it was given; null for the same.")


@router.get("", summary="List executions of workflows, newest first", dependencies=[guard(Role.VIEWER)])
def list_executions(
    store: OpenStore,
    workflow_id: Annotated[str | None, Query(pattern=_WORKFLOW_ID)] = None,
    state: Annotated[State | None, Query()] = None,
    cursor: Annotated[str | None, cursor_like(r"^[0-9]{1,17}-exe_[0-9a-f]{32}$")] = None,
    limit: Limit = 100,
) -> ExecutionsPage:
    before = position_of(cursor) if cursor else None
    with store.transaction() as work:
        found = executions.find(work, workflow_id=workflow_id, state=state, before=before, limit=limit + 1)
    page = found[:limit]
    return ExecutionsPage(
        executions=[ExecutionDocument(**_fields(each)) for each in page],
        next_cursor=cursor_at(page[-1].created_at, page[-1].execution_id) if len(found) > limit else None,
    )


@router.get(
    "/{execution_id}/status",
    summary="See how far an execution is",
    responses=_NO_EXECUTION,
)
def execution_status(
    store: OpenStore, execution_id: ExecutionId, caller: Annotated[Caller, guard(Role.VIEWER)]
) -> StatusDocument:
    """FAILED: a step has failed for good, and all is undone, or the execution waits for a person. It can be retried."""
    with store.transaction() as work:
        found = _status(work, execution_id)
    if found.state is State.RUNNING:  # It is polled, and each look that shows something is in the audit trail.
        return _without_person(found)
    shown = found.model_dump()
    return found if reveal(store, caller, f"execution/{execution_id}", shown, _PERSONAL) else _without_person(found)


@router.post(
    "/{execution_id}/cancel",
    summary="Cancel an execution",
    response_model=StatusDocument,
    responses=_NO_EXECUTION | KEYED,
)
def cancel_execution(
    store: OpenStore, execution_id: ExecutionId, body: WithReason, caller: Operator, request: OneEffect
) -> Response:
    """Have all undone that it did, also when it is completed."""

    def effect() -> StatusDocument:
        executions.cancel(store, execution_id, reason=body.reason, actor=caller.actor)
        return _read_masked(store, execution_id)

    return request.once(effect)


@router.post(
    "/{execution_id}/retry",
    summary="Retry the step for which an execution failed",
    response_model=StatusDocument,
    responses=_NO_EXECUTION | KEYED | documented(400, 409),
)
def retry_execution(
    store: OpenStore, execution_id: ExecutionId, body: RetryExecutionRequest, caller: Operator, request: OneEffect
) -> Response:
    """
    One that waits for a person goes on where it is: what is done stays done.

    One that was undone begins anew: the answer is the new execution. Of one that waits for the time of its next try, that is now.
    """

    def effect() -> StatusDocument:
        retried = executions.retry(
            store,
            flows(),
            execution_id,
            newest=body.version == "deployed",
            params=body.params,
            reason=body.reason,
            actor=caller.actor,
        )
        return _read_masked(store, retried.execution_id)

    return request.once(effect)


def _fields(execution: Execution) -> dict[str, Any]:
    workflow_id, version = version_in(execution.flow) or ("", 0)
    return {
        "execution_id": execution.execution_id,
        "workflow_id": workflow_id,
        "version": version,
        "state": executions.state_of(execution),
        "dag_run_id": executions.run_id_of(execution),
        "reason": execution.reason,
        "waits_for": execution.waits_for,
        "started_at": execution.created_at,
        "started_by": execution.created_by,
        "ended_at": execution.ended_at,
    }


def _read_masked(store: Store, execution_id: str) -> StatusDocument:
    with store.transaction() as work:
        return _without_person(_status(work, execution_id))


def _without_person(document: StatusDocument) -> StatusDocument:
    return StatusDocument(**masked(document.model_dump(), _PERSONAL))


def _status(work: Work, execution_id: str) -> StatusDocument:
    found = executions.status(work, flows(), execution_id)
    asked = decisions.find(work, about=execution_id, is_open=True)
    decided = decisions.find(work, about=execution_id, is_open=False)
    anew = executions.retried_as(work, found.execution)
    steps = [
        StepStatusDocument(
            step=each.step,
            name=each.name,
            state=each.state,
            retries=each.retries,
            message=each.message,
            began_at=each.began_at,
            ended_at=each.ended_at,
            next_try_at=each.next_try_at,
        )
        for each in found.steps
    ]
    return StatusDocument(
        **_fields(found.execution),
        cancelled_by=found.execution.cancelled_by,
        retried_as=anew.execution_id if anew is not None else None,
        asks=[
            AskedDocument(decision_id=each.decision_id, question=each.question, choices=list(each.choices))
            for each in asked
        ],
        decided=[
            DecidedDocument(**{name: getattr(each, name) for name in DecidedDocument.model_fields}) for each in decided
        ],
        reason_given=engine.words_of_cancellation(work, found.execution),
        not_undone=list(found.not_undone),
        steps=steps,
    )
