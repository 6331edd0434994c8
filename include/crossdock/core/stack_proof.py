"""
How a server of the local stack proves that it is ours, before anybody sends it a password.

A server may end, and another program then listens on its port. So each server of ours has the stack's key, which never
leaves it: it answers a challenge with a digest of both. The port is part of it, so that a stranger on one port cannot pass
the challenge on to our server on another.
"""

from __future__ import annotations

import hashlib
import hmac

#: The header of a request that asks for a proof, and that of the answer.
CHALLENGE, PROOF = "Hub-Challenge", "Hub-Proof"
#: The variable that holds the key, in the environment of each server of the stack.
KEY_VARIABLE = "HUB_STACK_KEY"
_LONGEST = 256


def proof_of(key: str, challenge: str, port: int) -> str:
    """Compute what a server on *port* that has *key* answers to *challenge*."""
    text = f"{port}:{challenge[:_LONGEST]}"
    return hmac.digest(key.encode(), text.encode(errors="replace"), hashlib.sha256).hex()
