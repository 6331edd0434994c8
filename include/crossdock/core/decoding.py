"""
Prepare msgspec's types for threads.

msgspec (0.22) collects what it knows of a type when it first decodes one. Two threads that do so at once crash the
interpreter (a segmentation fault), so types that threads decode are prepared when their module is imported.
"""

from __future__ import annotations

from typing import Any

import msgspec


def prepare(*types: Any) -> None:
    """Collect what msgspec knows of *types*, and of all that they contain, in this thread."""
    for each in types:
        msgspec.json.Decoder(each)
