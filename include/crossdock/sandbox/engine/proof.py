"""Prove to the one who started this process that it listens here, and not a stranger that has taken its port."""

import hashlib
import hmac
import os
from collections.abc import Mapping

#: The key is in this variable; without it there is nothing to prove.
KEY_VARIABLE = "HUB_STACK_KEY"
_CHALLENGE, _PROOF = "hub-challenge", "Hub-Proof"
_LONGEST = 256


def proof_headers(headers: Mapping[str, str], port: int) -> Mapping[str, str]:
    """Answer the challenge in *headers* (by lowercase name) with the header that proves that we have the key; empty without one."""
    challenge, key = headers.get(_CHALLENGE), os.environ.get(KEY_VARIABLE)
    if challenge is None or not key:
        return {}
    text = f"{port}:{challenge[:_LONGEST]}"
    return {_PROOF: hmac.digest(key.encode(), text.encode(errors="replace"), hashlib.sha256).hex()}
