"""
Cleansing and enrichment as steps of one kind, and what they changed.

A step is a name and a pure function from text to text. `Lineage` applies steps to one record's fields
and remembers, for the fields that changed, what they were and which steps did it: kept with the row, so
that "why is this sku in upper case?" has an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec


class Step(NamedTuple):
    """One way to cleanse or enrich a value."""

    name: str
    apply: Callable[[str], str]


#: No blanks around it.
TRIM = Step("trim", str.strip)
#: One way to write each character: é is one code point, not e and an accent.
NORMAL_FORM = Step("unicode normal form C", partial(unicodedata.normalize, "NFC"))
#: Codes are typed in either case and mean the same.
UPPER = Step("upper case", str.upper)


def cleansed_column(field: str, values: Sequence[str], *steps: Step) -> tuple[Sequence[str], list[str | None]]:
    """*values* after *steps*, and the lineage of each: a column at a time, since hardly any value changes."""
    clean = values
    for step in steps:
        clean = [*map(step.apply, clean)]
    if clean == values:
        return clean, [None] * len(clean)
    return clean, [
        None if after == before else _lineage_of(field, before, steps)
        for before, after in zip(values, clean, strict=True)
    ]


def _lineage_of(field: str, value: str, steps: Sequence[Step]) -> str | None:
    lineage = Lineage()
    lineage.cleansed(field, value, *steps)
    return lineage.document()


def _changed_by(value: str, steps: Sequence[Step]) -> list[str]:
    names = []
    for step in steps:
        changed = step.apply(value)
        if changed != value:
            names.append(step.name)
        value = changed
    return names


class Lineage:
    """What the steps changed in one record."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[str, Any] | None = None

    def cleansed(self, field: str, value: str, *steps: Step) -> str:
        """*value* after *steps*, in their order."""
        clean = value
        for step in steps:
            clean = step.apply(clean)
        if clean != value:
            self._note(field, value, _changed_by(value, steps))
        return clean

    def enriched(self, field: str, value: Any, source: str) -> Any:
        """*value*, which the platform did not send, noted as coming from *source*."""
        self._note(field, None, [source])
        return value

    def document(self) -> str | None:
        """The changes as JSON; None when there are none."""
        return msgspec.json.encode(self._changes).decode() if self._changes else None

    def _note(self, field: str, was: Any, steps: list[str]) -> None:
        if self._changes is None:
            self._changes = {}
        self._changes[field] = {"was": was, "by": steps}
