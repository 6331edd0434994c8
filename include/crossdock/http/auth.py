"""The kinds of authentication that need no request of their own: API keys, and a user with a password."""

from __future__ import annotations

import re
from urllib.parse import quote

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from crossdock.core.errors import BadRequest

#: What a header may be called (RFC 9110 5.1), and hold: visible, so that no key can write a header of its own.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class ApiKey(AuthBase):
    """
    Signs requests with a key in a header: `X-Api-Key: …`, or `Authorization: Token …` with a *prefix*.

    Raises:
        BadRequest: the key or the header cannot be sent; the message does not show the key.

    """

    def __init__(self, key: str, *, header: str = "X-Api-Key", prefix: str = "") -> None:
        if not _NAME.fullmatch(header):
            raise BadRequest(f"{header!r} is no name of a header")
        self._header, self._value = header, f"{prefix} {key}".strip()
        self.secrets = (_sendable(key),)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._header] = self._value
        return request


class ApiKeyInQuery(AuthBase):
    """
    Signs requests with a key in the address. Only for a system that takes it nowhere else.

    The other side's logs will show it; ours do not, since no message holds a query.
    """

    def __init__(self, key: str, *, name: str) -> None:
        self._pair = f"{quote(name, safe='')}={quote(_sendable(key), safe='')}"
        self.secrets = (key,)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        joint = "&" if "?" in str(request.url) else "?"
        request.url = f"{request.url}{joint}{self._pair}"
        return request


class Basic(HTTPBasicAuth):
    """Signs requests with a user and a password (RFC 7617), any text in UTF-8."""

    def __init__(self, user: str, password: str) -> None:
        # As bytes: text that is not Latin-1 fails with an error that shows all of it.
        super().__init__(user.encode(), password.encode())
        self.secrets = (password,)


def _sendable(key: str) -> str:
    if not _VALUE.fullmatch(key):
        raise BadRequest("The API key of the connection is empty, or holds something that is no visible ASCII")
    return key
