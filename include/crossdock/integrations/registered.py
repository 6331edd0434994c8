"""Look up integrations for a sync. Keep this module light: DAG files import it."""

from __future__ import annotations

from crossdock.core.errors import BadRequest, IntegrationPaused, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations import repository
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration, IntegrationState


def find_integration(store: Store, integration_id: str) -> Integration | None:
    """Find the integration; None if it is not in the registry."""
    with store.question() as work:
        return repository.find(work, integration_id)


def find_active(store: Store, integration_id: str) -> Integration | None:
    """
    Find the integration, and refuse one that is paused or removed. Call it before reading from the system.

    None if it was never in the registry: such an integration is read by its connection alone.

    Raises:
        IntegrationPaused: somebody paused it.
        NotFound: somebody removed it.

    """
    with store.question() as work:
        found = repository.find(work, integration_id)
        if found is None and repository.is_removed(work, integration_id):
            raise NotFound(
                f"{integration_id} was removed: nothing is read until it is added again",
                hint=Hint(HintId.LIST_INTEGRATIONS),
            )
    if found and found.state is IntegrationState.PAUSED:
        raise IntegrationPaused(integration_id, found.updated_by)
    return found


def moved(integration: Integration, kind: Manifest, connection: Connection) -> list[str]:
    """
    Name the settings by which *connection* would send the credentials elsewhere than they were given for.

    None of an integration whose credentials were not given to the hub: its connection is kept elsewhere, as a whole.
    """
    if integration.credentials_set_at is None:
        return []
    return kind.other_destination(integration.settings, kind.settings_of(connection))


def refuse_moved(integration: Integration, kind: Manifest, connection: Connection) -> None:
    """
    Refuse a connection that somebody has pointed elsewhere, in Airflow's own form: they may not know the credentials in it.

    Raises:
        BadRequest: it would send them elsewhere than they were given for.

    """
    if fields := moved(integration, kind, connection):
        raise BadRequest(
            f"{integration.integration_id}: the Airflow connection {connection.connection_id!r} has another {', '.join(fields)} "
            "than the credentials were given for. Give them again, which restores what is registered; if the new value is "
            "right, change the integration",
            hint=Hint(HintId.ROTATE_CREDENTIALS, integration.integration_id),
        )
