"""Preview a declaration of an integration before it is in use."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from crossdock.api.access import guard
from crossdock.api.airflow_connections import Connections
from crossdock.api.dependencies import OpenStore
from crossdock.api.routing import Router
from crossdock.app.streams import DECLARED
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.preview import PreviewedRecord, preview
from crossdock.core import ids
from crossdock.core.errors import BadRequest
from crossdock.core.roles import Caller, Role
from crossdock.http.connection import Connection
from crossdock.integrations.manifests import GIVEN_FOR, manifest_of
from crossdock.integrations.model import INTEGRATION_ID
from crossdock.observability import audit

router = Router(prefix="/declarations", tags=["integrations"])


class PreviewBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=INTEGRATION_ID, description="The file's name without `.yaml`.", examples=["erp_stock"])
    # Escaped, one character is up to 12 bytes of JSON: with more, the body would be refused for its size (413), not this field.
    declaration: str = Field(max_length=64_000, description="The file's text, YAML.")
    records: int = Field(5, ge=1, le=20, description="How many of the first records.")
    settings: dict[str, Any] = Field({}, description="As for adding the integration: address and allowed networks.")
    credentials: dict[str, Any] | None = Field(
        None,
        description="As for adding the integration. If absent, those of the integration, if the file sends them where they "
        "were given for.",
        json_schema_extra={"writeOnly": True},
    )


class FailureDocument(BaseModel):
    rule: str
    column: str
    message: str
    value: str


class PreviewedDocument(BaseModel):
    received: Any = Field(description="As it came, with the ID and the version that the declaration finds in it.")
    mapped: dict[str, Any] | None = Field(description="Column → value; null if the record could not be mapped.")
    failures: list[FailureDocument] = Field(description="Why it would be in quarantine; empty if it would be loaded.")
    warnings: list[str] = Field(description="Rules of the level `warn` that it fails.")


class PreviewDocument(BaseModel):
    records: list[PreviewedDocument]


@router.post("/preview", summary="Preview a declaration: records as received, as mapped, and what the rules say")
def preview_declaration(
    body: PreviewBody,
    caller: Annotated[Caller, guard(Role.OPERATOR)],
    store: OpenStore,
    connections: Connections,
) -> PreviewDocument:
    """Call the system once; store nothing but that somebody saw its records."""
    connection = _connection(body, connections)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{body.name}.yaml"
        path.write_text(body.declaration)
        try:
            found = preview(path, connection, limit=body.records)
        except InvalidDeclaration as invalid:
            raise InvalidDeclaration(Path(path.name), invalid.mistakes) from None
    with store.transaction() as work:
        audit.add(
            work, actor=caller.actor, act="declaration.preview", subject=body.name, detail={"records": len(found)}
        )
    return PreviewDocument(records=[_document(record) for record in found])


def _connection(body: PreviewBody, connections: Connections) -> Connection:
    """
    Choose the caller's address and credentials, or else those of the integration.

    Raises:
        SettingsInvalid: the caller's are not as the schema says.
        BadRequest: nobody knows where the stored credentials were given for.

    """
    kind, connection_id = manifest_of(DECLARED), ids.prefixed(body.name)
    if body.credentials is not None or body.settings:
        kind.refuse_invalid(body.settings, body.credentials)
        return kind.connection(connection_id, body.settings, body.credentials or {})
    stored = connections.get(connection_id)
    if stored is None:
        return Connection(connection_id=connection_id, conn_type=DECLARED)
    if stored.password and not stored.text(GIVEN_FOR):
        raise BadRequest(
            f"The connection {connection_id} does not say where its credentials may be sent. Send credentials with the request"
        )
    return stored


def _document(record: PreviewedRecord) -> PreviewedDocument:
    return PreviewedDocument(
        received=record.received,
        mapped=dict(record.mapped) if record.mapped is not None else None,
        failures=[
            FailureDocument(rule=found.rule, column=found.column, message=found.message, value=found.value)
            for found in record.failures
        ],
        warnings=list(record.warnings),
    )
