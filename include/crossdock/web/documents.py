"""JSON documents for people: written out, with the lines marked that a rule is about."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from crossdock.core import exact_json
from crossdock.core.errors import Conflict

_NAMED = re.compile(r'^\s*"((?:[^"\\]|\\.)*)":')


class Line(NamedTuple):
    text: str
    is_marked: bool


def lines_of(document: Any, names: Collection[str]) -> list[Line]:
    """Write *document* line by line; those of a field that is one of *names* are marked."""
    wanted = {_bare(name) for name in names}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return [Line(line, bool((found := _NAMED.match(line)) and _bare(found[1]) in wanted)) for line in text.splitlines()]


def whole(document: bytes) -> str:
    """Write a stored JSON document for an editor, every digit of its numbers kept."""
    return _indented(exact_json.decode(document.decode("utf-8", "backslashreplace")), "")


def digest(text: str) -> str:
    """Identify the *text* of an editor, so that a form says which one the person saw."""
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_changed(shown: str, text: str) -> None:
    """
    Refuse an edit of what is not as the person saw it.

    Args:
        shown: The digest that the form has.
        text: What the editor would show now.

    Raises:
        Conflict: somebody has edited it in the meantime, perhaps the same person in another tab.

    """
    if shown != digest(text):
        raise Conflict(
            "It was edited after you opened the page, and your text is not saved. Open the page again and repeat the edit there"
        )


def _indented(value: Any, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        fields = (
            f"{inner}{json.dumps(name, ensure_ascii=False)}: {_indented(of, inner)}" for name, of in value.items()
        )
        return "{\n" + ",\n".join(fields) + f"\n{indent}}}"
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(inner + _indented(of, inner) for of in value) + f"\n{indent}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return exact_json.encode(value).decode()


def _bare(name: str) -> str:
    """Compare names without what vendors and columns write differently: `quantityOnStock` becomes `quantity_on_stock`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
