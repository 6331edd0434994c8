"""Open the systems of a sync, and the clients of actions, from Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.app.streams import DECLARED
from crossdock.core.ids import prefixed
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.http.model import CallPolicy, Safeguards
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.http.shared_token import Cipher
from crossdock.integrations import airflow_connection, repository
from crossdock.integrations.actions.ports import Client
from crossdock.integrations.manifests import Manifest, manifest_of
from crossdock.integrations.model import Integration
from crossdock.integrations.registered import find_active, find_integration, moved, refuse_moved
from crossdock.sync import Stream, Systems
from crossdock.sync.landing import Landing
from crossdock.sync.source import Source

#: How long a task waits for the hub's database before it fails and uses up one of its retries.
_STORE_AWAY_S = 120.0


@contextmanager
def systems_of(stream: Stream, *, starts: bool = False, queues: bool = True) -> Iterator[Systems]:
    """
    Open the systems of *stream* from Airflow's connections, and close them at the end. In a task, never at parse time.

    *queues*: reads wait their turn at a slow rate limit, and while the hub's database is away; an event that needs one record is
    rather retried.

    The registry has the connection's id; a declared integration that is not registered uses the one of its name.

    Raises:
        IntegrationPaused: the run *starts* now, and the integration is paused.
        NotFound: the run *starts* now, and the integration was removed; or it has no connection.

    """
    with Store.from_connection(settings().store_connection) as store:
        if queues:
            store.wait_until_it_answers(_STORE_AWAY_S)
        known = (find_active if starts else find_integration)(store, stream.integration)
        with SharedSafeguards(store, stream.integration, cipher=cipher(), queues=queues) as calls:
            yield Systems(
                source=_source_of(store, stream.integration, known, calls.safeguards),
                store=store,
                landing=Landing(settings().landing_url),
                overlap=settings().overlap,
                lease_life=settings().lease_life,
                pages_in_flight=settings().pages_in_flight,
            )


@contextmanager
def client_of(store: Store, integration: Integration, manifest: Manifest) -> Iterator[Client]:
    """
    Open the client of *integration* for actions, and close it at the end. In a task, or in the api-server.

    It shares rate limit, circuit breaker and token with the syncs. A person waits: it does not queue at a slow rate limit.

    Raises:
        NotFound: Airflow has no such connection.
        BadRequest: the connection lacks a value, or would send its credentials elsewhere than they were given for.

    """
    connection = _registered(store, integration, manifest)
    with SharedSafeguards(store, integration.integration_id, cipher=cipher(), queues=False) as calls:
        client: Client = manifest.provided("client")(integration.integration_id, connection, calls.safeguards)
        yield client


def cipher() -> Cipher | None:
    """Give Airflow's Fernet cipher, so that the hub has no key of its own to manage; None if no key is set."""
    from airflow.sdk.crypto import get_fernet  # noqa: PLC0415  only where calls are made

    found = get_fernet()
    return found if found.is_encrypted else None


def _source_of(
    store: Store, integration: str, known: Integration | None, share: Callable[[CallPolicy], Safeguards]
) -> Source:
    """Create the source that the connector's manifest names."""
    manifest = manifest_of(known.kind if known else DECLARED)
    connection = _registered(store, known, manifest) if known else _connection(manifest, prefixed(integration))
    source: Source = manifest.provided("source")(integration, connection, share)
    return source


def _registered(store: Store, integration: Integration, manifest: Manifest) -> Connection:
    """
    Find the connection of *integration*, unless it would send the credentials elsewhere than they were given for.

    Raises:
        BadRequest: it would.

    """
    connection = _connection(manifest, integration.connection_id)
    if moved(integration, manifest, connection):
        # Somebody may be changing both at this moment: who writes the connection holds this lock.
        with store.transaction() as work:
            integration = repository.lock(work, integration.integration_id)
        connection = _connection(manifest, integration.connection_id)
        refuse_moved(integration, manifest, connection)
    return connection


def _connection(manifest: Manifest, connection_id: str) -> Connection:
    if manifest.credentials["required"]:
        return airflow_connection.read(connection_id)
    # A system without authentication needs no connection.
    return airflow_connection.find(connection_id) or Connection(connection_id=connection_id, conn_type=manifest.kind)
