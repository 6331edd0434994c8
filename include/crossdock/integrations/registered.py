"""Look up integrations for a sync. Keep this module light: DAG files import it."""

from __future__ import annotations

from crossdock.core.errors import IntegrationPaused, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.integrations import repository
from crossdock.integrations.model import Integration, IntegrationState


def find_integration(store: Store, integration_id: str) -> Integration | None:
    """Find the integration; None if it is not in the registry."""
    with store.transaction() as work:
        return repository.find(work, integration_id)


def find_active(store: Store, integration_id: str) -> Integration | None:
    """
    Find the integration, and refuse one that is paused or removed. Call it before reading from the system.

    None if it was never in the registry: such an integration is read by its connection alone.

    Raises:
        IntegrationPaused: somebody paused it.
        NotFound: somebody removed it.

    """
    with store.transaction() as work:
        found = repository.find(work, integration_id)
        if found is None and repository.is_removed(work, integration_id):
            raise NotFound(
                f"{integration_id} was removed: nothing is read until it is added again",
                hint=Hint(HintId.LIST_INTEGRATIONS),
            )
    if found and found.state is IntegrationState.PAUSED:
        raise IntegrationPaused(integration_id, found.updated_by)
    return found
