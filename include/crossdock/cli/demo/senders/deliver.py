"""
Sign with a sender's own library, and send: a program of its own, that knows nothing of the hub.

Reads one delivery as JSON from standard input: `library`, `secret`, `id`, `url`, `content_type`, `body`, and `copies`, which
are sent at once. Writes the headers that the library made, and the answers: `status`, `text`, and how often the copy was sent.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

#: Who is answered 503 sends again, as senders do.
_MOST_ATTEMPTS = 60
_LONGEST_WAIT_S = 5.0
_TIMEOUT_S = 60.0


def _standardwebhooks(secret: str, delivery_id: str, body: str) -> Mapping[str, str]:
    from standardwebhooks.webhooks import Webhook  # noqa: PLC0415  only the library that was asked for is loaded

    at = datetime.now(UTC)
    return {
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(delivery_id, at, body),
    }


def _stripe(secret: str, _: str, body: str) -> Mapping[str, str]:
    import stripe  # noqa: PLC0415

    # As the SDK's own tests sign: it has no public function for it.
    at = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{body}", secret)  # noqa: SLF001
    return {"Stripe-Signature": f"t={at},{stripe.WebhookSignature.EXPECTED_SCHEME}={signature}"}


def _slack_sdk(secret: str, _: str, body: str) -> Mapping[str, str]:
    from slack_sdk.signature import SignatureVerifier  # noqa: PLC0415

    at = str(int(time.time()))
    signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body)
    return {"X-Slack-Signature": signature or "", "X-Slack-Request-Timestamp": at}


_LIBRARIES: Mapping[str, Callable[[str, str, str], Mapping[str, str]]] = {
    "standardwebhooks": _standardwebhooks,
    "stripe": _stripe,
    "slack_sdk": _slack_sdk,
}


def _sent(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
    for attempt in range(1, _MOST_ATTEMPTS + 1):
        request = urllib.request.Request(url, body, headers=dict(headers), method="POST")  # noqa: S310  our own hub's
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                return {"status": answer.status, "text": answer.read().decode(), "attempts": attempt}
        except urllib.error.HTTPError as refused:
            text = refused.read().decode(errors="replace")
            if refused.code != HTTPStatus.SERVICE_UNAVAILABLE or attempt == _MOST_ATTEMPTS:
                return {"status": refused.code, "text": text, "attempts": attempt}
            time.sleep(min(float(refused.headers.get("Retry-After") or 1), _LONGEST_WAIT_S))
    raise AssertionError  # The last attempt has returned.


def main() -> None:
    """Sign and send what standard input says."""
    given = json.load(sys.stdin)
    signed = _LIBRARIES[given["library"]](given["secret"], given["id"], given["body"])
    headers = {"Content-Type": given["content_type"], **signed}
    with ThreadPoolExecutor(given["copies"]) as threads:
        body = given["body"].encode()
        answers = list(threads.map(lambda _: _sent(given["url"], body, headers), range(given["copies"])))
    json.dump({"headers": signed, "answers": answers}, sys.stdout)


if __name__ == "__main__":
    main()
