"""The query of a list request, read from its query string and checked as the vendor checks it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from crossdock.sandbox.commercetools import predicates
from crossdock.sandbox.commercetools.predicates import And, MalformedPredicateError, Node, Test
from crossdock.sandbox.commercetools.problems import VendorError, malformed

MAX_LIMIT = 500
MAX_OFFSET = 10_000
_SORT = re.compile(r"([A-Za-z_]\w*)(?:\s+(asc|desc))?")


@dataclass(frozen=True)
class Sort:
    field: str
    descending: bool = False


@dataclass(frozen=True)
class Query:
    where: Node | None = None
    #: The compiled predicate; None if every row matches.
    test: Test | None = None
    sorts: tuple[Sort, ...] = ()
    limit: int = 20
    offset: int = 0
    with_total: bool = True
    #: Rows whose ID sorts after this one are invisible to the query; None if all are visible.
    last_id: str | None = None


#: What every list takes, besides the variables of a predicate.
_OF_LISTS = frozenset({"where", "sort", "limit", "offset", "withTotal"})


def refuse_unknown(parameters: Mapping[str, Sequence[str]], known: frozenset[str]) -> None:
    """
    Refuse a parameter that the sandbox does not implement: an answer that ignores it would be wrong.

    Raises:
        VendorError: 400, naming the parameter.

    """
    for name in parameters:
        if name not in known:
            raise VendorError(400, f"The sandbox does not implement the parameter '{name}'.", "InvalidOperation")


def refuse_unknown_of_list(parameters: Mapping[str, Sequence[str]], own: frozenset[str]) -> None:
    """
    Refuse a parameter that a list does not take; *own* are those that only this list takes.

    Raises:
        VendorError: 400, naming the parameter.

    """
    refuse_unknown({name: () for name in parameters if not name.startswith("var.")}, _OF_LISTS | own)


def flag(parameters: Mapping[str, Sequence[str]], name: str, *, default: bool) -> bool:
    """
    Read a parameter that is true or false.

    Raises:
        VendorError: 400 InvalidInput, naming the parameter.

    """
    # Upper case is accepted too: the vendor's own Python SDK sends Python's True.
    text = (parameters.get(name) or [str(default)])[-1].lower()
    if text not in ("true", "false"):
        raise malformed(name, f"'{text[:40]}' is neither true nor false.")
    return text == "true"


def query_of(parameters: Mapping[str, Sequence[str]], known_fields: frozenset[str]) -> Query:
    """
    Read the query in a query string.

    Raises:
        VendorError: 400 InvalidInput, naming the parameter.

    """
    where, test = _predicate(parameters, known_fields)
    return Query(
        where=where,
        test=test,
        sorts=tuple(_sort(text, known_fields) for text in parameters.get("sort", ())),
        limit=_integer(parameters, "limit", 20, MAX_LIMIT),
        offset=_integer(parameters, "offset", 0, MAX_OFFSET),
        with_total=flag(parameters, "withTotal", default=True),
    )


def _predicate(
    parameters: Mapping[str, Sequence[str]], known_fields: frozenset[str]
) -> tuple[Node | None, Test | None]:
    texts = tuple(parameters.get("where", ()))
    if not texts:
        return None, None
    variables = tuple((name[4:], tuple(v)) for name, v in sorted(parameters.items()) if name.startswith("var."))
    try:
        node, test = _compile(texts, variables)
    except MalformedPredicateError as error:
        raise malformed("where", str(error)) from error
    unknown = sorted(predicates.fields(node) - known_fields)
    if unknown:
        raise malformed("where", f"The field '{unknown[0]}' does not exist.")
    return node, test


@lru_cache(maxsize=256)
def _compile(texts: tuple[str, ...], variables: tuple[tuple[str, tuple[str, ...]], ...]) -> tuple[Node, Test]:
    trees = tuple(predicates.parse(text, dict(variables)) for text in texts)
    node = trees[0] if len(trees) == 1 else And(trees)
    return node, predicates.compile_predicate(node)


def _sort(text: str, known_fields: frozenset[str]) -> Sort:
    match = _SORT.fullmatch(text.strip())
    if match is None:
        raise malformed("sort", f"Syntax error in {text!r}; expected 'field asc' or 'field desc'.")
    if match[1] not in known_fields:
        raise malformed("sort", f"The field '{match[1]}' does not exist.")
    return Sort(match[1], match[2] == "desc")


def _integer(parameters: Mapping[str, Sequence[str]], name: str, default: int, highest: int) -> int:
    texts = parameters.get(name)
    if not texts:
        return default
    text = texts[-1]
    if not (text.isascii() and text.isdecimal() and len(text) < 12 and int(text) <= highest):  # noqa: PLR2004
        raise malformed(name, f"'{text[:40]}' is not a whole number from 0 to {highest}.")
    return int(text)
