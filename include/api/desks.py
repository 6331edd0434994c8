"""What the desks of dead letters and of quarantine have alike over HTTP: how one chooses, and how one discards."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from include.api.bounds import MOST_EXACT, PLAIN
from include.api.problems import ProblemDocument

#: Discarded by one request: what is closed within a few seconds.
MOST_DISCARDED = 10_000

Number = Annotated[int, Path(ge=1, le=MOST_EXACT)]
Numbers = Annotated[list[Annotated[int, Field(ge=1, le=MOST_EXACT)]], Field(min_length=1, max_length=10_000)]


class Strict(BaseModel):
    """A body with nothing unknown in it."""

    model_config = ConfigDict(extra="forbid")


class ByCause(Strict):
    cause: str = Field(max_length=200, pattern=PLAIN)


class Everything(Strict):
    all: Literal[True]


class Because(Strict):
    reason: str = Field(min_length=1, max_length=1_000, description="Kept in the audit trail.")


class ManyBecause(Because):
    dry_run: StrictBool = Field(False, description="Only count them.")


class DiscardedDocument(BaseModel):
    chosen: int = Field(description="How many there were to discard.")
    closed: list[int] = Field(
        description=f"The numbers of those that are closed now, at most {MOST_DISCARDED:,} a request; "
        "none in a dry run. Ask again for the rest."
    )


def not_there(what: str) -> dict[int | str, dict[str, Any]]:
    """The answer 404 of a route, for its document."""
    return {404: {"model": ProblemDocument, "description": f"There is no such {what}."}}
