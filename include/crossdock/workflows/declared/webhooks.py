"""Webhooks of workflows' own: each signed delivery is an event, which starts the workflow that has the webhook."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import SOURCE, Delivery, IsEvent, Webhook
from crossdock.workflows.declared import repository
from crossdock.workflows.declared.events import WORKFLOW_REQUESTED, WorkflowRequested

_SENDER = "workflows/"
#: All messages mean the same.
_ANY = "any"


def sender_of(webhook: str) -> str:
    """Name who sends to a webhook, where an integration's has the integration: also the end of its address."""
    return f"{_SENDER}{webhook}"


def webhook_in(sender: str) -> str | None:
    """Read the webhook from the name of its sender; None if that is an integration."""
    return sender.removeprefix(_SENDER) if sender.startswith(_SENDER) else None


def meaning_of(webhook: str) -> Webhook:
    """Say what the deliveries to a webhook mean: each is one event, with its whole body."""

    def events(delivery: Delivery) -> Sequence[NewEvent]:
        return [
            WORKFLOW_REQUESTED.event(
                WorkflowRequested(webhook=webhook, body=delivery.document),
                source=f"{SOURCE}{delivery.integration}",
                subject=f"webhook/{webhook}",
                time=delivery.received_at,
                event_id=delivery.id,
            )
        ]

    return Webhook(types_of=lambda _: (_ANY,), meanings={_ANY: IsEvent((WORKFLOW_REQUESTED.name,), events)})


def refuse_unknown(store: Store, webhook: str) -> None:
    """
    Make sure that a delivery starts something.

    Raises:
        NotFound: no workflow that is deployed has the webhook.

    """
    with store.transaction() as work:
        if not repository.deployed_webhooks(work, [webhook]):
            raise NotFound(f"No workflow that is deployed has the webhook {webhook!r}")
