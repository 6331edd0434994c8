"""Make values of JSON such that UTF-8 and PostgreSQL's jsonb hold them: a source may send any."""

from __future__ import annotations

import math
from typing import Any


def visible(text: str) -> str:
    """Escape the characters of *text* that UTF-8 and PostgreSQL cannot hold: NUL and lone surrogates."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()


def storable(value: Any) -> Any:
    """Write a parsed JSON *value* with escapes for such characters, and numbers that JSON does not have as text."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, float) and not math.isfinite(value):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, dict):
        return {visible(name): storable(inner) for name, inner in value.items()}
    return [storable(inner) for inner in value] if isinstance(value, list) else value
