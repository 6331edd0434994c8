"""
Who reacts to what: SUBSCRIBERS is the one list.

Adding one is a `subscribers.py` in its subject and a line here; whoever publishes is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from crossdock.app import on_webhook_received
from crossdock.commerce.inventory import subscribers as inventory
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED
from crossdock.events.subscriber import Subscriber

SUBSCRIBERS: Mapping[str, Subscriber] = {
    "availability": Subscriber(types=(STOCK_CHANGED,), apply=inventory.apply),
    "changed_record": Subscriber(
        types=(WEBHOOK_RECEIVED,), apply_elsewhere=on_webhook_received.apply, attempts=8, first_wait_s=0.5
    ),
}
