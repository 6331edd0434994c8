"""The words of the quality gate: what is expected of a column, and what failed it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Expectation(msgspec.Struct, frozen=True):
    """One rule that every row must keep, as data; `crossdock.sync.expectations` gives it to Great Expectations."""

    #: The rule's own name, which groups what fails it: `sku_is_present`.
    name: str
    #: Great Expectations' type: `expect_column_values_to_be_between`.
    type: str
    #: Its arguments, with `column` or `column_A` and `column_B`.
    arguments: Mapping[str, Any]
    #: What a person reads when a row fails: what was expected, and what to do.
    message: str

    def __hash__(self) -> int:
        # The arguments are a mapping, which has no hash; equality still compares them.
        return hash((self.name, self.type, self.message))

    @property
    def columns(self) -> tuple[str, ...]:
        named = (self.arguments.get(key) for key in ("column", "column_A", "column_B"))
        return tuple(column for column in named if column)


def visible(text: str) -> str:
    """*text* with what UTF-8 and PostgreSQL cannot hold made visible: NUL and lone surrogates become their escapes."""
    return text.replace("\x00", "\\u0000").encode("utf-8", "backslashreplace").decode()


class Failure(msgspec.Struct, frozen=True):
    """One reason why a record was not accepted."""

    rule: str
    column: str
    message: str
    #: The value that failed, shortened, as text.
    value: str


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was not accepted, whole."""

    #: The platform's id; a digest of the record where it has none.
    record_id: str
    #: The business key a person knows it by; None where it has none.
    record_key: str | None
    version: int
    failures: tuple[Failure, ...]
    #: The record as it came, JSON.
    raw: bytes
    #: Of how many lines it is made; 0 where records are not made of lines.
    lines: int = 0

    @property
    def cause(self) -> str:
        """The first rule it failed: records with the same cause are mended alike."""
        return self.failures[0].rule
