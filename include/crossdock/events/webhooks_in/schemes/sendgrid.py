"""
SendGrid's scheme: ECDSA with SHA-256 over `<timestamp><body>`, by the public key that SendGrid shows.

A delivery has no ID, so the digest of its body stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from crossdock.events.webhooks_in.checks import NO_MATCH, TOLERANCE_S, base64_of, check_age, digest_of, one_header
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Signed, whole

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

#: SendGrid sends a delivery again for a day, and does not say that it signs it anew. Its events have IDs of their own, so
#: that an old one that comes again has no second effect.
_TRIES_FOR_S = 86_400


def verify(arrival: Arrival) -> Signed:
    """Verify the signature over timestamp and body."""
    timestamp = one_header(arrival.headers, "x-twilio-email-event-webhook-timestamp")
    check_age(timestamp, arrival.now_s, oldest_s=_TRIES_FOR_S + TOLERANCE_S)
    signature = base64_of(one_header(arrival.headers, "x-twilio-email-event-webhook-signature"))
    _check(arrival.keys, timestamp.encode() + arrival.body, signature)
    return whole(arrival, digest_of(arrival.body))


def _check(keys: Iterable[str], signed: bytes, signature: bytes) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow to load, and few integrations need it
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    for key in [_public_key(text) for text in keys]:
        with suppress(InvalidSignature):
            key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
            return
    raise WebhookRefused(NO_MATCH)


def _public_key(text: str) -> EllipticCurvePublicKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  as in `_check`
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_der_public_key  # noqa: PLC0415

    try:
        key = load_der_public_key(base64_of(text))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, EllipticCurvePublicKey):
        raise NotConfigured("a configured key is not a public key of ECDSA in base64, as SendGrid's are")
    return key
