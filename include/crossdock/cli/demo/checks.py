"""How a step of the demo says that what it found is not as it should be."""

from __future__ import annotations

from crossdock.client.errors import StackError


class DemoFailed(StackError):
    """What a step found is not as it should be: a wrong count, a missing row. Never that it took long."""


def expect(truth: bool, otherwise: str) -> None:
    """
    Raises:
        DemoFailed: with *otherwise*, unless *truth*.

    """
    if not truth:
        raise DemoFailed(otherwise)
