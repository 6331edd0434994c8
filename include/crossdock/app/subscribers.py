"""
All subscribers of events, in one mapping.

To add one, add a function to the `subscribers.py` of its subject and a line here; publishers do not change. A handler that
needs a service is closed over it here, so that the event engine knows none of them.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.app.on_webhook_received import FetchChangedRecord
from crossdock.app.services import Services
from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.commerce.mail import subscribers as mail_subscribers
from crossdock.commerce.mail.events import MAIL_REPORTED
from crossdock.commerce.orders.steps import EVENT_TYPES
from crossdock.commerce.payments import subscribers as payment_subscribers
from crossdock.commerce.payments.events import PAYMENT_REPORTED
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED
from crossdock.events.subscriber import Subscriber


def subscribers(services: Services) -> Mapping[str, Subscriber]:
    """Map each subscriber's name to its handler and settings. Opens nothing, so names and types are had at no cost."""
    return {
        "availability": Subscriber(types=(STOCK_CHANGED,), apply=inventory_subscribers.apply),
        "changed_record": Subscriber(
            types=(WEBHOOK_RECEIVED,),
            deliver=FetchChangedRecord(services.records).deliver,
            attempts=8,
            first_wait_s=0.5,
        ),
        # Each fact is one of its own: a later one does not say what a dead one said.
        "mails": Subscriber(types=(MAIL_REPORTED.name,), apply=mail_subscribers.apply, newer_replaces_older=False),
        # Each step is one of its own, and is looked up in the order: an event only says that there may be one to make.
        "orders": Subscriber(types=EVENT_TYPES, deliver=services.orders.deliver, first_wait_s=0.5),
        "payments": Subscriber(
            types=(PAYMENT_REPORTED.name,), apply=payment_subscribers.apply, newer_replaces_older=False
        ),
        "stock": Subscriber(types=(STOCK_CHANGED,), apply=inventory_subscribers.apply_to_stock),
    }
