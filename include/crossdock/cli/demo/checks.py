"""Fail a step of the demo when a check does not hold."""

from __future__ import annotations

from crossdock.client.errors import StackError


class DemoFailed(StackError):
    """A step found something wrong: a wrong count, a missing record. Never that it took long."""


def expect(truth: bool, otherwise: str) -> None:
    """
    Check that *truth* holds.

    Raises:
        DemoFailed: it does not; *otherwise* says what is wrong.

    """
    if not truth:
        raise DemoFailed(otherwise)
