"""Sign requests as Standard Webhooks has it: HMAC-SHA256 of the ID, the time of the attempt and the body."""

from __future__ import annotations

import base64
import binascii
import hmac
import time

import requests
from requests.auth import AuthBase

from crossdock.core.errors import BadRequest

ID_HEADER = "webhook-id"
_PREFIX = "whsec_"
#: The standard asks for 24 to 64 bytes.
_KEY_BYTES = range(24, 65)


class StandardSignature(AuthBase):
    """
    Sign requests that have a `webhook-id`. Each attempt has a timestamp of its own: receivers refuse an old one.

    Raises:
        BadRequest: the secret is not one of the standard; the message does not show it.

    """

    def __init__(self, secret: str) -> None:
        try:
            self._key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            self._key = b""
        if not secret.startswith(_PREFIX) or len(self._key) not in _KEY_BYTES:
            raise BadRequest("The signing secret is not whsec_ and 24 to 64 bytes in base64")
        self.secrets = (secret, secret.removeprefix(_PREFIX))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        timestamp = str(int(time.time()))
        body = request.body if isinstance(request.body, bytes) else b""
        content = f"{request.headers[ID_HEADER]}.{timestamp}.".encode() + body
        signature = base64.b64encode(hmac.digest(self._key, content, "sha256")).decode()
        request.headers["webhook-timestamp"] = timestamp
        request.headers["webhook-signature"] = f"v1,{signature}"
        return request
