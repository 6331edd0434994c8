"""What else happens when an integration changes."""

from __future__ import annotations

from crossdock.core.errors import IntegrationPaused
from crossdock.db.database import Work
from crossdock.events.delivery import source_outages


def on_resumed(transaction: Work) -> None:
    """Deliver at once the events that waited because an integration was paused."""
    source_outages.hasten(transaction, IntegrationPaused.__name__)
