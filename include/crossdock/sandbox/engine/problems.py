"""Refusals as exceptions that carry the answer, and the refusals of the engine itself."""

from typing import Any


class Problem(Exception):
    """
    A refused request: *status* and the JSON *body* to answer with.

    The body has the shape that the control API uses. A system whose errors look different sets a body of its own.
    """

    def __init__(self, status: int, message: str, code: str, **fields: Any) -> None:
        super().__init__(message)
        self.status = status
        error = {"code": code, "message": message, **fields}
        self.body: dict[str, Any] = {"statusCode": status, "message": message, "errors": [error]}


def invalid_input(message: str) -> Problem:
    return Problem(400, message, "InvalidInput")


class NotJsonError(Problem):
    """The body of a request is not a JSON object."""

    def __init__(self, why: str) -> None:
        message = "Request body does not contain valid JSON."
        super().__init__(400, message, "InvalidJsonInput", detailedErrorMessage=why)


class CannotServeError(ValueError):
    """The system cannot be started as asked; the message says why, in a line for the command."""
