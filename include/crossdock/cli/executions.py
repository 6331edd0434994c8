"""./hub workflow execute, status, executions, cancel, retry: what becomes of declared workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdock.cli import console, repeatable
from crossdock.cli.exit_codes import Exit
from crossdock.cli.instants import shown
from crossdock.cli.journeys import Most, show_journey
from crossdock.cli.options import Json
from crossdock.cli.repeatable import Key
from crossdock.cli.session import hub_api
from crossdock.cli.workflows import WorkflowId, app, read_document
from crossdock.client.dag_runs import wait_for
from crossdock.core.errors import BadRequest
from crossdock.core.pages import LARGEST_PAGE
from crossdock.core.paths import path_of

__all__ = ["app"]

ExecutionId = Annotated[str, typer.Argument(help="The ID, as ./hub workflow executions shows it.")]
Reason = Annotated[str, typer.Option(help="Why. Kept in the audit trail.")]

#: What stands for words that this user may not read, or not now.
_MASK = "***"
_LONGEST_WATCH_S = 3600.0
#: Who cancelled an execution that came to a `cancel`, as the API says it.
_BY_ITSELF = "the workflow"


@app.command("execute")
def execute(
    workflow_id: WorkflowId,
    params: Annotated[
        Path | None, typer.Option("--params", help="YAML or JSON: param → value. Others are their defaults.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE; VALUE is JSON, or a text.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch it to its end, or until a person has to decide (exit code 4).")
    ] = False,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Execute the version of a workflow that is deployed.

    Example: ./hub workflow execute low_stock_alert -p sku=WB-001 --wait
    """
    given = {**(read_document(params) if params is not None else {}), **dict(map(_param, param or []))}
    started = repeatable.send(path_of("workflows", workflow_id, "execute"), {"params": given}, key)
    if not wait:
        if as_json:
            console.show_json(started)
            return
        console.success(f"Started: {started['execution_id']}")
        console.show(f"To see how far it is: ./hub workflow status {started['execution_id']}")
        return
    _show_status(_watched(started["execution_id"]), as_json=as_json)


@app.command("status")
def status(
    execution_id: ExecutionId,
    wait: Annotated[
        bool, typer.Option("--wait", help="Watch it to its end, or until a person has to decide (exit code 4).")
    ] = False,
    as_json: Json = False,
) -> None:
    """
    See how far an execution is, step by step.

    Example: ./hub workflow status exe_0123456789abcdef0123456789abcdef
    """
    _show_status(_watched(execution_id) if wait else _status(execution_id), as_json=as_json)


@app.command("executions")
def executions(
    workflow_id: Annotated[str | None, typer.Argument(help="Only of this workflow.")] = None,
    state: Annotated[str | None, typer.Option(help="RUNNING, COMPLETED, FAILED or CANCELLED.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=console.MOST_LISTED, help="How many to show.")] = 50,
    as_json: Json = False,
) -> None:
    """
    List executions, the newest first.

    Example: ./hub workflow executions order_flow --state FAILED
    """
    found = hub_api().pages("/executions", "executions", limit=limit, workflow_id=workflow_id, state=state)
    if as_json:
        console.show_json({"executions": found, "has_more": found.has_more})
        return
    rows = [
        [
            each["execution_id"],
            each["workflow_id"],
            each["version"],
            each["state"],
            each["started_at"][:19],
            each["reason"] or "",
        ]
        for each in found
    ]
    empty = "There is no execution yet. To start one: ./hub workflow execute ID"
    console.show_table("Executions", ("id", "workflow", "version", "state", "started", "why"), rows, empty=empty)
    console.say_if_cut(len(found), has_more=found.has_more)


@app.command("trace")
def trace(execution_id: ExecutionId, limit: Most = LARGEST_PAGE, as_json: Json = False) -> None:
    """
    Show all that happened to an execution, in time order: tries, calls, what each step put out, runs, what people did.

    Example: ./hub workflow trace exe_0123456789abcdef0123456789abcdef
    """
    show_journey("execution", execution_id, platform=None, since=None, limit=limit, as_json=as_json)


@app.command("cancel")
def cancel(execution_id: ExecutionId, reason: Reason, key: Key = None, as_json: Json = False) -> None:
    """
    Cancel an execution: all that has an undo is undone, also when it is completed.

    Example: ./hub workflow cancel exe_0123456789abcdef0123456789abcdef --reason "wrong order"
    """
    _show_status(
        repeatable.send(path_of("executions", execution_id, "cancel"), {"reason": reason}, key),
        as_json=as_json,
        ends=False,
    )


@app.command("retry")
def retry(
    execution_id: ExecutionId,
    reason: Reason,
    deployed: Annotated[bool, typer.Option("--deployed", help="With the version that is deployed now.")] = False,
    params: Annotated[
        Path | None, typer.Option("--params", help="YAML or JSON: other params than it was given.")
    ] = None,
    key: Key = None,
    as_json: Json = False,
) -> None:
    """
    Retry the step for which an execution failed. What is done stays done; one that was undone begins anew.

    Example: ./hub workflow retry exe_0123456789abcdef0123456789abcdef --reason "the mailer is back"
    """
    body: dict[str, Any] = {"reason": reason, "version": "deployed" if deployed else "same"}
    if params is not None:
        body["params"] = read_document(params)
    _show_status(repeatable.send(path_of("executions", execution_id, "retry"), body, key), as_json=as_json, ends=False)


def _status(execution_id: str) -> dict[str, Any]:
    found: dict[str, Any] = hub_api().get(path_of("executions", execution_id, "status")).document
    return found


def _watched(execution_id: str) -> dict[str, Any]:
    """Show each change of a step until the execution has ended, or waits for a person."""
    said: dict[str, tuple[str, int]] = {}

    def ended() -> dict[str, Any] | None:
        found = _status(execution_id)
        for step in found["steps"]:
            now = (step["state"], step["retries"])
            if step["state"] not in ("PENDING", "SKIPPED") and said.get(step["name"]) != now:
                said[step["name"]] = now
                console.say(f"{step['name']}: {step['state']}" + (f", {step['message']}" if step["message"] else ""))
        return found if found["state"] != "RUNNING" or found["asks"] else None

    return wait_for(ended, f"execution {execution_id}", _LONGEST_WATCH_S)


def _show_status(found: dict[str, Any], *, as_json: bool, ends: bool = True) -> None:
    """
    Show an execution with its steps.

    With *ends*, one that waits for a person, that has failed, or that a person cancelled, ends the command with its exit code.
    """
    if as_json:
        console.show_json(found)
    else:
        rows = [
            [step["name"], step["state"], step["retries"], (step["began_at"] or "")[11:19], step["message"] or ""]
            for step in found["steps"]
        ]
        title = f"{found['execution_id']}: {found['workflow_id']} version {found['version']} is {found['state']}"
        console.show_table(title, ("step", "state", "retries", "began", "why"), rows, empty="It has no step")
        for decided in found.get("decided", ()):  # not in an answer that an older hub stored with its key
            console.show(
                f"{decided['question']} {decided['choice']}: {decided['decided_by']}, {shown(decided['decided_at'])}"
            )
        if found.get("reason_given") not in (None, _MASK):
            console.show(found["reason_given"], heading="reason given ")
        if found["not_undone"]:
            console.show(f"Not undone, as they have no undo: {', '.join(found['not_undone'])}")
        if found["retried_as"]:
            console.show(f"It was retried as {found['retried_as']}")
        for asked in found["asks"]:
            console.show(
                f"A person has to decide: {asked['question']} One of {', '.join(asked['choices'])}. To see the values: "
                f"./hub decisions show {asked['decision_id']}. To decide: ./hub decisions decide {asked['decision_id']} "
                f"{asked['choices'][0]} --reason …"
            )
        if found["waits_for"]:
            console.show("If its step has failed for good: ./hub dead-letters list")
    if ends and found["asks"]:
        raise typer.Exit(Exit.PERSON_NEEDED)
    if ends and _has_failed(found):
        raise typer.Exit(Exit.FAILED)


def _has_failed(found: dict[str, Any]) -> bool:
    """Check whether an execution ended as its workflow does not foresee."""
    is_foreseen = found["state"] == "CANCELLED" and found["cancelled_by"] == _BY_ITSELF
    return found["state"] in ("FAILED", "CANCELLED") and not is_foreseen


def _param(given: str) -> tuple[str, Any]:
    name, sign, value = given.partition("=")
    if not sign:
        raise BadRequest(f"--param {given}: expected NAME=VALUE")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
