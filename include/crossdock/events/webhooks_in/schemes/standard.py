"""
Standard Webhooks (https://www.standardwebhooks.com), also under Svix's names of the headers.

`<version>,<base64>` over `<id>.<timestamp>.<body>`, several separated by spaces: `v1` is HMAC with SHA-256, `v1a` ed25519. A
key is `whsec_<base64>` or `whpk_<base64>`; senders show it without its prefix, unpadded, in the letters of URLs, or after `v1,`.
"""

from __future__ import annotations

from collections.abc import Sequence

from crossdock.events.webhooks_in.checks import base64_of, check_age, check_hmac, key_of_base64, one_header
from crossdock.events.webhooks_in.rules import NotConfigured, WebhookRefused
from crossdock.events.webhooks_in.schemes.model import Arrival, Signed, whole

_PUBLIC = "whpk_"
#: A sender signs with two keys while one rotates. A stranger is not to have a body verified a thousand times.
_MOST_SIGNATURES = 10
_ED25519_BYTES = 64


def verify(arrival: Arrival) -> Signed:
    """Verify the signature over ID, timestamp and body."""
    delivery_id, timestamp, signatures = (
        one_header(arrival.headers, f"webhook-{name}", f"svix-{name}") for name in ("id", "timestamp", "signature")
    )
    check_age(timestamp, arrival.now_s)
    signed = f"{delivery_id}.{timestamp}.".encode() + arrival.body
    keys = [key.removeprefix("v1,").removeprefix("v1a,") for key in arrival.keys]
    public = [_key(key) for key in keys if key.startswith(_PUBLIC)]
    if not (public and _is_signed(public, signed, _offered(signatures, "v1a"))):
        secrets = [_key(key) for key in keys if not key.startswith(_PUBLIC)]
        check_hmac(secrets, signed, _offered(signatures, "v1"))
    return whole(arrival, delivery_id)


def _offered(signatures: str, version: str) -> list[bytes]:
    parts = [text.partition(",") for text in signatures.split(" ")]
    if len(parts) > _MOST_SIGNATURES:
        raise WebhookRefused(f"it has more than {_MOST_SIGNATURES} signatures")
    return [base64_of(signature) for name, _, signature in parts if name == version]


def _key(text: str) -> bytes:
    return key_of_base64(text.removeprefix("whsec_").removeprefix(_PUBLIC), "whsec_… or whpk_…")


def _is_signed(keys: Sequence[bytes], signed: bytes, offered: Sequence[bytes]) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  slow to load, and few senders need it
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

    for key in keys:
        try:
            public = Ed25519PublicKey.from_public_bytes(key)
        except ValueError as error:
            raise NotConfigured(
                "a configured key is not a public key of ed25519: whpk_ and 32 bytes in base64"
            ) from error
        for signature in offered:
            if len(signature) != _ED25519_BYTES:
                continue
            try:
                public.verify(signature, signed)
            except InvalidSignature:
                continue
            return True
    return False
