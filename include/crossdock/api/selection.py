"""What the desks of dead letters and of quarantine have alike over HTTP: how one chooses, and how one discards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from crossdock.api.problems import ProblemDocument
from crossdock.api.validation import MOST_EXACT, PLAIN
from crossdock.db.bulk_edit import Discarded

#: Discarded by one request: what is closed within a few seconds.
_MOST_DISCARDED = 10_000

Number = Annotated[int, Path(ge=1, le=MOST_EXACT)]
Numbers = Annotated[list[Annotated[int, Field(ge=1, le=MOST_EXACT)]], Field(min_length=1, max_length=10_000)]


class Strict(BaseModel):
    """A body with nothing unknown in it."""

    model_config = ConfigDict(extra="forbid")


class Choice(NamedTuple):
    """What was chosen, as the desks take it."""

    numbers: Sequence[int] = ()
    cause: str | None = None
    everything: bool = False


class Choosing(Strict):
    """A body that says which of a desk's things it is about, in one way; each way is a class."""

    def choice(self) -> Choice:
        raise NotImplementedError


class ByCause(Choosing):
    cause: str = Field(max_length=200, pattern=PLAIN)

    def choice(self) -> Choice:
        return Choice(cause=self.cause)


class Everything(Choosing):
    all: Literal[True]

    def choice(self) -> Choice:
        return Choice(everything=True)


class Because(Strict):
    reason: str = Field(min_length=1, max_length=1_000, description="Kept in the audit trail.")


class ManyBecause(Choosing, Because):
    dry_run: StrictBool = Field(False, description="Only count them.")


class DiscardedDocument(BaseModel):
    chosen: int = Field(description="How many there were to discard.")
    closed: list[int] = Field(
        description=f"The numbers of those that are closed now, at most {_MOST_DISCARDED:,} a request; "
        "none in a dry run. Ask again for the rest."
    )


def discarded(
    numbers: Sequence[int], close: Callable[[Sequence[int]], Discarded], *, dry_run: bool
) -> DiscardedDocument:
    """What *close* made of *numbers*, or in a dry run how many there are."""
    closed = () if dry_run else close(numbers[:_MOST_DISCARDED]).closed
    return DiscardedDocument(chosen=len(numbers), closed=list(closed))


def not_there(what: str) -> dict[int | str, dict[str, Any]]:
    """The answer 404 of a route, for its document."""
    return {404: {"model": ProblemDocument, "description": f"There is no such {what}."}}
