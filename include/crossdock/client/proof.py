"""Ask a server of the local stack for the proof that it is ours."""

from __future__ import annotations

import hmac
import secrets
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from crossdock.client.errors import StrangerAnswers
from crossdock.core.stack_proof import CHALLENGE, PROOF, proof_of

#: A path of each kind of server that costs it little; the answer itself does not matter.
OF_API, OF_SANDBOX = "/hub/v1/me", "/_sandbox"


def is_proven(url: str, path: str, key: str, *, timeout_s: float) -> bool:
    """
    Check that the server at *url* has *key*, without telling it the key or any other secret.

    Raises:
        OSError: it does not answer.

    """
    place = urlsplit(url)
    challenge, port = secrets.token_hex(32), place.port or 80
    with closing(HTTPConnection(place.hostname or "", port, timeout=timeout_s)) as connection:
        try:
            connection.request("GET", path, headers={CHALLENGE: challenge})
            proof = connection.getresponse().headers.get(PROOF, "")
        except HTTPException:
            return False  # It does not even speak HTTP.
    return hmac.compare_digest(proof.encode(), proof_of(key, challenge, port).encode())


def refuse_stranger(url: str, path: str, key: str, *, timeout_s: float) -> None:
    """
    Refuse a server that is not ours.

    Raises:
        StrangerAnswers: another program listens there.
        OSError: nothing answers.

    """
    if not is_proven(url, path, key, timeout_s=timeout_s):
        raise StrangerAnswers(url)
