"""./hub workflow …: workflows that people declare in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.command_groups import CommandGroup
from crossdock.cli.exit_codes import Exit
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

if TYPE_CHECKING:
    from crossdock.workflows.declared.model import Workflow

app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    help="Workflows that people declare in a file: validate, test, deploy, execute, watch.",
)

File = Annotated[Path, typer.Argument(help="A definition, YAML or JSON.")]
FileOrId = Annotated[str, typer.Argument(help="A definition, YAML or JSON, or the ID of a stored workflow.")]
WorkflowId = Annotated[str, typer.Argument(help="The ID, as ./hub workflow list shows it.")]
Version = Annotated[int | None, typer.Option("--version", min=1, help="The newest by default.")]


@app.command("validate")
def validate_file(file: File, as_json: Json = False) -> None:
    """
    Validate a workflow file; reports every mistake with its line.

    It works offline: each integration counts as registered and tested. What is allowed and probably not meant is a warning: a step
    that reads another one that may be skipped, a write that nothing undoes.

    Example: ./hub workflow validate docs/workflows/order_flow.yaml
    """
    found, warnings = _validated(file)
    steps = len(list(found.steps()))
    if as_json:
        console.show_json({"id": found.id, "version": found.version, "steps": steps, "warnings": warnings})
        return
    console.success(f"{found.id} is valid: version {found.version}, steps: {steps}")
    _warn(warnings)


def _warn(warnings: list[dict[str, Any]]) -> None:
    """Say what is allowed and probably not meant."""
    for each in warnings:
        console.notice(f"line {each['line']}: {each['pointer']}: {each['message']} [{each['rule']}]")


@app.command("test")
def test(
    workflow: FileOrId,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers", help="YAML or JSON: step → list of {status, output, message, delay_s}, one for each try."
        ),
    ] = None,
    params: Annotated[
        Path | None,
        typer.Option("--params", help="YAML or JSON: param → value. Others are their defaults, or samples."),
    ] = None,
    version: Version = None,
    as_json: Json = False,
) -> None:
    """
    Run all steps of a workflow with no effect outside: against your answers, or else samples of the connectors.

    Waits take no time. A file is tested offline; of an ID the stored version, which can be deployed once its test run has
    completed. With --json it shows each try's request and answer, and each expression.

    Example: ./hub workflow test docs/workflows/refund_with_approval.yaml --answers docs/workflows/refund_with_approval.answers.yaml
    """
    if (file := _file_of(workflow)) is not None:
        found = _tested_here(file, answers, params)
    else:
        body = {
            "version": version,
            "params": read_document(params) if params is not None else {},
            "answers": read_document(answers) if answers is not None else {},
        }
        found = hub_api().post(path_of("workflows", workflow, "test"), body).document
    _show(found, as_json=as_json)
    if found["state"] == "FAILED":
        raise typer.Exit(Exit.FAILED)


def _tested_here(file: Path, answers: Path | None, params: Path | None) -> dict[str, Any]:
    from dataclasses import asdict  # noqa: PLC0415  only these commands need it

    from crossdock.app.workflow_catalog import WorkflowCatalog  # noqa: PLC0415
    from crossdock.workflows.declared import answers as given  # noqa: PLC0415
    from crossdock.workflows.declared import trial  # noqa: PLC0415

    workflow = _valid(file)
    found = trial.run(
        workflow,
        WorkflowCatalog(),
        given.read_params(_text(params), workflow) if params is not None else {},
        given.read(_text(answers), workflow) if answers is not None else {},
    )
    return asdict(found)


@app.command("deploy")
def deploy(workflow: FileOrId, version: Version = None, key: Key = None, as_json: Json = False) -> None:
    """
    Deploy a version of a workflow: new executions begin with it, and it is a DAG of its own within seconds.

    Of a file, it is stored, tested on samples and deployed. Of an ID, the version that is stored, the newest by default.

    Example: ./hub workflow deploy docs/workflows/order_flow.yaml
    """
    hub = hub_api()
    if (file := _file_of(workflow)) is not None:
        added = repeatable.send(path_of("workflows"), {"definition": _text(file)}, key)
        workflow, version = added["workflow_id"], added["version"]
        _warn(added["warnings"])
        tried = hub.post(path_of("workflows", workflow, "test"), {"version": version}).document
        if tried["state"] != "COMPLETED":
            ended = "failed" if tried["state"] == "FAILED" else "was cancelled"
            console.error(f"The test run of {workflow} on samples {ended}: {tried['message']}")
            console.say(f"Test it with answers, then deploy its ID: ./hub workflow test {workflow} --answers FILE")
            raise typer.Exit(Exit.FAILED)
    deployed = hub.put(path_of("workflows", workflow, "deploy"), {"version": version}).document
    if as_json:
        console.show_json(deployed)
        return
    console.success(
        f"{deployed['workflow_id']} version {deployed['version']} is {deployed['state']}: the DAG {deployed['dag_id']}"
    )


@app.command("undeploy")
def undeploy(workflow_id: WorkflowId, as_json: Json = False) -> None:
    """
    Have no new execution of a workflow begin. Those that run go on, and its versions stay.

    Example: ./hub workflow undeploy low_stock_alert
    """
    hub_api().delete(path_of("workflows", workflow_id, "deploy"), if_match=None)
    if as_json:
        console.show_json({"workflow_id": workflow_id, "state": "UNDEPLOYED"})
        return
    console.success(f"{workflow_id} is not deployed any more")


@app.command("add")
def add(file: File, key: Key = None, as_json: Json = False) -> None:
    """
    Store a workflow file as a version, which never changes. The hub validates it against its registry.

    Example: ./hub workflow add docs/workflows/order_flow.yaml
    """
    added = repeatable.send(path_of("workflows"), {"definition": _text(file)}, key)
    if as_json:
        console.show_json(added)
        return
    console.success(f"{added['workflow_id']} has version {added['version']}")
    _warn(added["warnings"])


@app.command("list")
def list_all(as_json: Json = False) -> None:
    """
    List workflows with their newest version.

    Example: ./hub workflow list
    """
    found = hub_api().pages("/workflows", "workflows")
    if as_json:
        console.show_json({"workflows": found})
        return
    rows = [
        [
            each["workflow_id"],
            each["version"],
            str(each["deployed"] or "none"),
            each["title"],
            each["created_at"][:19],
            each["created_by"],
        ]
        for each in found
    ]
    empty = "There is no workflow yet. To add one: ./hub workflow add FILE"
    console.show_table("Workflows", ("id", "newest", "deployed", "title", "added", "by"), rows, empty=empty)


@app.command("diff")
def diff(
    workflow_id: WorkflowId,
    before: Annotated[int, typer.Argument(min=1, help="A version.")],
    after: Annotated[int, typer.Argument(min=1, help="Another version.")],
    as_json: Json = False,
) -> None:
    """
    Compare two versions of a workflow, line by line.

    Example: ./hub workflow diff order_flow 1 2
    """
    found = hub_api().get(path_of("workflows", workflow_id, "diff"), before=before, after=after).document
    if as_json:
        console.show_json(found)
        return
    for line in found["diff"].splitlines() or ["The versions are equal"]:
        console.show(f"  {line}")  # indented, no line of a text looks like one of ours


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        console.show_json(found)
        return
    rows: list[list[Any]] = [
        [
            f"undo of {step['step']}" if step["is_undo"] else step["step"],
            step["state"],
            f"{step['began_at_s']:g} s",
            max(len(step["tries"]) - 1, 0),
            step["message"] or "",
        ]
        for step in found["steps"]
    ]
    console.show_table(
        f"{found['state']} after {found['lasted_s']:g} s; nothing was called",
        ("step", "state", "at", "retries", "why"),
        rows,
        empty="The workflow has no step",
    )


def read_document(file: Path) -> dict[str, Any]:
    """Read a file of params or answers."""
    from crossdock.core import yaml_document  # noqa: PLC0415  only these commands need it

    value, _, mistakes = yaml_document.numbered(_text(file))
    if mistakes or not isinstance(value, dict):
        raise BadRequest(f"{file} is not valid: {mistakes[0] if mistakes else 'expected an object'}")
    return value


def _file_of(workflow: str) -> Path | None:
    """Read what was named as a file, also one that is not there: an ID has no dot. None for an ID."""
    file = Path(workflow)
    return file if file.suffix or file.is_file() else None


def _valid(file: Path) -> Workflow:
    return _validated(file)[0]


def _validated(file: Path) -> tuple[Workflow, list[dict[str, Any]]]:
    """Read a valid file; give what is allowed in it and probably not meant beside it."""
    from dataclasses import asdict  # noqa: PLC0415  only these commands need it

    from crossdock.app.workflow_catalog import WorkflowCatalog  # noqa: PLC0415  only these commands need it
    from crossdock.workflows.declared.validator import InvalidWorkflow, validate  # noqa: PLC0415

    found = validate(_text(file), WorkflowCatalog())
    if found.workflow is None or found.findings:
        raise InvalidWorkflow(str(file), found.findings)
    return found.workflow, [asdict(each) for each in found.warnings]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{file} cannot be read: it is not UTF-8") from error
