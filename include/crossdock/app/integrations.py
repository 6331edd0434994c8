"""Reactions of other rooms to changes of an integration."""

from __future__ import annotations

from crossdock.core.errors import IntegrationPaused
from crossdock.db.database import Work
from crossdock.events.delivery import source_outages


def on_resumed(transaction: Work) -> None:
    """Probe at once the sources whose events wait because an integration was paused."""
    source_outages.probe_now(transaction, IntegrationPaused.__name__)
