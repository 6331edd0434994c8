"""Authentication that needs no extra request: API keys, a user with a password, and a URL that is the secret itself."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from crossdock.core.errors import BadRequest

#: Valid header names (RFC 9110 5.1) and values: only visible characters, so that a key cannot inject another header.
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_SEPARATORS = re.compile(r"[/?&=]")
#: Of the parts of a secret URL, shorter ones are words such as `workflows`.
_SHORTEST_SECRET = 12


class ApiKey(AuthBase):
    """
    Sign requests with a key in a header: `X-Api-Key: …`, or `Authorization: Token …` with a *prefix*.

    Raises:
        BadRequest: the key or the header cannot be sent; the message does not show the key.

    """

    def __init__(self, key: str, *, header: str = "X-Api-Key", prefix: str = "") -> None:
        if not _NAME.fullmatch(header):
            raise BadRequest(f"{header!r} is not a valid header name")
        self._header, self._value = header, f"{prefix} {key}".strip()
        self.secrets = (_sendable(key),)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._header] = self._value
        return request


class ApiKeyInQuery(AuthBase):
    """
    Sign requests with a key in the query. Use it only for a system that accepts the key nowhere else.

    The key appears in that system's logs; it does not appear in ours, because no message contains a query.
    """

    def __init__(self, key: str, *, name: str) -> None:
        self._pair = f"{quote(name, safe='')}={quote(_sendable(key), safe='')}"
        self.secrets = (key,)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        joint = "&" if "?" in str(request.url) else "?"
        request.url = f"{request.url}{joint}{self._pair}"
        return request


class SecretUrl(AuthBase):
    """
    Send every request to one URL that is itself the secret: an incoming webhook's.

    Give the client its `origin` as the base URL and `PATH` as the path: errors and metrics name no more than those.

    Raises:
        BadRequest: it is no URL with a path; the message does not show it.

    """

    #: What messages show in place of the path.
    PATH = "/[hidden]"

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
        except ValueError:
            parts = urlsplit("")
        if (
            not (_VISIBLE.fullmatch(url) and parts.scheme and parts.netloc and parts.path.strip("/"))
            or "@" in parts.netloc
        ):
            raise BadRequest(
                "The connection's webhook URL is not a URL with a path, such as https://hooks.example.com/…"
            )
        self.origin = f"{parts.scheme}://{parts.netloc}"
        self._url = url.partition("#")[0]
        # A system may repeat a part of it.
        pieces = [piece for piece in _SEPARATORS.split(url[len(self.origin) :]) if len(piece) >= _SHORTEST_SECRET]
        self.secrets = (url, url[len(self.origin) :], *pieces, *map(unquote, pieces))

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.url = self._url
        return request


class Basic(HTTPBasicAuth):
    """Sign requests with a user and a password (RFC 7617), encoded as UTF-8."""

    def __init__(self, user: str, password: str) -> None:
        # Pass bytes: text that is not Latin-1 would fail with an error that shows the password.
        super().__init__(user.encode(), password.encode())
        self.secrets = (password,)


def _sendable(key: str) -> str:
    if not _VALUE.fullmatch(key):
        raise BadRequest("The connection's API key is empty or contains characters other than visible ASCII")
    return key
