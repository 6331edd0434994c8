"""
All subscribers of events, in one mapping.

To add one, add a function to the `subscribers.py` of its subject and a line here; publishers do not change. A handler that
needs a service is closed over it here, so that the event engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from crossdock.app import workflow_snapshots
from crossdock.app.on_webhook_received import FetchChangedRecord, confirm_subscriptions
from crossdock.app.services import Services
from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.commerce.mail import subscribers as mail_subscribers
from crossdock.commerce.mail.events import MAIL_REPORTED
from crossdock.commerce.orders.steps import EVENT_TYPES, flow_names
from crossdock.commerce.payments import subscribers as payment_subscribers
from crossdock.commerce.payments.events import PAYMENT_REPORTED
from crossdock.db.database import Work
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_HANDSHAKE, WEBHOOK_RECEIVED, Event
from crossdock.events.subscriber import Subscriber
from crossdock.workflows import repository as executions
from crossdock.workflows.declared.subscribers import FAILED_EXECUTIONS, TYPES_OF_EXECUTIONS
from crossdock.workflows.declared.triggers import WORKFLOW_TRIGGERS


def subscribers(services: Services) -> Mapping[str, Subscriber]:
    """Map each subscriber's name to its handler and settings. Opens nothing, so names and types are had at no cost."""
    known = {
        "availability": Subscriber(types=(STOCK_CHANGED,), apply=inventory_subscribers.apply),
        "changed_record": Subscriber(
            types=(WEBHOOK_RECEIVED,),
            deliver=FetchChangedRecord(services.records).deliver,
            attempts=8,
            first_wait_s=0.5,
        ),
        # What comes later of an execution says that it is well: it takes the place of what failed before.
        FAILED_EXECUTIONS: Subscriber(
            types=TYPES_OF_EXECUTIONS, deliver=services.failed_executions.deliver, attempts=1
        ),
        # Each fact is one of its own: a later one does not say what a dead one said.
        "mails": Subscriber(types=(MAIL_REPORTED.name,), apply=mail_subscribers.apply, newer_replaces_older=False),
        # An event only says that there may be a step to make: the order is looked up, and goes on as far as it can.
        "orders": Subscriber(types=EVENT_TYPES, deliver=services.orders.deliver, first_wait_s=0.5),
        "payments": Subscriber(types=(PAYMENT_REPORTED.name,), apply=_apply_to_payments, newer_replaces_older=False),
        "stock": Subscriber(types=(STOCK_CHANGED,), apply=inventory_subscribers.apply_to_stock),
        # Each is about a subscription of its own.
        "webhook_subscriptions": Subscriber(
            types=(WEBHOOK_HANDSHAKE,), deliver=confirm_subscriptions, newer_replaces_older=False
        ),
    }
    if types := workflow_snapshots.event_types():
        known[WORKFLOW_TRIGGERS] = Subscriber(
            types=types, apply=services.workflow_triggers.apply, newer_replaces_older=False
        )
    return known


def _apply_to_payments(work: Work, events: Sequence[Event]) -> None:
    """Apply what gateways report, and wake the orders that wait for it: the reference of an order's payment is its ID."""
    references = payment_subscribers.apply(work, events)
    executions.wake(work, flow_names(), references)
