"""
Run by the library's own Python, never by ours: verifies requests, and signs one.

Takes the secret as its argument and a list of requests on standard input, each with `headers` and `body`. Writes what it
found as one JSON document.
"""

import json
import sys
from datetime import UTC, datetime

from standardwebhooks.webhooks import Webhook, WebhookVerificationError


def verified(request: dict) -> object:
    try:
        return webhook.verify(request["body"], request["headers"])
    except WebhookVerificationError as error:
        return f"refused: {error}"


webhook, requests = Webhook(sys.argv[1]), json.load(sys.stdin)
now = datetime.now(tz=UTC)
json.dump(
    {
        "verified": [verified(request) for request in requests],
        "signed": [str(int(now.timestamp())), webhook.sign("m-1", now, '{"a": 1}')],
    },
    sys.stdout,
)
