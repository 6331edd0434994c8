"""The stories of the registry. Nothing is stored that did not pass its test; no secret is stored here at all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store, Work
from crossdock.integrations import connection_test as checks
from crossdock.integrations import repository as integrations
from crossdock.integrations.manifests import Kind, kind_named, kinds
from crossdock.integrations.model import (
    Check,
    Connection,
    ConnectionBook,
    FieldError,
    Integration,
    IntegrationState,
    SettingsInvalid,
    TestRefused,
)
from crossdock.observability import audit


class NewIntegration(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to connect."""

    integration_id: str
    kind: str
    name: str
    settings: Mapping[str, Any]
    #: None: the Airflow connection of that id is there already (environment, secrets backend), and is used as it is.
    credentials: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"NewIntegration({self.integration_id!r}, {self.kind!r}, …)"


class Added(msgspec.Struct, frozen=True):
    """An integration as it is stored now, and what its test found; no checks where none was needed."""

    integration: Integration
    checks: tuple[Check, ...]


def add(store: Store, book: ConnectionBook, wish: NewIntegration, *, actor: str) -> Added:
    """
    The integration, once its settings hold, its connection passed the test, and both are stored.

    Raises:
        SettingsInvalid: there is no such kind, or its schema refuses the settings.
        Conflict: the registry or Airflow has something of that id.
        TestRefused: a check failed; nothing is stored.

    """
    kind = kind_named(wish.kind)
    _refuse_taken(store, wish.integration_id)
    if wish.credentials is None:
        connection, settings = _existing(book, kind, wish)
    else:
        kind.refuse_invalid(wish.settings, wish.credentials)
        connection = kind.connection(wish.integration_id, wish.settings, wish.credentials)
        settings = dict(wish.settings)
    found = _tested(wish.integration_id, kind, connection)
    if wish.credentials is not None:
        book.create(connection)
    try:
        stored = _store_new(store, wish, settings, actor=actor)
    except BaseException:
        # A connection that no integration names would be in the way of the next try.
        if wish.credentials is not None:
            book.remove(connection.connection_id)
        raise
    return Added(stored, found)


def register(store: Store, documents: Iterable[Mapping[str, Any]], *, actor: str) -> list[str]:
    """
    The ids that the registry learned or learned anew from *documents*: connections, in the words of Airflow's API.

    For what a deployment brings along in `airflow_settings.yaml`, which Airflow has already and nobody tested yet.
    Those that are of no kind of ours (the hub's own database) are left alone; safe to repeat.
    """
    learned = []
    for document in documents:
        kind = kinds().get(str(document["conn_type"]))
        if kind is None:
            continue
        known = {name: document[name] for name in ("host", "port", "schema", "login") if document.get(name)}
        extra = json.loads(document.get("extra") or "{}")
        connection_id = str(document["connection_id"])
        connection = Connection(connection_id=connection_id, conn_type=kind.kind, extra=extra, **known)
        if _learned(store, kind, connection, actor):
            learned.append(connection_id)
    return learned


def _learned(store: Store, kind: Kind, connection: Connection, actor: str) -> bool:
    integration_id, settings = connection.connection_id, kind.settings_of(connection)
    with store.transaction() as work:
        known = integrations.find(work, integration_id)
        if known and known.settings == settings:
            return False
        if known:
            integrations.change(work, msgspec.structs.replace(known, settings=settings), actor=actor)
        else:
            integrations.add(
                work,
                integration_id=integration_id,
                kind=kind.kind,
                name=kind.title,
                settings=settings,
                connection_id=integration_id,
                actor=actor,
                with_credentials=False,
                tested=False,
            )
        act = "change" if known else "add"
        audit.add(work, actor=actor, act=f"integration.{act}", subject=_subject(integration_id))
    return True


def change(
    store: Store,
    book: ConnectionBook,
    integration_id: str,
    *,
    version: int | None,
    actor: str,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Added:
    """
    The integration with another name or with *settings* in place of all it had. Its credentials stay.

    Raises:
        NotFound: no such integration.
        VersionChanged: somebody changed it since *version*; None for whichever it is at.
        SettingsInvalid, TestRefused: as in `add`; nothing is stored.
        Conflict: its connection is not Airflow's own to change.

    """
    before = _current(store, integration_id, version)
    found: tuple[Check, ...] = ()
    if settings is not None and dict(settings) != dict(before.settings):
        kind = kind_named(before.kind)
        kind.refuse_invalid(settings, None)
        known = _connection(book, before)
        wanted = kind.connection(before.connection_id, settings, kind.credentials_of(known))
        connection = kind.changed(known, wanted)
        found = _tested(integration_id, kind, connection)
        _replace(book, connection)
    after = msgspec.structs.replace(
        before, name=name or before.name, settings=before.settings if settings is None else settings
    )
    changed = sorted(field for field in ("name", "settings") if getattr(after, field) != getattr(before, field))
    return Added(_store(store, before, after, act="change", actor=actor, detail={"changed": changed}), found)


def rotate(
    store: Store,
    book: ConnectionBook,
    integration_id: str,
    credentials: Mapping[str, Any],
    *,
    version: int | None,
    actor: str,
) -> Added:
    """
    The integration with new credentials, which passed the test before they took the place of the old ones.

    Raises:
        as `change`.

    """
    before = _current(store, integration_id, version)
    kind = kind_named(before.kind)
    kind.refuse_invalid(before.settings, credentials)
    connection = kind.connection(before.connection_id, before.settings, credentials)
    if known := book.get(before.connection_id):
        connection = kind.changed(known, connection)
    found = _tested(integration_id, kind, connection)
    _replace(book, connection)
    return Added(_store(store, before, before, act="rotate", actor=actor, with_credentials=True), found)


def test(store: Store, book: ConnectionBook, integration_id: str, *, actor: str) -> tuple[Check, ...]:
    """
    What the checks found; noted with the integration.

    Raises:
        NotFound: no such integration.
        BadRequest: its connection is gone, or lacks what is needed to ask at all.

    """
    integration = _current(store, integration_id, None)
    found = checks.of_connection(kind_named(integration.kind), _connection(book, integration))
    passed = checks.passed(found)
    with store.transaction() as work:
        integrations.note_test(work, integration_id, passed=passed)
        detail = {"passed": passed}
        audit.add(work, actor=actor, act="integration.test", subject=_subject(integration_id), detail=detail)
    return found


def pause(store: Store, integration_id: str, *, actor: str) -> Integration:
    """The integration, whose syncs end at once from now on. What is under way is brought to its end."""
    return _to(store, integration_id, IntegrationState.PAUSED, act="pause", actor=actor)


def resume(store: Store, integration_id: str, *, on_resumed: Callable[[Work], None], actor: str) -> Integration:
    """
    Set the integration to work again: its next run reads what changed meanwhile.

    *on_resumed* runs in a transaction afterwards, for what waited for it: its webhooks.
    """
    resumed = _to(store, integration_id, IntegrationState.ACTIVE, act="resume", actor=actor)
    with store.transaction() as work:
        on_resumed(work)
    return resumed


def remove(store: Store, book: ConnectionBook, integration_id: str, *, version: int | None, actor: str) -> None:
    """
    No integration of that id, and no credentials where the hub wrote them. What it brought stays.

    Its stock is not sellable any more: nobody would hear that it was sold elsewhere. Added again, it is.

    Raises:
        NotFound: no such integration.
        VersionChanged: somebody changed it since *version*.

    """
    with store.transaction() as work:
        gone = integrations.lock(work, integration_id, version=version)
        integrations.remove(work, integration_id)
        audit.add(work, actor=actor, act="integration.remove", subject=_subject(integration_id))
        if gone.credentials_set_at is not None:
            # Before the commit: a secret that nobody could find any more would stay for ever.
            book.remove(gone.connection_id)


def _refuse_taken(store: Store, integration_id: str) -> None:
    """Before the test: it takes seconds, and would call a system for nothing."""
    with store.transaction() as work:
        if integrations.find(work, integration_id):
            raise Conflict(
                f"There is an integration {integration_id!r} already",
                hint=Hint(HintId.SHOW_INTEGRATION, integration_id),
            )


def _existing(book: ConnectionBook, kind: Kind, wish: NewIntegration) -> tuple[Connection, dict[str, Any]]:
    connection = book.get(wish.integration_id)
    if connection is None:
        raise SettingsInvalid(
            kind.title,
            [FieldError("/credentials", f"is missing, and Airflow has no connection {wish.integration_id!r} to use")],
        )
    settings = kind.settings_of(connection)
    if wish.settings and dict(wish.settings) != settings:
        raise SettingsInvalid(
            kind.title,
            [FieldError("/settings", "cannot be given for a connection that is used as it is; leave it out")],
        )
    kind.refuse_invalid(settings, kind.credentials_of(connection))
    return connection, settings


def _connection(book: ConnectionBook, integration: Integration) -> Connection:
    found = book.get(integration.connection_id)
    if found is None:
        raise BadRequest(
            f"Airflow has no connection {integration.connection_id!r} any more",
            hint=Hint(HintId.ROTATE_CREDENTIALS, integration.integration_id),
        )
    return found


def _replace(book: ConnectionBook, connection: Connection) -> None:
    """The connection with these values; made anew where somebody removed it by hand."""
    try:
        book.replace(connection)
    except NotFound as error:
        if book.get(connection.connection_id) is not None:
            raise Conflict(
                f"The connection {connection.connection_id!r} comes from the environment or a secrets backend: "
                "change it there, then test the integration"
            ) from error
        book.create(connection)


def _tested(integration_id: str, kind: Kind, connection: Connection) -> tuple[Check, ...]:
    found = checks.of_connection(kind, connection)
    if not checks.passed(found):
        raise TestRefused(integration_id, found)
    return found


def _current(store: Store, integration_id: str, version: int | None) -> Integration:
    with store.transaction() as work:
        return integrations.lock(work, integration_id, version=version)


def _store_new(store: Store, wish: NewIntegration, settings: Mapping[str, Any], *, actor: str) -> Integration:
    with store.transaction() as work:
        stored = integrations.add(
            work,
            integration_id=wish.integration_id,
            kind=wish.kind,
            name=wish.name,
            settings=settings,
            connection_id=wish.integration_id,
            actor=actor,
            with_credentials=wish.credentials is not None,
            tested=True,
        )
        audit.add(work, actor=actor, act="integration.add", subject=_subject(wish.integration_id))
    return stored


def _store(
    store: Store,
    before: Integration,
    after: Integration,
    *,
    act: str,
    actor: str,
    detail: dict[str, Any] | None = None,
    with_credentials: bool = False,
) -> Integration:
    """*after*, stored, when nobody changed the integration since *before*: a test takes seconds."""
    with store.transaction() as work:
        integrations.lock(work, before.integration_id, version=before.version)
        stored = integrations.change(work, after, actor=actor, with_credentials=with_credentials)
        subject = _subject(before.integration_id)
        audit.add(work, actor=actor, act=f"integration.{act}", subject=subject, detail=detail)
    return stored


def _to(store: Store, integration_id: str, state: IntegrationState, *, act: str, actor: str) -> Integration:
    with store.transaction() as work:
        before = integrations.lock(work, integration_id)
        if before.state is state:
            return before
        after = integrations.change(work, msgspec.structs.replace(before, state=state), actor=actor)
        audit.add(work, actor=actor, act=f"integration.{act}", subject=_subject(integration_id))
    return after


def _subject(integration_id: str) -> str:
    return f"integration/{integration_id}"
