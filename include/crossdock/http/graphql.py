"""Errors that GraphQL sends with HTTP 200: what each of them means for the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crossdock.core.errors import HubError, SystemRefused, SystemUnavailable, Throttled
from crossdock.http.response import HttpResponse, redacted

#: Codes of errors by which a system says that we call too often: Shopify's, GitHub's, Apollo's, and the number itself.
_TOO_MANY = frozenset({"THROTTLED", "RATE_LIMITED", "RATE_LIMIT", "TOO_MANY_REQUESTS", "429"})


def error_of(response: HttpResponse, document: Mapping[str, Any], transient: frozenset[str] = frozenset()) -> HubError:
    """
    Build the error that the `errors` of *document* mean: the system is busy, or refuses the request.

    Any error decides, not the first alone: a throttled query may have other errors, too.

    Args:
        response: The response that *document* came in.
        document: The decoded response; its `errors` is not empty.
        transient: The vendor's own codes after which a retry may succeed.

    """
    given = document["errors"]
    errors = [error for error in (given if isinstance(given, list) else ()) if isinstance(error, Mapping)]
    codes = [_code_of(error) for error in errors]
    message = _message_of(response, errors, codes)
    if any(code.upper() in _TOO_MANY for code in codes):
        return response.unavailable(Throttled, message, retry_in_s=_restored_in_s(document))
    if any(code in transient for code in codes):
        return response.unavailable(SystemUnavailable, message)
    return SystemRefused(response.system, response.status, f"{response.endpoint}: {message}")


def _code_of(error: Mapping[str, Any]) -> str:
    """Read the code of an error; GitHub's is its `type`."""
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, Mapping) else None
    return str(code or error.get("type") or "")


def _message_of(response: HttpResponse, errors: list[Mapping[str, Any]], codes: list[str]) -> str:
    if not errors:
        return "no message"
    text = str(errors[0].get("message") or "no message")
    return redacted(f"{text} ({codes[0]})" if codes[0] else text, response)


def _restored_in_s(document: Mapping[str, Any]) -> float | None:
    """Compute when Shopify's bucket of points has what the query costs; None if the document does not say."""
    try:
        cost = document["extensions"]["cost"]
        bucket = cost["throttleStatus"]
        missing = min(cost["requestedQueryCost"], bucket["maximumAvailable"]) - bucket["currentlyAvailable"]
        return max(float(missing / bucket["restoreRate"]), 0.0)
    except (KeyError, TypeError, ZeroDivisionError):
        return None
