"""JSON to bytes and back: msgspec where it can, the standard library where msgspec refuses valid JSON."""

import json
from typing import Any

import msgspec


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not JSON.")


def encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except ValueError:
        # A lone surrogate has no UTF-8; JSON can still carry it as an escape, and real catalogues do.
        return json.dumps(value, separators=(",", ":")).encode()


def decode(raw: bytes) -> Any:
    """
    Decode the JSON value in *raw*.

    Raises:
        ValueError: it is not JSON.

    """
    try:
        return msgspec.json.decode(raw)
    except ValueError:
        return json.loads(raw, parse_constant=_refuse)
