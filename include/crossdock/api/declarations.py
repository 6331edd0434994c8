"""Preview a declaration of an integration before it is in use."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from crossdock.api.access import guard
from crossdock.api.airflow_connections import Connections
from crossdock.api.dependencies import OpenStore
from crossdock.api.routing import Router
from crossdock.app.declaration_preview import MOST_RECORDS, DeclarationDraft, preview_draft
from crossdock.connectors.declarative.preview import PreviewedRecord
from crossdock.core.roles import Caller, Role
from crossdock.integrations.model import INTEGRATION_ID

router = Router(prefix="/declarations", tags=["integrations"])


class PreviewBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(pattern=INTEGRATION_ID, description="The file's name without `.yaml`.", examples=["erp_stock"])
    # Escaped, one character is up to 12 bytes of JSON: with more, the body would be refused for its size (413), not this field.
    declaration: str = Field(max_length=64_000, description="The file's text, YAML.")
    records: int = Field(5, ge=1, le=MOST_RECORDS, description="How many of the first records.")
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
    draft = DeclarationDraft(
        name=body.name, text=body.declaration, settings=body.settings, credentials=body.credentials
    )
    found = preview_draft(store, connections, draft, records=body.records, actor=caller.actor)
    return PreviewDocument(records=[_document(record) for record in found])


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
