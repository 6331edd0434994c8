"""
Refuse query parameters that a route does not know, so that a misspelt filter is not an answer about everything.

FastAPI ignores them: `?limt=3` had the first page of the usual size, and `?run=R` all events. Routes of webhooks are not
affected, since senders add parameters of their own to the address that they were given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from http import HTTPStatus

from fastapi.dependencies.models import Dependant

from crossdock.api.problems import Problem
from crossdock.core.printable import printable
from crossdock.integrations.model import FieldError

#: A request has at most so many unknown names in its answer, each with at most so many characters.
_MOST, _LONGEST = 10, 100
#: How alike two names must be: `run` and `run_id` are.
_LIKENESS = 0.5


def names_of(dependant: Dependant) -> frozenset[str]:
    """List the query parameters of a route and of all that it depends on, as a request names them."""
    return frozenset(_names(dependant))


def _names(dependant: Dependant) -> Iterator[str]:
    yield from (field.alias for field in dependant.query_params)
    for inner in dependant.dependencies:
        yield from _names(inner)


def refuse_unknown(asked: Iterable[str], known: frozenset[str]) -> None:
    """
    Refuse a request whose query has a name that is not *known*.

    Raises:
        Problem: 400; it names the nearest known parameter, or all of them.

    """
    unknown = sorted(set(asked) - known)[:_MOST]
    if unknown:
        errors = tuple(FieldError(_shown(name), _meant(name, known)) for name in unknown)
        detail = "; ".join(f"{error.pointer}: {error.message}" for error in errors)
        raise Problem(HTTPStatus.BAD_REQUEST, "bad-request", f"Invalid request: {detail}", errors=errors)


def _meant(name: str, known: frozenset[str]) -> str:
    if not known:
        return "is not known: this route takes no parameters"
    near = get_close_matches(name, sorted(known), n=1, cutoff=_LIKENESS)
    meant = f" (did you mean {near[0]}?)" if near else ""
    return f"is not a parameter of this route{meant}. It takes {', '.join(sorted(known))}"


def _shown(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
