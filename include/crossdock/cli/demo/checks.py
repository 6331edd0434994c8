"""How a step of the demo's story says that it did not come true."""

from __future__ import annotations

from crossdock.client.errors import StackError


class Untrue(StackError):
    """A step of the story did not come true."""


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise Untrue(otherwise)
