"""The actions of an integration: list them, and perform one."""

from __future__ import annotations

import math
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from crossdock.api.access import guard, refuse_without
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, Keep, OneEffect
from crossdock.api.integration_health import IntegrationId
from crossdock.api.problems import Problem, ProblemDocument, documented
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.app import personal_data
from crossdock.app.airflow.systems import client_of
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Store
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Action, ActionKind, Done, Ended, Failed, Refused, Unknown
from crossdock.integrations.actions.ports import OpenClient
from crossdock.integrations.manifests import Quality

router = Router(tags=["actions"])

_RETRY_IN_S = 5
_ENDED_OTHERWISE: dict[int | str, dict[str, Any]] = documented(404) | {
    502: {
        "model": ProblemDocument,
        "description": "It is unknown whether the action had its effect. Send the request again with the same key.",
    },
    503: {"model": ProblemDocument, "description": "The action had no effect. Send it again later."},
}


async def open_clients(store: OpenStore) -> OpenClient:
    """Open clients from Airflow's connections."""
    return partial(client_of, store)


Clients = Annotated[OpenClient, Depends(open_clients)]
Performer = Annotated[Caller, guard(Role.DEVELOPER, Role.OPERATOR)]


class ActionDocument(BaseModel):
    name: str
    title: str
    description: str
    kind: ActionKind = Field(description="A write has an effect at the system, and needs the operator role.")
    input: dict[str, Any] = Field(description="JSON Schema (2020-12) of the input.")
    output: dict[str, Any] = Field(description="JSON Schema of the output.")
    sample: dict[str, Any] = Field(description="A valid input.")
    unknown: str | None = Field(
        description="How the outcome of a write whose answer was lost is resolved: replay, read:ACTION, webhook or person."
    )


class ActionsDocument(BaseModel):
    quality: Quality | None = Field(description="What tests prove of the connector; null if no claim is made.")
    actions: list[ActionDocument]


class PerformBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    input: dict[str, Any] = Field(description="As the action's schema defines it.")


class PerformedDocument(BaseModel):
    action: str
    output: dict[str, Any] | None = Field(
        description="As the action's schema defines it; null if an earlier request did it and its answer is gone."
    )
    age_s: float | None = Field(
        None, description="Set while the system does not answer: the output is what it said this many seconds ago."
    )


@router.get(
    "/integrations/{integration_id}/actions",
    summary="List the actions of an integration",
    dependencies=[guard(Role.VIEWER)],
    responses=documented(404),
)
def list_actions(integration_id: IntegrationId, store: OpenStore) -> ActionsDocument:
    manifest = service.manifest_for(store, integration_id)
    actions = [_document(name, action) for name, action in manifest.actions.items()]
    return ActionsDocument(quality=manifest.quality, actions=actions)


@router.post(
    "/integrations/{integration_id}/actions/{action}",
    summary="Perform an action at the system",
    response_model=PerformedDocument,
    responses=KEYED | _ENDED_OTHERWISE,
)
def perform_action(
    integration_id: IntegrationId,
    action: Annotated[str, Path(max_length=63, pattern=PLAIN)],
    body: PerformBody,
    caller: Performer,
    store: OpenStore,
    clients: Clients,
    request: OneEffect,
) -> Response:
    declared = service.manifest_for(store, integration_id).action(action)
    call = partial(
        service.perform,
        store,
        clients,
        integration_id,
        action,
        body.input,
        key=request.effect_key,
        actor=caller.actor,
    )
    if declared.kind is ActionKind.READ:
        # Nothing is kept: a read has no effect, and its answer is the system's of now.
        document = _shown(store, caller, integration_id, declared, _performed(action, call()))
        return Response(document.model_dump_json(), media_type="application/json")
    refuse_without(caller, Role.OPERATOR)

    def effect(keep: Keep) -> None:
        _performed(action, call(on_done=lambda work, done: keep(work, _performed(action, done))))

    return request.once_outside(effect)


def _shown(
    store: Store, caller: Caller, integration_id: str, declared: Action, document: PerformedDocument
) -> PerformedDocument:
    """Mask the personal data of what was read: of one record unless the caller may see it, of several for everybody."""
    fields, output = declared.personal_fields, document.output
    if not fields or output is None:
        return document
    has_several = any(isinstance(value, list) for value in output.values())
    subject = f"integration/{integration_id}"
    if not has_several and personal_data.reveal(store, caller, subject, output, fields):
        return document
    return document.model_copy(update={"output": personal_data.masked(output, fields)})


def _performed(action: str, ended: Ended) -> PerformedDocument:
    """
    Describe what was done.

    Raises:
        Problem: It was not done, or nobody knows.

    """
    match ended:
        case Done(output=output, age_s=age_s):
            return PerformedDocument(action=action, output=None if output is None else dict(output), age_s=age_s)
        case Refused():
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "refused-by-system",
                ended.message,
                system_status=ended.status,
                refused_by=ended.by,
                code=ended.code,
                try_other=ended.try_other,
            )
        case Failed():
            headers = {"Retry-After": str(math.ceil(ended.retry_in_s or _RETRY_IN_S))}
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", ended.message, headers=headers, try_other=ended.try_other
            )
        case Unknown():
            raise Problem(HTTPStatus.BAD_GATEWAY, "outcome-unknown", ended.message, try_other=ended.try_other)


def _document(name: str, action: Action) -> ActionDocument:
    return ActionDocument(
        name=name,
        title=action.title,
        description=action.description,
        kind=action.kind,
        input=dict(action.input),
        output=dict(action.output),
        sample=dict(action.sample),
        unknown=action.unknown,
    )
