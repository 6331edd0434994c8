"""The systems of a sync behind Airflow's connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from crossdock.app.airflow.hints import noted_hints
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.model import CallPolicy, Safeguards
from crossdock.http.shared import SharedCalls
from crossdock.http.shared_token import Cipher
from crossdock.integrations.airflow_connection import read
from crossdock.integrations.registered import refuse_stopped, registered
from crossdock.sync import Sync, Systems
from crossdock.sync.landing import Landing
from crossdock.sync.source import Source


@contextmanager
def systems_of(sync: Sync, *, starts: bool = False) -> Iterator[Systems]:
    """
    The systems of *sync* behind Airflow's connections, closed in the end. In a task, never at parse time.

    The registry says which connection; an integration that it does not have uses the one of the settings.

    Raises:
        IntegrationPaused: a run that *starts* is of an integration that somebody paused.
        NotFound: or of one that somebody removed.

    """
    with noted_hints(), Store.from_connection(settings().store_connection) as store:
        known = (refuse_stopped if starts else registered)(store, sync.integration)
        with SharedCalls(store, sync.integration, cipher=_cipher()) as calls:
            yield Systems(
                source=_source_of(sync, known.connection_id if known else None, calls.safeguards),
                store=store,
                landing=Landing(settings().landing_url),
                overlap=settings().overlap,
                lease_life=settings().lease_life,
                pages_in_flight=settings().pages_in_flight,
            )


def _cipher() -> Cipher | None:
    """Airflow's, whose key is no secret more to keep; None where a deployment has set none."""
    from airflow.sdk.crypto import get_fernet  # noqa: PLC0415  only where calls are made

    cipher = get_fernet()
    return cipher if cipher.is_encrypted else None


def _source_of(sync: Sync, connection_id: str | None, share: Callable[[CallPolicy], Safeguards]) -> Source:
    """The connector of *sync*, behind the registry's connection or else the one of its name."""
    from crossdock.connectors.commercetools import Commercetools  # noqa: PLC0415  requests is not needed to parse

    if sync.integration == Commercetools.name:
        return Commercetools.of(read(connection_id or settings().commercetools_connection), share)
    from crossdock.connectors.declarative.factory import source_of  # noqa: PLC0415

    return source_of(sync.integration, connection_id, share)
