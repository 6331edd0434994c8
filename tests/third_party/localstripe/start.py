"""
Starts localstripe on the loopback interface, with what it lacks of the vendor's present API.

Run by localstripe's own Python, never by ours. Takes the port. Its own starter listens on every interface, and keeps its
data in a file that all of its processes share. docs/concepts/third-parties.md lists how it differs from the vendor.
"""

import sys
from typing import Any

from aiohttp import web
from localstripe import resources

Intent, Charge = resources.PaymentIntent, resources.Charge
CAPTURE = "/v1/payment_intents/{id}/capture"
create, capture, list_all = Intent._api_create, Intent._api_capture, Intent._api_list_all


def create_intent(automatic_payment_methods: Any = None, return_url: Any = None, **data: Any) -> Any:
    """It knows neither automatic payment methods nor a URL to come back to."""
    del automatic_payment_methods, return_url
    return create(**data)


def capture_intent(metadata: Any = None, **data: Any) -> Any:
    """It takes no metadata with a capture."""
    intent = capture(**data)
    intent.amount_received = int(data.get("amount_to_capture") or intent.amount)
    intent.latest_charge.amount_captured = intent.amount_received
    intent.metadata = {**intent.metadata, **(metadata or {})}
    return intent


def list_intents(url: str, created: Any = None, **query: Any) -> Any:
    """It lists the oldest first, and all."""
    page = list_all(url, **query)
    since = int((created or {}).get("gte", 0))
    page._list = [intent for intent in reversed(page._list) if intent.created >= since]
    return page


Intent._api_create, Intent._api_list_all = staticmethod(create_intent), staticmethod(list_intents)
Intent.amount_received, Charge.amount_captured = 0, 0
Intent.amount_capturable = property(lambda intent: intent.amount if intent.status == "requires_capture" else 0)
resources.extra_apis[:] = [
    (method, url, capture_intent if url == CAPTURE else call) for method, url, call in resources.extra_apis
]
resources.store.dump_to_disk = lambda: None

# Imported last: it makes its routes of what it finds.
from localstripe import server  # noqa: E402

web.run_app(server.app, host="127.0.0.1", port=int(sys.argv[1]), print=None)
