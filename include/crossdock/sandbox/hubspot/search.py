"""The search: groups of filters, one order, pages. It sees a change late, and no more than 10,000 results."""

from collections.abc import Callable
from typing import Any

from crossdock.sandbox.engine.clock import instant_of
from crossdock.sandbox.hubspot.contacts import Contact
from crossdock.sandbox.hubspot.problems import invalid
from crossdock.sandbox.hubspot.properties import DEFAULT, PROPERTIES
from crossdock.sandbox.hubspot.state import ContactState

_MOST_ON_A_PAGE, _MOST_RESULTS = 200, 10_000
_MOST_GROUPS = 5
_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "EQ": lambda value, given: value == given,
    "NEQ": lambda value, given: value != given,
    "GT": lambda value, given: value > given,
    "GTE": lambda value, given: value >= given,
    "LT": lambda value, given: value < given,
    "LTE": lambda value, given: value <= given,
}


def search(state: ContactState, document: dict[str, Any]) -> dict[str, Any]:
    """
    Answer a search.

    Raises:
        CrmProblem: 400, a filter, the order or the page is not valid.

    """
    groups = document.get("filterGroups") or []
    if len(groups) > _MOST_GROUPS:
        raise invalid(f"Maximum number of filterGroups is {_MOST_GROUPS}")
    found = [contact for contact in state.indexed() if _fits(contact, groups)]
    found = _sorted(found, document.get("sorts") or [])
    limit, after = _number(document, "limit", 10), _number(document, "after", 0)
    if not 1 <= limit <= _MOST_ON_A_PAGE or after + limit > _MOST_RESULTS:
        raise invalid(f"limit must be between 1 and {_MOST_ON_A_PAGE}, and after below {_MOST_RESULTS}")
    names = tuple(document.get("properties") or DEFAULT)
    page = [contact.document(names) for contact in found[after : after + limit]]
    following = after + limit
    paging = {"paging": {"next": {"after": str(following)}}} if following < len(found) else {}
    return {"total": len(found), "results": page, **paging}


def _fits(contact: Contact, groups: list[dict[str, Any]]) -> bool:
    return not groups or any(all(_passes(contact, test) for test in group["filters"]) for group in groups)


def _passes(contact: Contact, test: dict[str, Any]) -> bool:
    name, operator = test.get("propertyName", ""), test.get("operator")
    if name not in PROPERTIES:
        raise invalid(f"There was a problem with the request: unknown property {name}")
    value = contact.properties.get(name, "")
    if operator == "HAS_PROPERTY":
        return bool(value)
    if operator == "IN":
        return value in test.get("values", [])
    if operator not in _COMPARED:
        raise invalid(f"The sandbox does not simulate the operator {operator}")
    return bool(value) and _COMPARED[operator](_comparable(name, value), _comparable(name, str(test.get("value", ""))))


def _comparable(name: str, text: str) -> Any:
    kind = PROPERTIES[name].type
    if kind == "number":
        return int(text) if text.isascii() and text.isdecimal() else _refused(name, text)
    if kind == "datetime":
        # Milliseconds since 1970, or ISO 8601.
        instant = None if text.isdecimal() else instant_of(text)
        return int(text) if text.isdecimal() else round(instant.timestamp() * 1000) if instant else _refused(name, text)
    return text.lower()


def _refused(name: str, text: str) -> Any:
    raise invalid(f"{text[:40]!r} is not a value of {name}")


def _sorted(found: list[Contact], sorts: list[Any]) -> list[Contact]:
    if len(sorts) > 1:
        raise invalid("Only one sort is supported")
    if not sorts:
        return found
    given = sorts[0] if isinstance(sorts[0], dict) else {"propertyName": str(sorts[0])}
    name = given.get("propertyName", "")
    if name not in PROPERTIES:
        raise invalid(f"unknown property {name}")
    is_down = given.get("direction") == "DESCENDING"
    return sorted(found, key=lambda contact: _comparable(name, contact.properties.get(name, "")), reverse=is_down)


def _number(document: dict[str, Any], name: str, default: int) -> int:
    text = str(document.get(name) or default)
    if not (text.isascii() and text.isdecimal()):
        raise invalid(f"{name} must be a whole number, not {text[:40]!r}")
    return int(text)
