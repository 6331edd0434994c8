"""The editor of workflows: a text with its problems and its graph as one types, and its test run step by step."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response

from crossdock.api.access import guard
from crossdock.api.dependencies import OpenStore, Router
from crossdock.app import workflows
from crossdock.app.workflow_catalog import WorkflowCatalog, registered
from crossdock.core.errors import BadRequest, Conflict
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.web import workflow_words
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show
from crossdock.web.workflow_graph import graph_of
from crossdock.web.workflows import Version, WorkflowId
from crossdock.workflows.declared import document, service
from crossdock.workflows.declared.repository import StoredVersion
from crossdock.workflows.declared.trial_model import Trial
from crossdock.workflows.declared.validator import InvalidWorkflow, Validated, validate

router = Router()

Developer = Annotated[Caller, guard(Role.DEVELOPER)]
#: As of `POST /workflows`.
_LONGEST = 64_000


@router.get("/workflow-editor")
def new(request: Request, store: OpenStore, caller: Developer) -> HTMLResponse:
    """Begin a workflow with an example."""
    return _editor(request, store, caller, _example(), of=None)


@router.get("/workflows/{workflow_id}/edit")
def edit(
    request: Request, store: OpenStore, caller: Developer, workflow_id: WorkflowId, version: Version = None
) -> HTMLResponse:
    """Begin the next version with the text of the newest, or of one that is named."""
    newest = service.version_of(store, workflow_id, None)
    of = newest if version is None else service.version_of(store, workflow_id, version)
    return _editor(request, store, caller, _next_version(of, newest.version + 1), of=of)


@router.post("/workflow-checks")
def check(request: Request, store: OpenStore, caller: Developer, form: Posted) -> HTMLResponse:
    """Say what is wrong with a text as it is typed now, and draw its graph. Nothing is stored."""
    text = form.lines("definition", most=_LONGEST)
    found = validate(text, registered(store))
    return show(request, caller, "workflow_verdict.html", **_verdict(text, found))


@router.post("/workflows")
def add(request: Request, store: OpenStore, caller: Developer, form: Posted) -> Response:
    """Store the text as a version. What is wrong with it is shown beside it, and the text stays as it was typed."""
    text = form.lines("definition", most=_LONGEST)
    catalog = registered(store)
    try:
        added = service.add(store, text, catalog, actor=caller.actor).version
    except (InvalidWorkflow, Conflict) as error:
        refused = None if isinstance(error, InvalidWorkflow) else str(error)
        answer = _editor(request, store, caller, text, of=None, refused=refused)
        answer.status_code = 409 if refused else 400
        return answer
    return go_to(request, "workflows", added.workflow_id, "test")


@router.get("/workflows/{workflow_id}/test")
def ask_answers(
    request: Request, store: OpenStore, caller: Developer, workflow_id: WorkflowId, version: Version = None
) -> HTMLResponse:
    """Ask for the params and answers of a test run."""
    stored = service.version_of(store, workflow_id, version)
    return _test_page(request, caller, stored)


@router.post("/workflows/{workflow_id}/test")
def test(request: Request, store: OpenStore, caller: Developer, workflow_id: WorkflowId, form: Posted) -> HTMLResponse:
    """Run all steps with no effect outside, and show each."""
    stored = service.version_of(store, workflow_id, form.number("version"))
    trial, refused = None, None
    try:
        trial = service.test_run(
            store,
            WorkflowCatalog(),
            workflow_id,
            stored.version,
            params=form.yaml("params"),
            given=form.yaml("answers"),
            actor=caller.actor,
        )
    except BadRequest as error:
        refused = str(error)
    texts = {name: form.text(name, most=_LONGEST) for name in ("params", "answers")}
    return _test_page(request, caller, stored, trial=trial, refused=refused, **texts)


def _editor(
    request: Request,
    store: Store,
    caller: Caller,
    text: str,
    *,
    of: StoredVersion | None,
    refused: str | None = None,
) -> HTMLResponse:
    catalog = registered(store)
    found = validate(text, catalog)
    return show(
        request,
        caller,
        "workflow_editor.html",
        of=of,
        text=text,
        refused=refused,
        words=workflow_words.words_of(catalog, workflow_words.integrations_of(catalog.kinds, found.workflow)),
        **_verdict(text, found),
    )


def _verdict(text: str, found: Validated) -> dict[str, Any]:
    read, _ = document.read(text)
    return {
        "findings": found.findings,
        "warnings": found.warnings,
        "workflow": found.workflow,
        "graph": graph_of(found.workflow, read.line_of) if found.workflow is not None else None,
    }


def _test_page(
    request: Request,
    caller: Caller,
    stored: StoredVersion,
    *,
    trial: Trial | None = None,
    refused: str | None = None,
    params: str = "",
    answers: str = "",
) -> HTMLResponse:
    workflow = workflows.read(stored.definition)
    return show(
        request,
        caller,
        "workflow_test.html",
        stored=stored,
        workflow=workflow,
        graph=graph_of(workflow),
        states={step.step: step.state for step in trial.steps} if trial else {},
        trial=trial,
        refused=refused,
        params=params,
        answers=answers,
    )


def _example() -> str:
    return (files("crossdock.web") / "example_workflow.yaml").read_text()


def _next_version(of: StoredVersion, version: int) -> str:
    """Write the number of the next version into a text, where it has a line of its own."""
    lines = of.definition.splitlines(keepends=True)
    own = [number for number, line in enumerate(lines) if line.startswith("version:")]
    if len(own) == 1:
        lines[own[0]] = f"version: {version}\n"
    return "".join(lines)
