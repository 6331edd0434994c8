"""Select and discard items by a request; dead letters and quarantine share this part of the API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from crossdock.api.problems import ProblemDocument
from crossdock.api.validation import MOST_EXACT, NOT_BLANK, PLAIN
from crossdock.db.bulk_edit import MOST_DISCARDED, Discarded

Id = Annotated[int, Path(ge=1, le=MOST_EXACT)]
Ids = Annotated[list[Annotated[int, Field(ge=1, le=MOST_EXACT)]], Field(min_length=1, max_length=10_000)]


class Strict(BaseModel):
    """A body that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid")


class Selected(NamedTuple):
    """A selection as the use cases take it."""

    ids: Sequence[int] = ()
    cause: str | None = None
    everything: bool = False


class Selector(Strict):
    """A body that selects items in one way; each way is a subclass."""

    def selected(self) -> Selected:
        """Return the selection as arguments of a use case."""
        raise NotImplementedError


class SelectByCause(Selector):
    """Select the open items of one cause."""

    cause: str = Field(max_length=200, pattern=PLAIN)

    def selected(self) -> Selected:
        """Return the cause."""
        return Selected(cause=self.cause)


class SelectAll(Selector):
    """Select all open items."""

    all: Literal[True]

    def selected(self) -> Selected:
        """Return the selection of all."""
        return Selected(everything=True)


class WithReason(Strict):
    """A body that says why."""

    reason: str = Field(max_length=1_000, pattern=NOT_BLANK, description="Kept in the audit trail.")


class DiscardRequest(WithReason):
    """Why to discard."""


class BulkDiscardRequest(Selector, DiscardRequest):
    """Why to discard the selected items."""

    dry_run: StrictBool = Field(False, description="Only count the selected items.")


class DiscardedDocument(BaseModel):
    """The result of a bulk discard."""

    chosen: int = Field(description="The number of selected items.")
    closed: list[int] = Field(
        description=f"The ids of the discarded items, at most {MOST_DISCARDED:,} per request; empty in a dry run. "
        "Repeat the request for the rest."
    )


def discarded(ids: Sequence[int], close: Callable[[Sequence[int]], Discarded], *, dry_run: bool) -> DiscardedDocument:
    """Call *close* with as many of *ids* as one request may discard; in a dry run only count them."""
    closed = () if dry_run else close(ids[:MOST_DISCARDED]).closed
    return DiscardedDocument(chosen=len(ids), closed=list(closed))


def not_there(what: str) -> dict[int | str, dict[str, Any]]:
    """Describe the answer 404 of a route, for the OpenAPI document."""
    return {404: {"model": ProblemDocument, "description": f"There is no such {what}."}}
