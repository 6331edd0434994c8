"""Plain words for what Pydantic finds wrong with a value: they stand beside ours, in one message."""

from __future__ import annotations

#: What it says → what a person reads, in this order.
_WORDS = (
    ("Input should", "must"),
    ("String should", "must"),
    ("List should", "must"),
    ("Dictionary should", "must"),
    ("a valid integer", "a whole number"),
    ("a valid number", "a number"),
    ("a valid boolean", "true or false"),
    ("a valid string", "text"),
    ("a valid list", "a list"),
    ("a valid dictionary", "an object"),
    ("greater than or equal to", "at least"),
    ("less than or equal to", "at most"),
)


def plain(message: str) -> str:
    """Say in plain words what is wrong: `must be a whole number`."""
    found = message.removeprefix("Value error, ").split(", unable to ")[0]
    for theirs, ours in _WORDS:
        found = found.replace(theirs, ours)
    return found
