"""Preview a declaration of an integration before it is in use: for the route and the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crossdock.app.streams import DECLARED
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.preview import PreviewedRecord, preview
from crossdock.core import ids
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations.manifests import GIVEN_FOR, manifest_of
from crossdock.integrations.model import ConnectionStore
from crossdock.observability import audit

#: How many records of one.
MOST_RECORDS = 20


@dataclass(frozen=True, kw_only=True)
class DeclarationDraft:
    """A declaration that is not in use yet."""

    #: The file's name without `.yaml`.
    name: str
    #: The file's text, YAML.
    text: str
    settings: Mapping[str, Any]
    #: None: those of the integration, if the file sends them where they were given for.
    credentials: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"DeclarationDraft({self.name!r}, …)"


def preview_draft(
    store: Store, connections: ConnectionStore, draft: DeclarationDraft, *, records: int, actor: str
) -> list[PreviewedRecord]:
    """
    Call the system once; store nothing but that somebody saw its records.

    Raises:
        InvalidDeclaration: it is not valid; each mistake has its line.
        SettingsInvalid: the caller's settings or credentials are not as the schema says.
        BadRequest: nobody knows where the stored credentials were given for, or one is missing.
        SystemUnavailable, SystemRefused, SourceInvalid: the system does not answer as declared.

    """
    connection = _connection(draft, connections)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{draft.name}.yaml"
        path.write_text(draft.text)
        try:
            found = preview(path, connection, limit=records)
        except InvalidDeclaration as invalid:
            raise InvalidDeclaration(Path(path.name), invalid.mistakes) from None
    with store.transaction() as work:
        audit.add(work, actor=actor, act="declaration.preview", subject=draft.name, detail={"records": len(found)})
    return found


def _connection(draft: DeclarationDraft, connections: ConnectionStore) -> Connection:
    """Choose the caller's address and credentials, or else those of the integration."""
    kind, connection_id = manifest_of(DECLARED), ids.prefixed(draft.name)
    if draft.credentials is not None or draft.settings:
        kind.refuse_invalid(draft.settings, draft.credentials)
        return kind.connection(connection_id, draft.settings, draft.credentials or {})
    stored = connections.get(connection_id)
    if stored is None:
        return Connection(connection_id=connection_id, conn_type=DECLARED)
    if stored.password and not stored.text(GIVEN_FOR):
        raise BadRequest(
            f"The connection {connection_id} does not say where its credentials may be sent. Send credentials with the request"
        )
    return stored
