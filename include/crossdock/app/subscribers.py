"""
All subscribers of events, in one list: SUBSCRIBERS.

To add one, add a function to the `subscribers.py` of its subject and a line here; publishers do not change.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.app import on_webhook_received
from crossdock.commerce.inventory import subscribers as inventory_subscribers
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED
from crossdock.events.subscriber import Subscriber

SUBSCRIBERS: Mapping[str, Subscriber] = {
    "availability": Subscriber(types=(STOCK_CHANGED,), apply=inventory_subscribers.apply),
    "changed_record": Subscriber(
        types=(WEBHOOK_RECEIVED,), deliver=on_webhook_received.deliver, attempts=8, first_wait_s=0.5
    ),
}
