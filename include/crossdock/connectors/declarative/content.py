"""Decode what a declared system answers."""

from __future__ import annotations

from typing import Any

from requests.utils import get_encoding_from_headers

from crossdock.core import exact_json
from crossdock.http.response import HttpResponse


def decoded(response: HttpResponse) -> Any:
    """
    Decode the body in its declared character set, by default UTF-8. A byte that is not text breaks its own record alone.

    Raises:
        ValueError: it is not JSON.

    """
    charset = get_encoding_from_headers({"content-type": response.headers.get("Content-Type", "")}) or "utf-8"
    try:
        text = response.body.decode("utf-8-sig" if charset.lower() == "utf-8" else charset, "surrogateescape")
    except LookupError:
        text = response.body.decode("utf-8-sig", "surrogateescape")
    return exact_json.decode(text)
