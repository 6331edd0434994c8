"""The registry of integrations: list, add, change, test, rotate, pause, resume, remove."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from crossdock.api.access import guard
from crossdock.api.airflow_connections import Connections
from crossdock.api.definitions import integration_added, integrations_changed
from crossdock.api.dependencies import OpenStore
from crossdock.api.idempotency import KEYED, Keep, OneEffect
from crossdock.api.if_match import IfMatch, etag
from crossdock.api.integration_health import HealthSummary, IntegrationId, summaries
from crossdock.api.pagination import Limit, cursor_like
from crossdock.api.problems import documented
from crossdock.api.routing import Router
from crossdock.api.validation import PLAIN
from crossdock.app.integrations import on_changed, on_resumed
from crossdock.app.streams import declared_title, streams_by_kind
from crossdock.core.errors import NotFound
from crossdock.core.roles import Caller, Role
from crossdock.db.database import Work
from crossdock.integrations import repository as integration_repository
from crossdock.integrations import service
from crossdock.integrations.manifests import Manifest, Quality, manifests
from crossdock.integrations.model import INTEGRATION_ID, Check, CheckOutcome, Integration, IntegrationState
from crossdock.integrations.service import Added, NewIntegration

router = Router(tags=["integrations"])

Tester = Annotated[Caller, guard(Role.DEVELOPER, Role.OPERATOR)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]


class IntegrationDocument(BaseModel):
    id: str
    kind: str
    name: str
    state: IntegrationState
    settings: dict[str, Any] = Field(description="As the kind's schema defines them. Credentials are never shown.")
    connection_id: str = Field(description="The Airflow connection that holds its credentials.")
    version: int = Field(description="Counts up with each change; also the ETag.")
    created_at: datetime
    created_by: str
    updated_at: datetime
    updated_by: str
    credentials_set_at: datetime | None = Field(
        description="When the hub last wrote the credentials; null if it did not."
    )
    tested_at: datetime | None
    test_passed: bool | None
    streams: list[str] = Field(description="What its syncs read; empty if nothing reads this integration.")


class CheckDocument(BaseModel):
    name: str = Field(description="address, tls, credentials, scope or sample.")
    outcome: CheckOutcome
    duration_ms: int
    message: str = Field(description="What the check found.")
    hint: str | None = Field(description="What to do if it failed; else null.")


class StoredDocument(IntegrationDocument):
    checks: list[CheckDocument] = Field(description="The results of the test that ran before storing.")


class TestDocument(BaseModel):
    passed: bool
    checks: list[CheckDocument]


class ListedIntegration(IntegrationDocument):
    health: HealthSummary


class IntegrationsPage(BaseModel):
    integrations: list[ListedIntegration]
    next_cursor: str | None = Field(description="Cursor of the next page; null on the last.")


class KindDocument(BaseModel):
    kind: str
    title: str
    description: str
    settings: dict[str, Any] = Field(description="JSON Schema of the settings.")
    credentials: dict[str, Any] = Field(description="JSON Schema of the credentials.")
    quality: Quality | None = Field(description="What tests prove of the connector; null if no claim is made.")


class KindsDocument(BaseModel):
    kinds: list[KindDocument]


class AddBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(pattern=INTEGRATION_ID, examples=["shop_eu"])
    kind: str = Field(max_length=63, description="One of GET /hub/v1/kinds.")
    name: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        pattern=PLAIN,
        description="Defaults to the title of its declaration, or to the id.",
    )
    settings: dict[str, Any] = Field({}, description="As the kind's schema defines them.")
    credentials: dict[str, Any] | None = Field(
        None,
        description="As the kind's schema defines them. If absent, the Airflow connection of this id is used as it is.",
        json_schema_extra={"writeOnly": True},
    )


class ChangeBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str | None = Field(None, min_length=1, max_length=200, pattern=PLAIN)
    settings: dict[str, Any] | None = Field(None, description="Replaces all settings.")
    credentials: dict[str, Any] | None = Field(
        None,
        description="Needed with settings that would send the credentials elsewhere: host, token path, CA, networks.",
        json_schema_extra={"writeOnly": True},
    )
    same_records: bool = Field(
        False, description="Confirms that a new address is of the same system, so that its records do not mix."
    )


class RotateBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    credentials: dict[str, Any] = Field(json_schema_extra={"writeOnly": True})


@router.get("/kinds", summary="List the kinds of integration", dependencies=[guard(Role.VIEWER)])
def list_manifests() -> KindsDocument:
    return KindsDocument(kinds=[_kind_document(manifest) for manifest in manifests().values()])


@router.get(
    "/kinds/{kind}", summary="Get a kind with its schemas", dependencies=[guard(Role.VIEWER)], responses=documented(404)
)
def show_kind(
    kind: Annotated[str, Path(max_length=63, pattern=PLAIN)],
    integration_id: Annotated[
        str | None,
        Query(
            pattern=INTEGRATION_ID,
            description="Only the credentials that this integration needs, where a file decides that.",
        ),
    ] = None,
) -> KindDocument:
    if kind not in manifests():
        raise NotFound(f"There is no kind {kind!r} of integration. Kinds: {', '.join(manifests())}")
    found = _kind_document(manifests()[kind])
    if integration_id is not None:
        found.credentials = dict(manifests()[kind].credentials_of_integration(integration_id))
    return found


@router.get("/integrations", summary="List integrations with their health", dependencies=[guard(Role.VIEWER)])
def list_integrations(
    store: OpenStore, cursor: Annotated[str | None, cursor_like(INTEGRATION_ID)] = None, limit: Limit = 100
) -> IntegrationsPage:
    with store.transaction() as work:
        found = integration_repository.page(work, after=cursor, limit=limit + 1)
        page = found[:limit]
        health = summaries(work, [integration.integration_id for integration in page])
    return IntegrationsPage(
        integrations=[_listed(integration, health[integration.integration_id]) for integration in page],
        next_cursor=page[-1].integration_id if len(found) > limit else None,
    )


@router.post(
    "/integrations",
    summary="Add an integration after testing its connection",
    status_code=201,
    response_model=StoredDocument,
    responses=KEYED,
)
def add_integration(
    body: AddBody, caller: Operator, store: OpenStore, connections: Connections, request: OneEffect
) -> Response:
    new = NewIntegration(
        integration_id=body.id,
        kind=body.kind,
        name=body.name or _title_of(body) or body.id,
        settings=body.settings,
        credentials=body.credentials,
    )

    def add(keep: Keep) -> None:
        def on_stored(work: Work, added: Added) -> None:
            location = {"Location": f"/hub/v1/integrations/{body.id}"}
            keep(work, _stored_document(added), location | etag(added.integration.version))

        service.add(store, connections, new, on_stored=on_stored, actor=caller.actor)

    answer = request.once_outside(add)
    # For a repeated request, too: the process may have been killed before this.
    integration_added(store, body.id)
    return answer


@router.get(
    "/integrations/{integration_id}",
    summary="Get an integration",
    dependencies=[guard(Role.VIEWER)],
    responses=documented(404),
)
def show_integration(integration_id: IntegrationId, store: OpenStore, response: Response) -> IntegrationDocument:
    with store.transaction() as work:
        found = integration_repository.get(work, integration_id)
    response.headers.update(etag(found.version))
    return _document(found)


@router.patch(
    "/integrations/{integration_id}",
    summary="Change the name or the settings, after testing them",
    responses=documented(404, 409, 412, 422, 428),
)
def change_integration(
    integration_id: IntegrationId,
    body: ChangeBody,
    caller: Operator,
    version: IfMatch,
    store: OpenStore,
    connections: Connections,
    response: Response,
) -> StoredDocument:
    changed = service.change(
        store,
        connections,
        integration_id,
        version=version,
        actor=caller.actor,
        name=body.name,
        settings=body.settings,
        credentials=body.credentials,
        same_records=body.same_records,
        on_stored=lambda work, _: on_changed(work, integration_id),
    )
    integrations_changed(store)
    return _stored(changed, response)


@router.delete(
    "/integrations/{integration_id}",
    summary="Delete the integration and its credentials; synced data is kept, but its stock is no longer sellable",
    status_code=204,
    responses=documented(404, 412, 428),
)
def remove_integration(
    integration_id: IntegrationId, caller: Operator, version: IfMatch, store: OpenStore, connections: Connections
) -> None:
    service.remove(store, connections, integration_id, version=version, actor=caller.actor)
    integrations_changed(store)


@router.post(
    "/integrations/{integration_id}/test",
    summary="Test the connection",
    responses=documented(404),
)
def test_integration(
    integration_id: IntegrationId, caller: Tester, store: OpenStore, connections: Connections
) -> TestDocument:
    found = service.test(
        store,
        connections,
        integration_id,
        actor=caller.actor,
        on_passed=lambda work: on_changed(work, integration_id),
    )
    documents = [_check_document(check) for check in found]
    return TestDocument(
        passed=all(document.outcome is not CheckOutcome.FAILED for document in documents), checks=documents
    )


@router.post(
    "/integrations/{integration_id}/rotate",
    summary="Replace the credentials, after testing the new ones",
    response_model=StoredDocument,
    responses=documented(404, 412, 428) | KEYED,
)
def rotate_integration(
    integration_id: IntegrationId,
    body: RotateBody,
    caller: Operator,
    version: IfMatch,
    store: OpenStore,
    connections: Connections,
    request: OneEffect,
) -> Response:
    def rotate(keep: Keep) -> None:
        def on_stored(work: Work, rotated: Added) -> None:
            keep(work, _stored_document(rotated), etag(rotated.integration.version))
            on_changed(work, integration_id)

        service.rotate(
            store,
            connections,
            integration_id,
            body.credentials,
            version=version,
            on_stored=on_stored,
            actor=caller.actor,
        )

    return request.once_outside(rotate)


@router.post(
    "/integrations/{integration_id}/pause",
    summary="Pause the syncs of the integration",
    response_model=IntegrationDocument,
    responses=documented(404) | KEYED,
)
def pause_integration(
    integration_id: IntegrationId, caller: Operator, store: OpenStore, request: OneEffect
) -> Response:
    return request.once(lambda: _document(service.pause(store, integration_id, actor=caller.actor)), _etag_of)


@router.post(
    "/integrations/{integration_id}/resume",
    summary="Resume the syncs of the integration",
    response_model=IntegrationDocument,
    responses=documented(404) | KEYED,
)
def resume_integration(
    integration_id: IntegrationId, caller: Operator, store: OpenStore, request: OneEffect
) -> Response:
    return request.once(
        lambda: _document(service.resume(store, integration_id, on_resumed=on_resumed, actor=caller.actor)), _etag_of
    )


def _etag_of(document: IntegrationDocument) -> dict[str, str]:
    return etag(document.version)


def _document(integration: Integration) -> IntegrationDocument:
    fields = msgspec.structs.asdict(integration)
    streams = [stream.id for stream in streams_by_kind(integration.integration_id, integration.kind)]
    return IntegrationDocument(id=fields.pop("integration_id"), **fields, streams=streams)


def _listed(integration: Integration, health: HealthSummary) -> ListedIntegration:
    return ListedIntegration(**_document(integration).model_dump(), health=health)


def _stored(stored: Added, response: Response) -> StoredDocument:
    response.headers.update(etag(stored.integration.version))
    return _stored_document(stored)


def _stored_document(stored: Added) -> StoredDocument:
    document = _document(stored.integration)
    return StoredDocument(**document.model_dump(), checks=[_check_document(check) for check in stored.checks])


def _check_document(check: Check) -> CheckDocument:
    return CheckDocument(**msgspec.structs.asdict(check))


def _kind_document(manifest: Manifest) -> KindDocument:
    return KindDocument(
        kind=manifest.kind,
        title=manifest.title,
        description=manifest.description,
        settings=dict(manifest.settings),
        credentials=dict(manifest.credentials),
        quality=manifest.quality,
    )


def _title_of(body: AddBody) -> str | None:
    """Find what a declaration calls the system; None for one of another kind."""
    return declared_title(body.id) if body.kind == "declared" else None
