"""Verify who sent a webhook, by the scheme that its connection names."""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.events.webhooks_in.rules import Headers, NotConfigured, WebhookRefused, WebhookRules
from crossdock.events.webhooks_in.schemes import SCHEMES, WITHOUT_KEYS
from crossdock.events.webhooks_in.schemes.model import Arrival, ReadKeys, Signed

_LONGEST_ID = 256


def verify(
    rules: WebhookRules,
    keys: Sequence[str],
    headers: Headers,
    body: bytes,
    *,
    now_s: float,
    query: str = "",
    read_keys: ReadKeys | None = None,
) -> Signed:
    """
    Verify the signature; return what the delivery carries, and its ID, by which a repeated delivery is recognised.

    Args:
        rules: The scheme, and its settings.
        keys: All valid keys; several while a key is rotated.
        headers: As they came; a needed header that came twice is refused.
        body: As it came, byte for byte: a body that was parsed and written again has another signature.
        now_s: Our clock, in seconds since 1970.
        query: Of the URL, for senders that sign or send a token in it.
        read_keys: Reads the public keys of senders that publish them.

    Raises:
        WebhookRefused: not signed by one of *keys*, too old, in the future, or without an ID.
        Transient: the sender's public keys cannot be read.

    """
    if not keys and not (rules.scheme in WITHOUT_KEYS or rules.audience):
        raise NotConfigured("no key is configured")
    signed = SCHEMES[rules.scheme](Arrival(rules, keys, headers, body, now_s, query, read_keys))
    for given in (signed.id, *(message.id for message in signed.messages)):
        if not 0 < len(given) <= _LONGEST_ID or not given.isprintable():
            raise WebhookRefused("the delivery id is empty, too long, or not printable")
    return signed
