"""The types of validation: expectations of columns, and the records that failed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from crossdock.core.errors import Terminal

#: What happens to a record that fails a rule: it is rejected; it is loaded, and the ledger counts it; nothing.
Level = Literal["reject", "warn", "off"]


class Expectation(msgspec.Struct, frozen=True):
    """One rule for every row, as data; `crossdock.sync.expectations` evaluates it with Great Expectations."""

    #: The rule's own name, by which failed records are grouped: `sku_is_present`.
    name: str
    #: Great Expectations' type: `expect_column_values_to_be_between`.
    type: str
    #: Its arguments, with `column` or `column_A` and `column_B`.
    arguments: Mapping[str, Any]
    #: What a person reads if a row fails: what was expected, and what to do.
    message: str
    #: What it does unless the merchant chooses another level.
    level: Level = "reject"
    #: Whether the tables or the identity of records need it: then its level cannot be changed.
    required: bool = False

    def __hash__(self) -> int:
        # The arguments are a mapping, which has no hash; equality still compares them.
        return hash((self.name, self.type, self.message))

    @property
    def columns(self) -> tuple[str, ...]:
        named = (self.arguments.get(key) for key in ("column", "column_A", "column_B"))
        return tuple(column for column in named if column)


class SuiteBroken(Terminal):
    """An expectation could not be evaluated: it is declared incorrectly. No row passes or fails it."""


class Failure(msgspec.Struct, frozen=True):
    """One reason why a record was not accepted."""

    rule: str
    column: str
    message: str
    #: The value that failed, shortened, as text.
    value: str


#: How many of the records of a warning are named.
EXAMPLES = 3


class Warned(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the level `warn`, and the accepted records that fail it."""

    rule: str
    message: str
    records: int
    #: IDs of some of them.
    examples: tuple[str, ...]


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A whole record that was not accepted."""

    #: The source's id; a hash of the record if it has none.
    record_id: str
    #: The business key by which a person knows it; None if it has none.
    record_key: str | None
    version: int
    failures: tuple[Failure, ...]
    #: The record as it came, JSON.
    raw: bytes
    #: How many lines it has; 0 for records without lines.
    lines: int = 0
    #: The record's columns as JSON; None if it could not be mapped.
    mapped: str | None = None

    @property
    def cause(self) -> str:
        """The first rule that it failed: records with the same cause are usually fixed in the same way."""
        return self.failures[0].rule
