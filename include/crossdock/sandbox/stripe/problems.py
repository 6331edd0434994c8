"""Refusals in the vendor's form."""

from typing import Any

from crossdock.sandbox.engine.problems import Problem


class StripeProblem(Problem):
    """A refusal: the vendor's `error` object, and whether the answer is kept for the request's idempotency key."""

    def __init__(self, status: int, kind: str, message: str, *, kept: bool = True, **fields: Any) -> None:
        super().__init__(status, message, kind)
        #: The vendor keeps no answer of a request that it refused before it began to process it.
        self.kept = kept
        error = {
            "type": kind,
            "message": message,
            **{name: value for name, value in fields.items() if value is not None},
        }
        self.body = {"error": error}


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> StripeProblem:
    """Refuse a request that is not valid; nothing was processed."""
    return StripeProblem(400, "invalid_request_error", message, kept=False, param=param, code=code)


def missing(what: str, object_id: str, param: str, *, in_path: bool = False) -> StripeProblem:
    """Refuse an ID that names nothing: 404 for one *in the path*, and 400 for one that a parameter has."""
    return StripeProblem(
        404 if in_path else 400,
        "invalid_request_error",
        f"No such {what}: '{object_id}'",
        kept=False,
        param=param,
        code="resource_missing",
    )


def wrong_state(message: str, code: str, **fields: Any) -> StripeProblem:
    """Refuse a valid request for the state of its object; the answer is kept."""
    return StripeProblem(400, "invalid_request_error", message, code=code, **fields)


def card_error(message: str, code: str, **fields: Any) -> StripeProblem:
    """Refuse a payment: the decision of the card's bank, or of the provider."""
    return StripeProblem(402, "card_error", message, code=code, **fields)
