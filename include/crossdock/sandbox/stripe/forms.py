"""The vendor's requests: forms whose names have brackets, such as `metadata[order]=4711` and `expand[]=latest_charge`."""

import re
from typing import Any
from urllib.parse import parse_qsl

from crossdock.sandbox.stripe.problems import invalid

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")


def read_form(text: str) -> dict[str, Any]:
    """
    Read a form or a query as nested objects; the entries of a list get their place as their name.

    Raises:
        Problem: a name is not valid, or is both a value and an object.

    """
    found: dict[str, Any] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        match = _NAME.fullmatch(name)
        if match is None:
            raise invalid(f"Invalid parameter name: {name[:80]}", param=name[:80])
        _put(found, [match[1], *_PART.findall(match[2])], value)
    return found


def _put(found: dict[str, Any], path: list[str], value: str) -> None:
    for part in path[:-1]:
        found = found.setdefault(part, {})
        if not isinstance(found, dict):
            raise invalid("Invalid object", param=path[0])
    last = path[-1] or str(len(found))
    found[last] = value


def whole(form: dict[str, Any], name: str, default: int | None = None, *, low: int = 1, high: int = 99_999_999) -> int:
    """Read a whole number; a missing one is *default*, or refused."""
    text = form.get(name)
    if text is None and default is not None:
        return default
    if text is None:
        raise invalid(f"Missing required param: {name}.", param=name, code="parameter_missing")
    if not (isinstance(text, str) and re.fullmatch(r"-?[0-9]{1,12}", text)):
        raise invalid(f"Invalid integer: {str(text)[:40]}", param=name, code="parameter_invalid_integer")
    if not low <= int(text) <= high:
        raise invalid(f"Invalid {name}: must be between {low} and {high}", param=name, code="parameter_invalid_integer")
    return int(text)


def refuse_unknown(form: dict[str, Any], known: frozenset[str]) -> None:
    """Refuse what the sandbox does not simulate: to know a parameter and not its effect would answer wrongly."""
    if unknown := sorted(form.keys() - known):
        raise invalid(f"Received unknown parameter: {unknown[0][:80]}", param=unknown[0][:80], code="parameter_unknown")
