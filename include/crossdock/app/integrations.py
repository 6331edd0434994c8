"""Reactions of other rooms to changes of an integration."""

from __future__ import annotations

from crossdock.core.errors import IntegrationPaused
from crossdock.db.database import Work
from crossdock.events.delivery import source_outages
from crossdock.events.webhooks_in.service import SOURCE


def on_changed(transaction: Work, integration_id: str) -> None:
    """Probe at once the source whose events wait because the integration was refused, or could not be called."""
    source_outages.probe_source_now(transaction, SOURCE + integration_id)


def on_resumed(transaction: Work) -> None:
    """Probe at once the sources whose events wait because an integration was paused."""
    source_outages.probe_now(transaction, IntegrationPaused.__name__)
