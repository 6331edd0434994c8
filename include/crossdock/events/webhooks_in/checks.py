"""What the schemes check in the same way: one header, a timestamp, an HMAC, a spelling of a key."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from crossdock.events.webhooks_in.rules import Headers, NotConfigured, WebhookRefused

#: How far the sender's clock may differ from ours. Older deliveries may be replay attacks, newer ones prepared forgeries.
TOLERANCE_S = 300
#: Of a form. A form is taken apart before its signature is verified, where its fields are what is signed.
MOST_FIELDS = 5_000
NO_MATCH = "no signature matches a configured key"
_NUMBER = re.compile(r"[0-9]{1,19}(?:\.[0-9]{1,9})?", re.ASCII)
#: The first instant of the year 5138 in seconds: what is larger is counted in smaller units.
_LARGEST_S = 10**11


def one_header(headers: Headers, *names: str) -> str:
    """
    Find the value of the first of *names* that the request has.

    Raises:
        WebhookRefused: it has none of them, or one twice.

    """
    for name in names:
        found = [value for header, value in headers if header.lower() == name.lower()]
        if len(found) > 1:
            # Without the number of headers: a stranger chooses it, and refusals are counted by their message.
            raise WebhookRefused(f"several headers {name.lower()!r} where one is expected")
        if found:
            return found[0].strip()
    raise WebhookRefused(f"no header {names[0].lower()!r} where one is expected")


def has_header(headers: Headers, name: str) -> bool:
    """Check whether the request has the header."""
    return any(header.lower() == name.lower() for header, _ in headers)


def check_age(timestamp: str, now_s: float, *, oldest_s: float = TOLERANCE_S) -> None:
    """
    Refuse a delivery of another time.

    Raises:
        WebhookRefused: *timestamp* cannot be read, is too old, or is in the future.

    """
    at_s = seconds_of(timestamp)
    if at_s < now_s - oldest_s:
        raise WebhookRefused("the timestamp is too old")
    if at_s > now_s + TOLERANCE_S:
        raise WebhookRefused("the timestamp is in the future")


def seconds_of(timestamp: str) -> float:
    """
    Read an instant: seconds, with or without a fraction; milli-, micro- or nanoseconds; or ISO 8601.

    Raises:
        WebhookRefused: it is none of these.

    """
    if _NUMBER.fullmatch(timestamp):
        seconds = float(timestamp)
        while seconds >= _LARGEST_S:
            seconds /= 1000
        return seconds
    try:
        instant = datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise WebhookRefused("the timestamp is neither a number of seconds or milliseconds nor ISO 8601") from error
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def check_hmac(keys: Iterable[bytes], signed: bytes, offered: Sequence[bytes], algorithm: str = "sha256") -> None:
    """
    Compare every key with every signature in constant time, so that the response time reveals nothing.

    Raises:
        WebhookRefused: no signature matches.

    """
    check_hmac_of_any(keys, [signed], offered, algorithm)


def check_hmac_of_any(keys: Iterable[bytes], texts: Sequence[bytes], offered: Sequence[bytes], algorithm: str) -> None:
    """Do the same for a sender that may have written the signed text in several ways. Raises as `check_hmac`."""
    matches = False
    for key in keys:
        for text in texts:
            expected = hmac.new(key, text, getattr(hashlib, algorithm)).digest()
            for signature in offered:
                matches |= hmac.compare_digest(expected, signature)
    if not matches:
        raise WebhookRefused(NO_MATCH)


def text_keys(keys: Sequence[str]) -> list[bytes]:
    """Encode keys that are used as they are written."""
    return [key.encode() for key in keys]


def base64_of(text: str) -> bytes:
    """Decode base64; empty if it is not valid. One signature has one spelling: nothing between the letters is skipped."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""


def hex_of(text: str) -> bytes:
    """Decode hexadecimal digits; empty if they are not valid."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        return b""


def key_of_base64(text: str, what: str) -> bytes:
    """
    Decode a configured key as its sender shows it: padded or not, with `+/` or the `-_` of URLs.

    Raises:
        NotConfigured: it is not base64.

    """
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    if found := base64_of(padded + "=" * (-len(padded) % 4)):
        return found
    raise NotConfigured(f"a configured key is not base64; it should look like {what}")


def json_of(body: bytes) -> Any:
    """
    Decode a body whose content the scheme itself needs.

    Raises:
        WebhookRefused: it is not JSON.

    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise WebhookRefused("the body is not JSON") from error


def text_at(document: Any, path: str) -> str:
    """Find the text at a path; empty if there is none. Dots separate nested fields. A whole number is its digits."""
    for step in path.split("."):
        document = document.get(step) if isinstance(document, dict) else None
    if isinstance(document, bool):
        return ""
    return str(document) if isinstance(document, (str, int)) else ""


def digest_of(body: bytes) -> str:
    """Digest a body, for deliveries that have no id."""
    return hashlib.sha256(body).hexdigest()
