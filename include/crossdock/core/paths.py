"""Paths of an API: an ID that somebody typed, or that came from outside, stays one segment of its path."""

from __future__ import annotations

from urllib.parse import quote

from crossdock.core.errors import BadRequest


def path_of(*segments: str | int) -> str:
    """
    Join *segments* to a path, each quoted: `path_of("integrations", "shop_eu", "health")`.

    Raises:
        BadRequest: a segment is empty, `.` or `..`: no quoting keeps an HTTP library from resolving it to another path.

    """
    texts = [str(segment) for segment in segments]
    for text in texts:
        if text in {"", ".", ".."}:
            raise BadRequest(f"Invalid ID {text!r}. An ID has at least one letter or digit")
    return "".join(f"/{quote(text, safe='')}" for text in texts)
