"""Add and change integrations: forms made from the JSON Schema of their kind, and each connection tested before it is stored."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from crossdock.api.access import guard
from crossdock.api.dependencies import (
    PLAIN,
    Connections,
    OpenStore,
    Router,
    integration_added,
    integrations_changed,
)
from crossdock.app.integrations import on_changed
from crossdock.connectors.declarative import files
from crossdock.core.errors import Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.core.roles import Caller, Role
from crossdock.integrations import connection_test, repository, service
from crossdock.integrations.manifests import Manifest, manifest_of, manifests
from crossdock.integrations.model import INTEGRATION_ID, Check, FieldError, Integration, SettingsInvalid, TestRefused
from crossdock.integrations.service import NewIntegration
from crossdock.web.forms import Posted
from crossdock.web.page import go_to, show
from crossdock.web.schema_forms import errors_of_whole, fields_of, read_back

router = Router()

IntegrationId = Annotated[str, Path(pattern=INTEGRATION_ID)]
Kind = Annotated[str, Path(max_length=63, pattern=PLAIN)]
#: The integration of a file, which the page has in its address. That of another kind is typed.
OfFile = Annotated[str | None, Query(pattern=INTEGRATION_ID)]
Operator = Annotated[Caller, guard(Role.OPERATOR)]
Tester = Annotated[Caller, guard(Role.DEVELOPER, Role.OPERATOR)]

_LONGEST_NAME = 200
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Refusal:
    """Why nothing was stored; nothing where a form is shown for the first time."""

    message: str = ""
    errors: tuple[FieldError, ...] = ()
    checks: tuple[Check, ...] = ()
    #: The address may be that of another system: a person can say that it is not.
    may_be_same: bool = False
    status: HTTPStatus = field(default=HTTPStatus.OK)


@router.get("/new-integration")
def choose_kind(request: Request, store: OpenStore, caller: Operator) -> HTMLResponse:
    """List the kinds, and the declared systems that are not in the registry yet."""
    with store.transaction() as work:
        known = {system.integration_id for system in repository.systems(work)}
    of_files = [kind.kind for kind in manifests().values() if _is_of_file(kind)]
    return show(
        request,
        caller,
        "new_integration.html",
        kinds=[kind for kind in manifests().values() if not _is_of_file(kind)],
        declared=[(kind, name) for kind in of_files for name in files.paths() if name not in known],
    )


@router.get("/new-integration/{kind}")
def new_integration(request: Request, caller: Operator, kind: Kind, id: OfFile = None) -> Response:  # noqa: A002  as in the API
    manifest = _manifest(kind)
    if _is_of_file(manifest) and not id:
        return go_to(request, "new-integration")
    return _new_form(request, caller, manifest, id or "", Refusal())


@router.post("/new-integration/{kind}")
def add(
    request: Request, store: OpenStore, caller: Operator, connections: Connections, kind: Kind, form: Posted
) -> Response:
    """Test the connection, and store it with the credentials; a check that fails stores nothing."""
    manifest, integration_id = _manifest(kind), form.text("id", most=63)
    is_existing = form.has("existing")
    settings = {} if is_existing else read_back(manifest.settings, "settings", form)
    credentials = read_back(_credentials_or_all(manifest, integration_id), "credentials", form)
    shown: dict[str, Any] = {
        "settings": settings,
        "credentials": credentials,
        "name": form.text("name", most=_LONGEST_NAME),
    }
    try:
        _refuse_bad_id(manifest, integration_id)
        new = NewIntegration(
            integration_id=integration_id,
            kind=kind,
            name=shown["name"] or integration_id,
            settings=settings,
            credentials=None if is_existing else credentials,
        )
        service.add(store, connections, new, actor=caller.actor)
    except (SettingsInvalid, TestRefused, Conflict) as error:
        return _new_form(request, caller, manifest, integration_id, _refusal(error), is_existing=is_existing, **shown)
    integration_added(store, integration_id)
    return go_to(request, "integrations", integration_id, done="added")


@router.get("/integrations/{integration_id}/change")
def change_form(request: Request, store: OpenStore, caller: Operator, integration_id: IntegrationId) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.get(work, integration_id)
    return _change_form(request, caller, found, found.name, found.settings, Refusal())


@router.post("/integrations/{integration_id}/change")
def change(
    request: Request,
    store: OpenStore,
    caller: Operator,
    connections: Connections,
    integration_id: IntegrationId,
    form: Posted,
) -> Response:
    """Replace name and settings, after testing the new ones; the credentials stay unless they were typed again."""
    with store.transaction() as work:
        found = repository.get(work, integration_id)
    manifest = manifest_of(found.kind)
    name, settings = form.text("name", most=_LONGEST_NAME), read_back(manifest.settings, "settings", form)
    try:
        credentials = read_back(_credentials_of(manifest, integration_id), "credentials", form)
        service.change(
            store,
            connections,
            integration_id,
            version=form.number("version"),
            actor=caller.actor,
            name=name or found.name,
            settings=settings,
            credentials=credentials or None,
            same_records=form.has("same_records"),
            on_stored=lambda work, _: on_changed(work, integration_id),
        )
    except (SettingsInvalid, TestRefused, Conflict) as error:
        return _change_form(request, caller, found, name, settings, _refusal(error))
    integrations_changed(store)
    return go_to(request, "integrations", integration_id, done="changed")


@router.get("/integrations/{integration_id}/rotate")
def rotate_form(request: Request, store: OpenStore, caller: Operator, integration_id: IntegrationId) -> HTMLResponse:
    with store.transaction() as work:
        found = repository.get(work, integration_id)
    return _rotate_form(request, caller, found, Refusal())


@router.post("/integrations/{integration_id}/rotate")
def rotate(
    request: Request,
    store: OpenStore,
    caller: Operator,
    connections: Connections,
    integration_id: IntegrationId,
    form: Posted,
) -> Response:
    """Replace the credentials, after testing the new ones."""
    with store.transaction() as work:
        found = repository.get(work, integration_id)
    try:
        service.rotate(
            store,
            connections,
            integration_id,
            read_back(_credentials_of(manifest_of(found.kind), integration_id), "credentials", form),
            version=form.number("version"),
            on_stored=lambda work, _: on_changed(work, integration_id),
            actor=caller.actor,
        )
    except (SettingsInvalid, TestRefused, Conflict) as error:
        return _rotate_form(request, caller, found, _refusal(error))
    return go_to(request, "integrations", integration_id, done="rotated")


@router.post("/integrations/{integration_id}/test")
def test(
    request: Request,
    store: OpenStore,
    caller: Tester,
    connections: Connections,
    integration_id: IntegrationId,
    form: Posted,  # noqa: ARG001  its token is checked
) -> HTMLResponse:
    """Test the connection in named checks, and show what each of them found."""
    checks = service.test(
        store,
        connections,
        integration_id,
        actor=caller.actor,
        on_passed=lambda work: on_changed(work, integration_id),
    )
    with store.transaction() as work:
        found = repository.get(work, integration_id)
    passed = connection_test.all_passed(checks)
    return show(request, caller, "integration_test.html", found=found, checks=checks, passed=passed)


@router.get("/integrations/{integration_id}/test")
def leave_test(request: Request, integration_id: IntegrationId, _caller: Tester) -> RedirectResponse:
    """Go to the integration: the result of a test is the answer to a form, and has no address to open again."""
    return go_to(request, "integrations", integration_id)


def _new_form(
    request: Request,
    caller: Caller,
    manifest: Manifest,
    id_: str,
    refusal: Refusal,
    *,
    name: str = "",
    settings: Mapping[str, Any] = _NOTHING,
    credentials: Mapping[str, Any] = _NOTHING,
    is_existing: bool = False,
) -> HTMLResponse:
    return _form(
        request,
        caller,
        title=f"Add {manifest.title}",
        about=manifest.description,
        deed="new",
        action=("new-integration", manifest.kind),
        manifest=manifest,
        integration_id=id_,
        name=name,
        is_existing=is_existing,
        settings=settings,
        credentials=_credentials_or_all(manifest, id_),
        typed=credentials,
        refusal=refusal,
        does="Test and add",
    )


def _change_form(
    request: Request, caller: Caller, found: Integration, name: str, settings: Mapping[str, Any], refusal: Refusal
) -> HTMLResponse:
    manifest = manifest_of(found.kind)
    return _form(
        request,
        caller,
        title=f"Change {found.name}",
        about="Nothing is stored before the new settings have passed the test.",
        deed="change",
        action=("integrations", found.integration_id, "change"),
        manifest=manifest,
        integration_id=found.integration_id,
        name=name,
        settings=settings,
        credentials=_credentials_or_all(manifest, found.integration_id),
        refusal=refusal,
        version=found.version,
        does="Test and save",
    )


def _rotate_form(request: Request, caller: Caller, found: Integration, refusal: Refusal) -> HTMLResponse:
    manifest = manifest_of(found.kind)
    return _form(
        request,
        caller,
        title=f"Replace the credentials of {found.name}",
        about="The old ones stay until the new ones have passed the test.",
        deed="rotate",
        action=("integrations", found.integration_id, "rotate"),
        manifest=manifest,
        integration_id=found.integration_id,
        name=found.name,
        settings={},
        credentials=_credentials_or_all(manifest, found.integration_id),
        refusal=refusal,
        version=found.version,
        does="Test and replace",
    )


def _form(
    request: Request,
    caller: Caller,
    *,
    manifest: Manifest,
    settings: Mapping[str, Any],
    credentials: Mapping[str, Any],
    refusal: Refusal,
    deed: Literal["new", "change", "rotate"],
    typed: Mapping[str, Any] = _NOTHING,
    **shown: Any,
) -> HTMLResponse:
    of_settings = [] if deed == "rotate" else fields_of(manifest.settings, "settings", settings, refusal.errors)
    return show(
        request,
        caller,
        "integration_form.html",
        status=refusal.status,
        manifest=manifest,
        deed=deed,
        settings=of_settings,
        credentials=fields_of(credentials, "credentials", typed, refusal.errors),
        of_credentials=errors_of_whole("credentials", refusal.errors),
        elsewhere=[
            error
            for error in refusal.errors
            if not error.pointer.startswith(("/settings/", "/credentials/")) and error.pointer != "/credentials"
        ],
        refusal=refusal,
        is_of_file=_is_of_file(manifest),
        **{"is_existing": False, "version": None, **shown},
    )


def _refusal(error: SettingsInvalid | TestRefused | Conflict) -> Refusal:
    match error:
        case SettingsInvalid(errors=errors):
            return Refusal("Some fields are not right. Nothing was stored", errors, status=HTTPStatus.BAD_REQUEST)
        case TestRefused(checks=checks):
            return Refusal(str(error), checks=checks, status=HTTPStatus.UNPROCESSABLE_ENTITY)
    return Refusal(str(error), may_be_same="same_records" in str(error), status=HTTPStatus.CONFLICT)


def _manifest(kind: str) -> Manifest:
    if kind not in manifests():
        raise NotFound(
            f"There is no kind {kind!r} of integration. Kinds: {', '.join(manifests())}",
            hint=Hint(HintId.LIST_INTEGRATIONS),
        )
    return manifests()[kind]


def _is_of_file(manifest: Manifest) -> bool:
    """Check whether a file decides which credentials an integration of this kind needs."""
    return "needs" in manifest.provides


def _refuse_bad_id(manifest: Manifest, integration_id: str) -> None:
    if not re.fullmatch(INTEGRATION_ID, integration_id):
        message = "must be 2 to 63 lowercase letters, digits or _, and begin with a letter"
        raise SettingsInvalid(manifest.title, [FieldError("/id", message)])


def _credentials_of(manifest: Manifest, integration_id: str) -> Mapping[str, Any]:
    return manifest.credentials_of_integration(integration_id)


def _credentials_or_all(manifest: Manifest, integration_id: str) -> Mapping[str, Any]:
    """Narrow the schema of the credentials where the file says what it needs; a form is shown for a wrong ID, too."""
    try:
        return manifest.credentials_of_integration(integration_id)
    except NotFound:
        return manifest.credentials
