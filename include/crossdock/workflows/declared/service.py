"""Use cases of declared workflows: store a version, compare two, test one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff
from typing import Any

from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.observability import audit
from crossdock.workflows.declared import answers, executions, mappings, repository, trial
from crossdock.workflows.declared.model import Finding, Workflow
from crossdock.workflows.declared.ports import Catalog
from crossdock.workflows.declared.repository import Deployment, StoredVersion
from crossdock.workflows.declared.trial_model import Trial, TrialState
from crossdock.workflows.declared.validator import InvalidWorkflow, validate


@dataclass(frozen=True)
class Added:
    """A stored version, and what is allowed in it and probably not meant."""

    version: StoredVersion
    warnings: tuple[Finding, ...]


def add(store: Store, definition: str, catalog: Catalog, *, actor: str) -> Added:
    """
    Validate a definition and store it as a version of its workflow. The same text again is the same version.

    Raises:
        InvalidWorkflow: it has mistakes; it names all of them.
        Conflict: the version exists with another text, or is not higher than the newest.

    """
    found = validate(definition, catalog)
    if found.workflow is None or found.findings:
        raise InvalidWorkflow("The workflow", found.findings)
    workflow = found.workflow
    with store.transaction() as work:
        repository.lock(work, workflow.id)
        known = repository.versions(work, workflow.id)
        for version in known:
            if (version.version, version.definition) == (workflow.version, definition):
                return Added(version, found.warnings)
        if known and workflow.version <= known[0].version:
            raise Conflict(
                f"{workflow.id} has version {known[0].version} already, and a version never changes. "
                f"Give this text the version {known[0].version + 1}"
            )
        added = repository.add(work, workflow, definition, actor=actor)
        audit.add(
            work, actor=actor, act="workflow.add", subject=f"workflow/{workflow.id}", detail={"version": added.version}
        )
    return Added(added, found.warnings)


def versions(store: Store, workflow_id: str) -> list[StoredVersion]:
    """
    List the versions of a workflow, the newest first.

    Raises:
        NotFound: there is no such workflow.

    """
    with store.transaction() as work:
        found = repository.versions(work, workflow_id)
    if not found:
        raise NotFound(f"There is no workflow {workflow_id!r}")
    return found


def version_of(store: Store, workflow_id: str, version: int | None) -> StoredVersion:
    """
    Find a version of a workflow, the newest by default.

    Raises:
        NotFound: there is no such workflow or version.

    """
    known = versions(store, workflow_id)
    if version is None:
        return known[0]
    for each in known:
        if each.version == version:
            return each
    raise NotFound(
        f"{workflow_id} has no version {version}. Versions: {', '.join(str(each.version) for each in known)}"
    )


def diff(store: Store, workflow_id: str, before: int, after: int) -> str:
    """
    Compare two versions line by line (unified diff); empty if they are equal.

    Raises:
        NotFound: there is no such workflow or version.

    """
    old, new = (version_of(store, workflow_id, version) for version in (before, after))
    return compare(old, new)


def compare(old: StoredVersion | Deployment, new: StoredVersion | Deployment) -> str:
    """Compare two versions of a workflow that were read, line by line (unified diff); empty if they are equal."""
    lines = unified_diff(
        old.definition.splitlines(),
        new.definition.splitlines(),
        f"{old.workflow_id} version {old.version}",
        f"{new.workflow_id} version {new.version}",
        lineterm="",
    )
    return "\n".join(lines)


def test_run(
    store: Store,
    catalog: Catalog,
    workflow_id: str,
    version: int | None,
    *,
    params: Mapping[str, Any],
    given: Mapping[str, Any],
    actor: str,
) -> Trial:
    """
    Run all steps of a version with no effect outside. One that completes is remembered: without it, nothing is deployed.

    Raises:
        NotFound: there is no such workflow or version.
        InvalidWorkflow: this hub no longer takes the version.
        BadRequest: a param or an answer is not valid.

    """
    stored = version_of(store, workflow_id, version)
    found = validate(stored.definition, catalog)
    if found.workflow is None or found.findings:
        raise InvalidWorkflow(f"The workflow {workflow_id}", found.findings)
    workflow = found.workflow
    made = trial.run(workflow, catalog, answers.params_of(params, workflow), answers.answers_of(given, workflow))
    if made.state is TrialState.COMPLETED:
        with store.transaction() as work:
            repository.mark_tested(work, workflow_id, stored.version, actor=actor)
    return made


def deploy(store: Store, catalog: Catalog, workflow_id: str, version: int | None, *, actor: str) -> Deployment:
    """
    Have new executions begin with a version, the newest by default. Those that run keep theirs. Deploying again changes nothing.

    Raises:
        NotFound: there is no such workflow or version.
        Conflict: no test run of it has completed, or this hub does not take it any more: an integration is gone, for example;
            or a workflow that is deployed has one of its webhooks.

    """
    stored = version_of(store, workflow_id, version)
    if stored.tested_at is None:
        raise Conflict(
            f"Version {stored.version} of {workflow_id} has not been tested: no test run of it has completed here",
            hint=Hint(HintId.TEST_WORKFLOW, workflow_id),
        )
    found = validate(stored.definition, catalog)
    if found.findings:
        raise Conflict(str(InvalidWorkflow(f"Version {stored.version} of {workflow_id}", found.findings)))
    if found.workflow is not None:
        _refuse_triggers(found.workflow)
    with store.transaction() as work:
        repository.lock_deployments(work)
        for known in repository.deployments(work, [workflow_id]):
            if known.version == stored.version:
                return known
        for webhook, owner in repository.deployed_webhooks(work, stored.webhooks):
            if owner != workflow_id:
                raise Conflict(
                    f"The webhook {webhook} starts {owner}, which is deployed: a webhook starts one workflow"
                )
        repository.deploy(work, workflow_id, stored.version, actor=actor)
        detail = {"version": stored.version}
        audit.add(work, actor=actor, act="workflow.deploy", subject=f"workflow/{workflow_id}", detail=detail)
        (deployed,) = repository.deployments(work, [workflow_id])
    return deployed


def undeploy(store: Store, workflow_id: str, *, actor: str) -> None:
    """
    Have no new execution begin; those that run go on to their end. Doing it again changes nothing.

    Raises:
        NotFound: there is no such workflow.

    """
    versions(store, workflow_id)
    with store.transaction() as work:
        repository.lock_deployments(work)
        if (version := repository.undeploy(work, workflow_id)) is not None:
            detail = {"version": version}
            audit.add(work, actor=actor, act="workflow.undeploy", subject=f"workflow/{workflow_id}", detail=detail)


def _refuse_triggers(workflow: Workflow) -> None:
    """Refuse triggers by which the workflow could not be started."""
    by_cron = [trigger for trigger in workflow.triggers if trigger.cron is not None]
    if len(by_cron) > 1:
        raise Conflict(
            f"{by_cron[1].at}: a DAG has one schedule. Write both times as one, or declare a second workflow"
        )
    for trigger in by_cron:
        try:
            executions.params_of(workflow, mappings.mapped(dict(trigger.given), {}))
        except BadRequest as error:
            raise Conflict(
                f"{trigger.at}/with: a schedule has no event, and gives the params by itself: {error}"
            ) from error
