"""Preview a declaration: its first records as received, as mapped, and what the rules say. Nothing is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import Query, Request
from fastapi.responses import HTMLResponse

from crossdock.api.access import guard
from crossdock.api.dependencies import Connections, OpenStore, Router
from crossdock.app.declaration_preview import DeclarationDraft, preview_draft
from crossdock.app.streams import DECLARED
from crossdock.connectors.declarative import files
from crossdock.connectors.declarative.preview import PreviewedRecord
from crossdock.core.errors import BadRequest, HubError, SourceInvalid, SystemRefused, SystemUnavailable
from crossdock.core.roles import Caller, Role
from crossdock.integrations.manifests import manifest_of
from crossdock.integrations.model import INTEGRATION_ID, FieldError, SettingsInvalid
from crossdock.web.documents import lines_of
from crossdock.web.forms import Posted
from crossdock.web.page import show
from crossdock.web.schema_forms import fields_of, read_back

router = Router()

Operator = Annotated[Caller, guard(Role.OPERATOR)]
_LONGEST = 64_000
_RECORDS = 5


@router.get("/declaration-preview")
def declaration(
    request: Request, caller: Operator, name: Annotated[str | None, Query(pattern=INTEGRATION_ID)] = None
) -> HTMLResponse:
    """Show the form; with *name*, what its file has now."""
    known = files.paths()
    text = known[name].read_text() if name in known else ""
    return _page(request, caller, name or "", text, {}, names=known)


@router.post("/declaration-preview")
def preview(
    request: Request, store: OpenStore, caller: Operator, connections: Connections, form: Posted
) -> HTMLResponse:
    """Call the system once. What is typed here is not kept."""
    manifest = manifest_of(DECLARED)
    name, text = form.text("name", most=63), form.text("declaration", most=_LONGEST)
    settings = read_back(manifest.settings, "settings", form)
    credentials = read_back(manifest.credentials, "credentials", form)
    known = files.paths()
    try:
        _refuse_bad_name(name)
        draft = DeclarationDraft(name=name, text=f"{text}\n", settings=settings, credentials=credentials or None)
        found = preview_draft(store, connections, draft, records=_RECORDS, actor=caller.actor)
    except (BadRequest, SystemUnavailable, SystemRefused, SourceInvalid) as error:
        return _page(request, caller, name, text, settings, names=known, error=error)
    return _page(request, caller, name, text, settings, names=known, records=found)


def _refuse_bad_name(name: str) -> None:
    if not re.fullmatch(INTEGRATION_ID, name):
        raise BadRequest("Name it with 2 to 63 lowercase letters, digits or _, and a letter first")


def _page(
    request: Request,
    caller: Caller,
    name: str,
    text: str,
    settings: Mapping[str, Any],
    *,
    names: Mapping[str, object],
    error: HubError | None = None,
    records: list[PreviewedRecord] | None = None,
) -> HTMLResponse:
    manifest = manifest_of(DECLARED)
    errors: tuple[FieldError, ...] = error.errors if isinstance(error, SettingsInvalid) else ()
    return show(
        request,
        caller,
        "declaration_preview.html",
        status=HTTPStatus.UNPROCESSABLE_ENTITY if error else HTTPStatus.OK,
        name=name,
        text=text,
        names=names,
        error=str(error) if error else "",
        records=[(record, lines_of(record.received, ())) for record in records] if records is not None else None,
        settings=fields_of(manifest.settings, "settings", settings, errors),
        credentials=fields_of(manifest.credentials, "credentials", {}, errors),
    )
