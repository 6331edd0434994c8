"""
Adyen's scheme: each item of the body has a signature of its own, and every one must be right.

No time is signed: an old delivery is recognised by its items alone, whose ids have only signed fields. The values are
joined by colons without escapes, as the vendor's libraries do; no reference of ours has a colon.
"""

from __future__ import annotations

import hashlib
from typing import Any

from crossdock.events.webhooks_in.checks import base64_of, check_hmac, hex_of, json_of
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Signed, whole

#: What names an item, and is signed.
_ID = ("pspReference", "eventCode", "success")


def verify(arrival: Arrival) -> Signed:
    """Verify the signature of each item."""
    keys = [_key(text) for text in arrival.keys]
    try:
        wrapped = json_of(arrival.body)["notificationItems"]
        items = [entry["NotificationRequestItem"] for entry in wrapped]
        signed = [(item, _signed_text(item), item["additionalData"]["hmacSignature"]) for item in items]
    except (LookupError, TypeError, AttributeError) as error:
        raise WebhookRefused("the body is not a notification with signed items") from error
    if not signed or not all(isinstance(signature, str) for _, _, signature in signed):
        raise WebhookRefused("the body is not a notification with signed items")
    for _, text, signature in signed:
        check_hmac(keys, text.encode(errors="surrogatepass"), [base64_of(signature)])
    ids = [":".join(item[name] for name in _ID) for item, _, _ in signed]
    one = ids[0] if len(ids) == 1 else hashlib.sha256("\n".join(ids).encode(errors="surrogatepass")).hexdigest()
    return whole(arrival, one)


def _signed_text(item: dict[str, Any]) -> str:
    """Join the signed fields of an item. A value that is neither text nor a whole number is an error: it has several spellings."""
    value = item["amount"]["value"]
    before = [item["pspReference"], item.get("originalReference", ""), item["merchantAccountCode"]]
    before += [item.get("merchantReference", "")]
    after = [item["amount"]["currency"], item["eventCode"], item["success"]]
    if type(value) is not int or not all(isinstance(text, str) for text in before + after):
        raise TypeError("a signed field has another type")
    return ":".join([*before, str(value), *after])


def _key(text: str) -> bytes:
    if not (binary := hex_of(text)):
        raise NotConfigured("a configured key is not hexadecimal, as Adyen's are")
    return binary
