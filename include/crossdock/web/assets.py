"""The style, the scripts and the icon of the pages. They hold no secret: everybody who has the package has them."""

from __future__ import annotations

import hashlib
from functools import cache
from http import HTTPStatus
from pathlib import Path

from fastapi import Request, Response

_FOLDER = Path(__file__).parent / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
#: The address changes with the content, so that a browser need not ask again.
_KEPT = {"Cache-Control": "public, max-age=31536000, immutable"}


@cache
def _contents() -> dict[str, bytes]:
    """Read all of them once: 100 kB."""
    return {path.name: path.read_bytes() for path in _FOLDER.iterdir() if path.suffix in _TYPES}


@cache
def address_of(name: str) -> str:
    """Build the address of an asset below the pages, with a digest of its content."""
    return f"/assets/{name}?v={hashlib.sha256(_contents()[name]).hexdigest()[:12]}"


async def serve(request: Request) -> Response:
    """Answer with an asset."""
    name = request.path_params["name"]
    if name not in _contents():
        return Response("There is no such file", HTTPStatus.NOT_FOUND, media_type="text/plain")
    return Response(_contents()[name], headers={"Content-Type": _TYPES[Path(name).suffix], **_KEPT})
