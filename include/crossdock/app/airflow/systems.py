"""Open the systems of a sync from Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.model import CallPolicy, Safeguards
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.http.shared_token import Cipher
from crossdock.integrations.airflow_connection import read
from crossdock.integrations.registered import find_active, find_integration
from crossdock.sync import Sync, Systems
from crossdock.sync.landing import Landing
from crossdock.sync.source import Source


@contextmanager
def systems_of(sync: Sync, *, starts: bool = False) -> Iterator[Systems]:
    """
    Open the systems of *sync* from Airflow's connections, and close them at the end. In a task, never at parse time.

    The registry has the connection's id; an integration that is not registered uses the one of the settings.

    Raises:
        IntegrationPaused: the run *starts* now, and the integration is paused.
        NotFound: the run *starts* now, and the integration was removed.

    """
    with Store.from_connection(settings().store_connection) as store:
        known = (find_active if starts else find_integration)(store, sync.integration)
        with SharedSafeguards(store, sync.integration, cipher=_cipher()) as calls:
            yield Systems(
                source=_source_of(sync, known.connection_id if known else None, calls.safeguards),
                store=store,
                landing=Landing(settings().landing_url),
                overlap=settings().overlap,
                lease_life=settings().lease_life,
                pages_in_flight=settings().pages_in_flight,
            )


def _cipher() -> Cipher | None:
    """Use Airflow's Fernet cipher, so that the hub has no key of its own to manage; None if no key is set."""
    from airflow.sdk.crypto import get_fernet  # noqa: PLC0415  only where calls are made

    cipher = get_fernet()
    return cipher if cipher.is_encrypted else None


def _source_of(sync: Sync, connection_id: str | None, share: Callable[[CallPolicy], Safeguards]) -> Source:
    """Build the connector of *sync*, from the registered connection or else the connection of its name."""
    from crossdock.connectors.commercetools import Commercetools  # noqa: PLC0415  requests is not needed to parse

    if sync.integration == Commercetools.name:
        return Commercetools.of(read(connection_id or settings().commercetools_connection), share)
    from crossdock.connectors.declarative.factory import source_of  # noqa: PLC0415

    return source_of(sync.integration, connection_id, share)
