"""Workflows: the list, and one with its text beside its graph, its versions, what a deployment changes; deploy and execute."""

from __future__ import annotations

from typing import Annotated
from uuid import uuid4

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router, start_run, workflows_changed
from crossdock.app import workflow_requests, workflows
from crossdock.app.workflow_catalog import registered
from crossdock.core.errors import Conflict
from crossdock.core.hints import Hint, HintId
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.web import param_form
from crossdock.web.executions import run_of
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show
from crossdock.web.workflow_graph import graph_of
from crossdock.workflows import repository as engine
from crossdock.workflows.declared import document, repository, service, validator
from crossdock.workflows.declared.repository import Deployment

router = Router()

ID = r"^[a-z][a-z0-9_]{1,62}$"
WorkflowId = Annotated[str, Path(pattern=ID)]
Version = Annotated[int | None, Query(ge=1, le=1_000_000)]
Viewer = Annotated[Caller, guard(Role.VIEWER)]
User = Annotated[Caller, guard(Role.USER)]
_ON_A_PAGE = 50
#: How many executions a workflow shows as bars.
_BARS = 30


@router.get("/workflows")
def list_workflows(
    request: Request, store: OpenStore, caller: Viewer, cursor: Annotated[str | None, Query(pattern=ID)] = None
) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.newest(work, after=cursor or "", limit=_ON_A_PAGE + 1)
        page = found[:_ON_A_PAGE]
        ids = [each.workflow_id for each in page]
        deployed = {each.workflow_id: each for each in repository.deployments(work, ids)}
        last = engine.last_of_each(work, ids, most=_BARS)
    return show(
        request,
        caller,
        "workflows.html",
        workflows=page,
        deployed=deployed,
        last=last,
        cursor=cursor,
        next_cursor=page[-1].workflow_id if len(found) > _ON_A_PAGE else None,
    )


@router.get("/workflows/{workflow_id}")
def workflow(
    request: Request, store: OpenStore, caller: Viewer, workflow_id: WorkflowId, version: Version = None
) -> HTMLResponse:
    """Show the newest version, or the one that is named."""
    versions = service.versions(store, workflow_id)
    shown = service.version_of(store, workflow_id, version)
    read, _ = document.read(shown.definition)
    with store.transaction() as work:
        last = engine.last_of_each(work, [workflow_id], most=_BARS)[workflow_id]
    return show(
        request,
        caller,
        "workflow.html",
        shown=shown,
        versions=versions,
        deployed=_deployed(store, workflow_id),
        last=last,
        graph=graph_of(document.workflow_of(read, []), read.line_of),
    )


@router.get("/workflows/{workflow_id}/deploy")
def checklist(
    request: Request, store: OpenStore, caller: Viewer, workflow_id: WorkflowId, version: Version = None
) -> HTMLResponse:
    """Show what stands between a version and its deployment, and what the deployment would change."""
    shown = service.version_of(store, workflow_id, version)
    catalog = registered(store)
    found = validator.validate(shown.definition, catalog)
    deployed = _deployed(store, workflow_id)
    named = workflows.read(shown.definition).integrations
    integrations = [
        (name, kind, catalog.kind_of(name) == kind, catalog.is_tested(name)) for name, kind in sorted(named.items())
    ]
    is_deployed = deployed is not None and deployed.version == shown.version
    return show(
        request,
        caller,
        "workflow_deploy.html",
        shown=shown,
        deployed=deployed,
        is_deployed=is_deployed,
        findings=found.findings,
        warnings=found.warnings,
        integrations=integrations,
        diff=service.compare(deployed, shown) if deployed and not is_deployed else "",
        is_ready=not found.findings
        and shown.tested_at is not None
        and all(is_there and is_tested for _, _, is_there, is_tested in integrations),
    )


@router.post("/workflows/{workflow_id}/deploy")
def deploy(
    request: Request,
    store: OpenStore,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    workflow_id: WorkflowId,
    form: Posted,
) -> RedirectResponse:
    """Have new executions begin with the version that the page showed."""
    service.deploy(store, registered(store), workflow_id, form.number("version"), actor=caller.actor)
    workflows_changed(store)
    return go_to(request, "workflows", workflow_id)


@router.get("/workflows/{workflow_id}/execute")
def ask_params(request: Request, store: OpenStore, caller: User, workflow_id: WorkflowId) -> HTMLResponse:
    """Ask for the params of the version that is deployed."""
    deployed = _deployed(store, workflow_id)
    if deployed is None:
        service.versions(store, workflow_id)
        return show(request, caller, "workflow_execute.html", workflow_id=workflow_id, deployed=None)
    return show(
        request,
        caller,
        "workflow_execute.html",
        workflow_id=workflow_id,
        deployed=deployed,
        fields=param_form.fields_of(workflows.read(deployed.definition)),
        attempt=uuid4().hex,
    )


@router.post("/workflows/{workflow_id}/execute")
def execute(
    request: Request, store: OpenStore, caller: User, workflow_id: WorkflowId, form: Posted
) -> RedirectResponse:
    deployed = _deployed(store, workflow_id)
    if deployed is None:
        raise Conflict(f"No version of {workflow_id} is deployed", hint=Hint(HintId.DEPLOY_WORKFLOW, workflow_id))
    params = param_form.read(form, workflows.read(deployed.definition))
    started = workflow_requests.execute(
        store, workflow_id, params, run_id=f"page__{run_of(form)}", caller=caller, start_run=start_run
    )
    return go_to(request, "executions", started.execution_id)


def _deployed(store: Store, workflow_id: str) -> Deployment | None:
    with store.transaction() as work:
        return next(iter(repository.deployments(work, [workflow_id])), None)
