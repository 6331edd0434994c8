"""
Cleanse and enrich values by steps, and record the lineage of what they changed.

A step is a name and a pure function from text to text. `Lineage` applies steps to the fields of one record
and records, for each field that changed, its original value and the steps. It is stored with the row, so
that "why is this not what the shop has?" has an answer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec


class Step(NamedTuple):
    """One step that cleanses or enriches a value."""

    name: str
    apply: Callable[[str], str]


#: Removes leading and trailing blanks.
TRIM = Step("trim", str.strip)
#: Writes each character in one form: é is one code point, not e and an accent.
NORMAL_FORM = Step("unicode normal form C", partial(unicodedata.normalize, "NFC"))


def cleansed_column(field: str, values: Sequence[str], *steps: Step) -> tuple[Sequence[str], list[str | None]]:
    """Apply *steps* to a whole column and return the lineage of each value; hardly any value changes."""
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
    """The changes that steps made to one record."""

    __slots__ = ("_changes",)

    def __init__(self) -> None:
        self._changes: dict[str, Any] | None = None

    def cleansed(self, field: str, value: str, *steps: Step) -> str:
        """Apply *steps* to *value*, in their order."""
        clean = value
        for step in steps:
            clean = step.apply(clean)
        if clean != value:
            self._record(field, value, _changed_by(value, steps))
        return clean

    def enriched(self, field: str, value: Any, source: str) -> Any:
        """Record that *value*, which the source did not send, comes from *source*."""
        self._record(field, None, [source])
        return value

    def document(self) -> str | None:
        """Encode the changes as JSON; None if there are none."""
        return msgspec.json.encode(self._changes).decode() if self._changes else None

    def _record(self, field: str, was: Any, steps: list[str]) -> None:
        if self._changes is None:
            self._changes = {}
        self._changes[field] = {"was": was, "by": steps}
