"""Routes of declared workflows: store versions, compare them, run one as a test."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Response
from pydantic import BaseModel, Field

from crossdock.api.access import guard
from crossdock.api.definitions import start_run, workflows_changed
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, OneEffect
from crossdock.api.pagination import Limit
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.selection import Strict, not_there
from crossdock.app import workflow_requests
from crossdock.app.workflow_catalog import WorkflowCatalog, registered
from crossdock.core.ids import workflow_dag
from crossdock.core.roles import Caller, Role
from crossdock.workflows.declared import executions, repository, service
from crossdock.workflows.declared.answers import Status
from crossdock.workflows.declared.executions import State
from crossdock.workflows.declared.model import Caution
from crossdock.workflows.declared.repository import StoredVersion
from crossdock.workflows.declared.trial_model import StepState, TrialState
from crossdock.workflows.model import Driver

router = Router(prefix="/workflows", tags=["workflows"])

_ID = r"^[a-z][a-z0-9_]{1,62}$"
_NO_WORKFLOW = not_there("workflow")
WorkflowId = Annotated[str, Path(pattern=_ID)]
Version = Annotated[int, Query(ge=1, le=1_000_000)]


class NewWorkflow(Strict):
    # Escaped, one character is up to 12 bytes of JSON: with more, the body would be refused for its size (413), not this field.
    definition: str = Field(max_length=64_000, description="The definition, YAML or JSON, as text.")


class VersionDocument(BaseModel):
    workflow_id: str
    version: int
    title: str
    created_at: datetime
    created_by: str


class ListedWorkflowDocument(VersionDocument):
    """The newest version of a workflow."""

    deployed: int | None = Field(description="The version that is deployed; null if none is.")


class WarningDocument(BaseModel):
    rule: Caution
    line: int
    pointer: str = Field(description="JSON pointer into the definition.")
    message: str


class AddedDocument(VersionDocument):
    warnings: list[WarningDocument] = Field(
        description="What the hub does not refuse, and the definition probably does not mean."
    )


class WorkflowDocument(VersionDocument):
    definition: str = Field(description="As it was written.")
    versions: list[int] = Field(description="All versions, the newest first.")


class WorkflowsPage(BaseModel):
    workflows: list[ListedWorkflowDocument] = Field(description="The newest version of each.")
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class DiffDocument(BaseModel):
    diff: str = Field(description="A unified diff of the two texts; empty if they are equal.")


class TestRequest(Strict):
    version: int | None = Field(None, ge=1, le=1_000_000, description="The newest by default.")
    params: dict[str, Any] = Field({}, description="Param → value; others are their defaults, or samples.")
    answers: dict[str, Any] = Field(
        {}, description="Step → list of `{status, output, message, delay_s}`, one for each try; then samples."
    )


class DeployRequest(Strict):
    version: int | None = Field(None, ge=1, le=1_000_000, description="The newest by default.")


class DeploymentDocument(BaseModel):
    workflow_id: str
    version: int
    state: Literal["ACTIVE"]
    dag_id: str = Field(description="Its DAG in Airflow.")
    deployed_at: datetime
    deployed_by: str


class ExecuteRequest(Strict):
    params: dict[str, Any] = Field({}, description="Param → value; others are their defaults.")


class StartedDocument(BaseModel):
    execution_id: str
    dag_run_id: str = Field(description="The run of the workflow's DAG.")
    state: State


class AnswerDocument(BaseModel):
    status: Status
    output: Any
    message: str | None
    delay_s: float
    is_sample: bool


class TriedDocument(BaseModel):
    at_s: float
    request: dict[str, Any] | None = Field(description="What the connector would be given.")
    answer: AnswerDocument


class EvaluatedDocument(BaseModel):
    at: str = Field(description="JSON pointer into the definition.")
    expression: str
    value: Any


class TrialStepDocument(BaseModel):
    step: str
    state: StepState
    is_undo: bool
    began_at_s: float
    ended_at_s: float
    input: Any
    output: Any
    message: str | None
    tries: list[TriedDocument]
    expressions: list[EvaluatedDocument]


class TrialDocument(BaseModel):
    """A test run. Nothing was called."""

    state: TrialState
    message: str | None
    params: dict[str, Any]
    steps: list[TrialStepDocument] = Field(description="In the order in which they ended.")
    lasted_s: float = Field(description="How long it would have taken.")


@router.get("", summary="List workflows", dependencies=[guard(Role.VIEWER)])
def list_workflows(
    store: OpenStore, limit: Limit = 100, cursor: Annotated[str | None, Query(pattern=_ID)] = None
) -> WorkflowsPage:
    with store.transaction() as work:
        found = repository.newest(work, after=cursor or "", limit=limit + 1)
        deployed = {
            each.workflow_id: each.version
            for each in repository.deployments(work, [version.workflow_id for version in found])
        }
    page = [
        ListedWorkflowDocument(**_version(each).model_dump(), deployed=deployed.get(each.workflow_id))
        for each in found[:limit]
    ]
    return WorkflowsPage(workflows=page, next_cursor=page[-1].workflow_id if len(found) > limit else None)


@router.post(
    "",
    summary="Add a version of a workflow",
    status_code=HTTPStatus.CREATED,
    response_model=AddedDocument,
    responses=KEYED | documented(400, 409),
)
def add_workflow(
    store: OpenStore, caller: Annotated[Caller, guard(Role.DEVELOPER)], request: OneEffect, body: NewWorkflow
) -> Response:
    """All mistakes are answered at once, each with its JSON pointer, and its line in the message."""

    def effect() -> AddedDocument:
        added = service.add(store, body.definition, registered(store), actor=caller.actor)
        warnings = [WarningDocument(**asdict(each)) for each in added.warnings]
        return AddedDocument(**_version(added.version).model_dump(), warnings=warnings)

    return request.once(effect)


@router.get("/{workflow_id}", summary="Get a workflow", responses=_NO_WORKFLOW, dependencies=[guard(Role.VIEWER)])
def show_workflow(store: OpenStore, workflow_id: WorkflowId, version: Version | None = None) -> WorkflowDocument:
    """Show the newest version, or the one that is named."""
    known = [each.version for each in service.versions(store, workflow_id)]
    found = service.version_of(store, workflow_id, version)
    return WorkflowDocument(**_version(found).model_dump(), definition=found.definition, versions=known)


@router.get(
    "/{workflow_id}/diff",
    summary="Compare two versions of a workflow",
    responses=_NO_WORKFLOW,
    dependencies=[guard(Role.VIEWER)],
)
def diff_workflow(store: OpenStore, workflow_id: WorkflowId, before: Version, after: Version) -> DiffDocument:
    return DiffDocument(diff=service.diff(store, workflow_id, before, after))


@router.post(
    "/{workflow_id}/test",
    summary="Run all steps of a workflow with no effect outside",
    responses=_NO_WORKFLOW | documented(400),
)
def test_workflow(
    store: OpenStore, caller: Annotated[Caller, guard(Role.DEVELOPER)], workflow_id: WorkflowId, body: TestRequest
) -> TrialDocument:
    """
    Nothing is called: actions answer as given, or with samples that their schemas take.

    Only that a version has completed a test run is stored: without it, it is not deployed.
    """
    found = service.test_run(
        store,
        WorkflowCatalog(),
        workflow_id,
        body.version,
        params=body.params,
        given=body.answers,
        actor=caller.actor,
    )
    return TrialDocument.model_validate(asdict(found))


@router.put(
    "/{workflow_id}/deploy",
    summary="Deploy a version of a workflow",
    responses=_NO_WORKFLOW | documented(409),
)
def deploy_workflow(
    store: OpenStore, caller: Annotated[Caller, guard(Role.OPERATOR)], workflow_id: WorkflowId, body: DeployRequest
) -> DeploymentDocument:
    """
    Have new executions begin with the version; those that run keep theirs. Its DAG is there within seconds.

    409 if the version has not completed a test run, or the hub does not take it any more. Deploying it again changes nothing.
    """
    deployed = service.deploy(store, registered(store), workflow_id, body.version, actor=caller.actor)
    workflows_changed(store)
    return DeploymentDocument(
        workflow_id=workflow_id,
        version=deployed.version,
        state="ACTIVE",
        dag_id=workflow_dag(workflow_id),
        deployed_at=deployed.deployed_at,
        deployed_by=deployed.deployed_by,
    )


@router.delete(
    "/{workflow_id}/deploy",
    summary="Deploy a workflow no more",
    status_code=HTTPStatus.NO_CONTENT,
    responses=_NO_WORKFLOW,
)
def undeploy_workflow(
    store: OpenStore, caller: Annotated[Caller, guard(Role.OPERATOR)], workflow_id: WorkflowId
) -> None:
    """Have no new execution begin; those that run go on to their end. Its DAG disappears, its versions stay."""
    service.undeploy(store, workflow_id, actor=caller.actor)
    workflows_changed(store)


@router.post(
    "/{workflow_id}/execute",
    summary="Execute a workflow",
    status_code=HTTPStatus.ACCEPTED,
    response_model=StartedDocument,
    responses=KEYED | _NO_WORKFLOW | documented(400, 409),
)
def execute_workflow(
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.USER)],
    request: OneEffect,
    workflow_id: WorkflowId,
    body: ExecuteRequest,
) -> Response:
    """
    Start an execution of the version that is deployed. How far it is, `GET /executions/{execution_id}/status` says.

    It is a run of the workflow's DAG; if Airflow cannot start one, it goes on without.
    """
    # The same for a repetition, so that it can start no second one.
    run_id = f"api__{request.effect_key[:32]}"

    def effect() -> StartedDocument:
        with store.transaction() as work:
            started = executions.execute(
                work,
                workflow_requests.flows(),
                workflow_id,
                body.params,
                run_id=run_id,
                driver=Driver.DAG,
                actor=caller.actor,
            )
        return StartedDocument(execution_id=started.execution_id, dag_run_id=run_id, state=State.RUNNING)

    answer = request.once(effect, lambda started: {"Location": f"/hub/v1/executions/{started.execution_id}/status"})
    execution_id = executions.execution_id_of(store, workflow_id, run_id)
    workflow_requests.start(store, execution_id, workflow_id, run_id, caller=caller, start_run=start_run)
    return answer


def _version(found: StoredVersion) -> VersionDocument:
    return VersionDocument(
        workflow_id=found.workflow_id,
        version=found.version,
        title=found.title,
        created_at=found.created_at,
        created_by=found.created_by,
    )
