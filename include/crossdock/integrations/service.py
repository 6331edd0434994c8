"""Use cases of the registry of integrations. Settings are tested before they are stored; secrets are never stored here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from crossdock.core import ids
from crossdock.core.errors import BadRequest, Conflict, NotFound
from crossdock.core.failpoints import failpoint
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store, Work
from crossdock.http import shared_breaker
from crossdock.http.connection import Connection
from crossdock.integrations import connection_test, repository
from crossdock.integrations.manifests import Manifest, manifest_of, manifests
from crossdock.integrations.model import (
    Check,
    ConnectionStore,
    FieldError,
    Integration,
    IntegrationState,
    SettingsInvalid,
    TestRefused,
)
from crossdock.integrations.registered import moved, refuse_moved
from crossdock.observability import audit


class NewIntegration(msgspec.Struct, frozen=True, kw_only=True):
    """The integration that a person wants to add."""

    integration_id: str
    kind: str
    name: str
    settings: Mapping[str, Any]
    #: None: use the existing Airflow connection of that id (from the environment or a secrets backend) as it is.
    credentials: Mapping[str, Any] | None

    def __repr__(self) -> str:
        return f"NewIntegration({self.integration_id!r}, {self.kind!r}, …)"


class Added(msgspec.Struct, frozen=True):
    """The stored integration and the results of its test; no checks if no test was needed."""

    integration: Integration
    checks: tuple[Check, ...]


def _nothing(work: Work, added: Added) -> None:
    """Do nothing when a change is stored."""


#: Called in the transaction that stores a change, for what belongs to it.
OnStored = Callable[[Work, Added], None]


def add(
    store: Store, connections: ConnectionStore, new: NewIntegration, *, actor: str, on_stored: OnStored = _nothing
) -> Added:
    """
    Validate the settings, test the connection, and store both. *on_stored* runs in the transaction that stores them.

    Raises:
        SettingsInvalid: There is no such kind, or its schema refuses the settings.
        Conflict: The registry or Airflow already has something with that id, or it is one of workflows.
        TestRefused: A check failed; nothing is stored.

    """
    kind = manifest_of(new.kind)
    _refuse_taken(store, new.integration_id)
    if new.credentials is None:
        connection, settings = _existing(connections, kind, new)
    else:
        kind.refuse_invalid(new.settings, new.credentials)
        connection = kind.given_for(kind.connection(ids.prefixed(new.integration_id), new.settings, new.credentials))
        settings = dict(new.settings)
    found = _tested(new.integration_id, kind, connection)
    if new.credentials is not None:
        _create(connections, kind, connection)
        failpoint("integration.connected")
    try:
        stored = _store_new(store, new, settings, found, on_stored, actor=actor)
    except BaseException:
        # A connection without an integration would block the next attempt.
        if new.credentials is not None:
            connections.remove(connection.connection_id)
        raise
    return Added(stored, found)


#: Who applies `airflow_settings.yaml`. What anybody else did to an integration is not undone.
_BY_FILE = ("cli:up", "cli:prepare")
_BY_HAND = ("integration.add", "integration.change", "integration.rotate", "integration.remove")


@dataclass(frozen=True)
class Registered:
    """What became of the integrations of a settings file."""

    #: IDs of those that were added or changed.
    changed: tuple[str, ...]
    #: Connection ID → who did what to the integration, so that it was left as it is.
    kept: Mapping[str, audit.Entry]


def register(store: Store, documents: Iterable[Mapping[str, Any]], *, actor: str) -> Registered:
    """
    Upsert the integrations of *documents* (connections as in Airflow's API), untested.

    For the connections of `airflow_settings.yaml`. Connections whose type is not one of our kinds (the hub's own
    database) are skipped. An integration that somebody added, changed, rotated or removed is left as it is: the address
    of the sandbox must not replace that of a real shop. Idempotent.
    """
    changed, kept = [], {}
    for document in documents:
        kind = manifests().get(str(document["conn_type"]))
        if kind is None:
            continue
        known = {name: document[name] for name in ("host", "port", "schema", "login") if document.get(name)}
        extra = json.loads(document.get("extra") or "{}")
        connection_id = str(document["connection_id"])
        with store.transaction() as work:
            by_hand = audit.last(work, _subject(ids.unprefixed(connection_id)), _BY_HAND, not_by=_BY_FILE)
        if by_hand and actor in _BY_FILE:
            kept[connection_id] = by_hand
            continue
        connection = Connection(connection_id=connection_id, conn_type=kind.kind, extra=extra, **known)
        if _upsert(store, kind, connection, actor):
            changed.append(ids.unprefixed(connection_id))
    return Registered(tuple(changed), kept)


def _upsert(store: Store, kind: Manifest, connection: Connection, actor: str) -> bool:
    integration_id, settings = ids.unprefixed(connection.connection_id), kind.settings_of(connection)
    with store.transaction() as work:
        known = repository.find(work, integration_id)
        if known and known.settings == settings:
            return False
        if known:
            changed = repository.change(work, msgspec.structs.replace(known, settings=settings), actor=actor)
        else:
            changed = repository.add(
                work,
                integration_id=integration_id,
                kind=kind.kind,
                name=kind.title,
                settings=settings,
                connection_id=connection.connection_id,
                actor=actor,
                with_credentials=False,
                tested=False,
            )
        act = "change" if known else "add"
        _record(work, act, known, changed, actor=actor)
    return True


def change(
    store: Store,
    connections: ConnectionStore,
    integration_id: str,
    *,
    version: int | None,
    actor: str,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    credentials: Mapping[str, Any] | None = None,
    same_records: bool = False,
    on_stored: OnStored = _nothing,
) -> Added:
    """
    Change the name, or replace all settings after testing the new ones. *on_stored* runs in the transaction that records it.

    The credentials stay, unless the settings would send them elsewhere: then *credentials* must be given again. Otherwise
    whoever may change an address could have the stored credentials sent to a host of their own.

    Once records have been read, the integration stays with its system: the records of two would mix under one watermark.
    *same_records* confirms that the new address is of the same system.

    Raises:
        NotFound: There is no such integration.
        VersionChanged: Somebody changed it since *version*; None for any version.
        SettingsInvalid, TestRefused: As in `add`, or the credentials must be given again; nothing is stored.
        Conflict: The connection is not in Airflow's own database, so it cannot be changed here; or the settings are those
            of another system.

    """
    before = _current(store, integration_id, version)
    found: tuple[Check, ...] = ()
    connection: Connection | None = None
    if credentials is not None and settings is None:
        message = "come with settings; to replace them alone, rotate them"
        raise SettingsInvalid(before.kind, [FieldError("/credentials", message)])
    if settings is not None and (credentials is not None or dict(settings) != dict(before.settings)):
        kind = manifest_of(before.kind)
        kind.refuse_invalid(settings, credentials)
        if not same_records:
            _refuse_other_system(store, kind, before, settings)
        connection = _changed(before, kind, _connection(connections, before), settings, credentials)
        found = _tested(integration_id, kind, connection)
    after = msgspec.structs.replace(
        before, name=name or before.name, settings=before.settings if settings is None else settings
    )

    def store_connection(work: Work, changed: Integration) -> None:
        on_stored(work, Added(changed, found))
        if connection is not None:
            _replace(connections, connection)

    stored = _store(
        store,
        before,
        after,
        act="change",
        actor=actor,
        with_credentials=credentials is not None,
        on_stored=store_connection,
    )
    return Added(stored, found)


def rotate(
    store: Store,
    connections: ConnectionStore,
    integration_id: str,
    credentials: Mapping[str, Any],
    *,
    version: int | None,
    actor: str,
    on_stored: OnStored = _nothing,
) -> Added:
    """
    Replace the credentials after testing the new ones. *on_stored* runs in the transaction that records it.

    Raises:
        HubError: As in `change`.

    """
    before = _current(store, integration_id, version)
    kind = manifest_of(before.kind)
    kind.refuse_invalid(before.settings, credentials)
    connection = kind.given_for(kind.connection(before.connection_id, before.settings, credentials))
    if known := connections.get(before.connection_id):
        connection = kind.preserve_extra(known, connection)
    found = _tested(integration_id, kind, connection)

    def store_connection(work: Work, rotated: Integration) -> None:
        on_stored(work, Added(rotated, found))
        _replace(connections, connection)

    stored = _store(store, before, before, act="rotate", actor=actor, with_credentials=True, on_stored=store_connection)
    return Added(stored, found)


def test(
    store: Store,
    connections: ConnectionStore,
    integration_id: str,
    *,
    actor: str,
    on_passed: Callable[[Work], None] = lambda _: None,  # noqa: PT028  no test function
) -> tuple[Check, ...]:
    """
    Test the connection and record the result with the integration. *on_passed* runs in the transaction that records it.

    Raises:
        NotFound: There is no such integration.
        BadRequest: The connection is gone, lacks fields without which it cannot be tested, or would send the credentials
            elsewhere than they were given for.

    """
    integration = _current(store, integration_id, None)
    kind, connection = manifest_of(integration.kind), _connection(connections, integration)
    refuse_moved(integration, kind, connection)
    found = connection_test.check_connection(kind, connection)
    passed = connection_test.all_passed(found)
    with store.transaction() as work:
        repository.record_test(work, integration_id, passed=passed)
        if passed:
            on_passed(work)
        detail = {"passed": passed}
        audit.add(work, actor=actor, act="integration.test", subject=_subject(integration_id), detail=detail)
    return found


def pause(store: Store, integration_id: str, *, actor: str) -> Integration:
    """Pause the syncs of the integration. Runs that have read their records are finished."""
    return _set_state(store, integration_id, IntegrationState.PAUSED, act="pause", actor=actor)


def resume(store: Store, integration_id: str, *, on_resumed: Callable[[Work], None], actor: str) -> Integration:
    """
    Resume the syncs of the integration. The next run reads what changed in the meantime.

    *on_resumed* runs in a transaction afterwards, for what waited: the integration's webhooks.
    """
    resumed = _set_state(store, integration_id, IntegrationState.ACTIVE, act="resume", actor=actor)
    with store.transaction() as work:
        on_resumed(work)
    return resumed


def remove(store: Store, connections: ConnectionStore, integration_id: str, *, version: int | None, actor: str) -> None:
    """
    Delete the integration, and the credentials if the hub wrote them. Synced data is kept.

    Its stock is no longer sellable, because the hub would not learn of sales in other channels, until it is added again.

    Raises:
        NotFound: There is no such integration.
        VersionChanged: Somebody changed it since *version*.

    """
    with store.transaction() as work:
        gone = repository.lock(work, integration_id, version=version)
        repository.remove(work, integration_id)
        # Its outage would stay open for ever: no call that could end it is made.
        shared_breaker.forget(work, integration_id)
        _record(work, "remove", gone, None, actor=actor)
        if gone.credentials_set_at is not None:
            # Before the commit: otherwise a crash would leave a secret that nothing refers to.
            connections.remove(gone.connection_id)


def _refuse_other_system(store: Store, kind: Manifest, before: Integration, settings: Mapping[str, Any]) -> None:
    differs = kind.other_system(before.settings, settings)
    if not differs:
        return
    with store.transaction() as work:
        if not repository.has_read(work, before.integration_id):
            return
    raise Conflict(
        f"{before.integration_id} has read records, and {', '.join(differs)} would point it at another system: the records of "
        "both would mix. Add another integration for that system. If it is the same system at a new address, confirm "
        "with same_records",
        hint=Hint(HintId.SHOW_INTEGRATION, before.integration_id),
    )


def _changed(
    before: Integration,
    kind: Manifest,
    known: Connection,
    settings: Mapping[str, Any],
    credentials: Mapping[str, Any] | None,
) -> Connection:
    """Build the connection with *settings*; the known credentials stay if the settings leave their destination as it is."""
    if credentials is not None:
        return kind.preserve_extra(known, kind.given_for(kind.connection(known.connection_id, settings, credentials)))
    stored = kind.credentials_of(known)
    # Also compared with the connection, which says where they would go: somebody may have changed it by hand.
    moving = kind.other_destination(kind.settings_of(known), settings) or moved(before, kind, known) if stored else []
    if moving:
        message = f"must be given again, because {', '.join(moving)} decides where they are sent"
        raise SettingsInvalid(kind.title, [FieldError("/credentials", message)])
    return kind.preserve_extra(known, kind.connection(known.connection_id, settings, stored))


#: `workflows_<webhook>_webhook` is the connection of a workflow's webhook.
_OF_WORKFLOWS = "workflows_"


def _refuse_taken(store: Store, integration_id: str) -> None:
    """Refuse an id that is taken before the test, which takes seconds and calls the system."""
    if integration_id.startswith(_OF_WORKFLOWS):
        raise Conflict(
            f"The integration cannot be called {integration_id!r}: the connection with the keys of its webhooks would have the name "
            f"of that of a workflow's webhook. Choose an ID that does not begin with {_OF_WORKFLOWS}"
        )
    with store.transaction() as work:
        if repository.find(work, integration_id):
            raise Conflict(
                f"The integration {integration_id!r} already exists",
                hint=Hint(HintId.SHOW_INTEGRATION, integration_id),
            )


def _existing(connections: ConnectionStore, kind: Manifest, new: NewIntegration) -> tuple[Connection, dict[str, Any]]:
    connection = connections.get(ids.prefixed(new.integration_id))
    if connection is None:
        raise SettingsInvalid(
            kind.title,
            [FieldError("/credentials", f"is missing, and Airflow has no connection {new.integration_id!r} to use")],
        )
    settings = kind.settings_of(connection)
    if new.settings and dict(new.settings) != settings:
        raise SettingsInvalid(
            kind.title,
            [FieldError("/settings", "cannot be given for a connection that is used as it is; leave it out")],
        )
    kind.refuse_invalid(settings, kind.credentials_of(connection))
    return connection, settings


def _create(connections: ConnectionStore, kind: Manifest, connection: Connection) -> None:
    """
    Create the connection, or find it as a process left it that was killed before it stored the integration.

    Only one with the very same settings and credentials: any other is somebody's own.

    Raises:
        Conflict: Airflow has another connection of that id.

    """
    try:
        connections.create(connection)
    except Conflict:
        known = connections.get(connection.connection_id)
        if known is None or known.conn_type != connection.conn_type:
            raise
        if any(of(known) != of(connection) for of in (kind.settings_of, kind.credentials_of)):
            raise


def _connection(connections: ConnectionStore, integration: Integration) -> Connection:
    found = connections.get(integration.connection_id)
    if found is None:
        raise BadRequest(
            f"Airflow no longer has the connection {integration.connection_id!r}",
            hint=Hint(HintId.ROTATE_CREDENTIALS, integration.integration_id),
        )
    return found


def _replace(connections: ConnectionStore, connection: Connection) -> None:
    """Replace the connection, or create it again if somebody removed it by hand."""
    try:
        connections.replace(connection)
    except NotFound as error:
        if connections.get(connection.connection_id) is not None:
            raise Conflict(
                f"The connection {connection.connection_id!r} comes from the environment or a secrets backend: "
                "change it there, then test the integration"
            ) from error
        connections.create(connection)


def _tested(integration_id: str, kind: Manifest, connection: Connection) -> tuple[Check, ...]:
    found = connection_test.check_connection(kind, connection)
    if not connection_test.all_passed(found):
        raise TestRefused(integration_id, found)
    return found


def _current(store: Store, integration_id: str, version: int | None) -> Integration:
    with store.transaction() as work:
        return repository.lock(work, integration_id, version=version)


def _store_new(
    store: Store,
    new: NewIntegration,
    settings: Mapping[str, Any],
    checks: tuple[Check, ...],
    on_stored: OnStored,
    *,
    actor: str,
) -> Integration:
    with store.transaction() as work:
        stored = repository.add(
            work,
            integration_id=new.integration_id,
            kind=new.kind,
            name=new.name,
            settings=settings,
            connection_id=ids.prefixed(new.integration_id),
            actor=actor,
            with_credentials=new.credentials is not None,
            tested=True,
        )
        _record(work, "add", None, stored, actor=actor)
        on_stored(work, Added(stored, checks))
    return stored


def _store(
    store: Store,
    before: Integration,
    after: Integration,
    *,
    act: str,
    actor: str,
    with_credentials: bool = False,
    on_stored: Callable[[Work, Integration], None] = lambda _work, _stored: None,
) -> Integration:
    """
    Store *after* unless somebody changed the integration since *before*: a test takes seconds.

    *on_stored* writes the connection, last: Airflow has another database. Whoever is refused here has changed neither.
    """
    with store.transaction() as work:
        repository.lock(work, before.integration_id, version=before.version)
        stored = repository.change(work, after, actor=actor, with_credentials=with_credentials)
        _record(work, act, before, stored, actor=actor)
        on_stored(work, stored)
    return stored


def _set_state(store: Store, integration_id: str, state: IntegrationState, *, act: str, actor: str) -> Integration:
    with store.transaction() as work:
        before = repository.lock(work, integration_id)
        if before.state is state:
            return before
        after = repository.change(work, msgspec.structs.replace(before, state=state), actor=actor)
        _record(work, act, before, after, actor=actor)
    return after


def _record(work: Work, act: str, before: Integration | None, after: Integration | None, *, actor: str) -> None:
    """Record a change with what it changed from what to what. Settings are no secrets; credentials are not here at all."""
    known = after or before
    if known is None:
        return
    detail = {"kind": known.kind, "changed": audit.differences(_traced(before), _traced(after))}
    audit.add(work, actor=actor, act=f"integration.{act}", subject=_subject(known.integration_id), detail=detail)


def _traced(integration: Integration | None) -> dict[str, Any]:
    if integration is None:
        return {}
    written = integration.credentials_set_at
    return {
        "name": integration.name,
        "state": integration.state.value,
        "settings": dict(integration.settings),
        "credentials_set_at": written and written.isoformat(),
    }


def _subject(integration_id: str) -> str:
    return f"integration/{integration_id}"
