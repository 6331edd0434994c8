"""What a sync asks of the registry. Light: DAG files import it."""

from __future__ import annotations

from crossdock.core.errors import IntegrationPaused, NotFound
from crossdock.core.hints import Hint, HintId
from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.integrations.model import Integration, IntegrationState


def registered(store: Store, integration_id: str) -> Integration | None:
    """The integration, None where the registry does not have it."""
    with store.transaction() as work:
        return integrations.find(work, integration_id)


def refuse_stopped(store: Store, integration_id: str) -> Integration | None:
    """
    The same, for whoever is about to read from it: neither paused nor removed.

    Raises:
        IntegrationPaused: it is to read nothing now.
        NotFound: somebody removed it; one that was never in the registry is read by its connection alone.

    """
    with store.transaction() as work:
        found = integrations.find(work, integration_id)
        if found is None and integrations.is_removed(work, integration_id):
            raise NotFound(
                f"{integration_id} was removed: nothing is read until it is added again",
                hint=Hint(HintId.LIST_INTEGRATIONS),
            )
    if found and found.state is IntegrationState.PAUSED:
        raise IntegrationPaused(integration_id, found.updated_by)
    return found
