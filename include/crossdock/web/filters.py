"""Filters in the address of a page: a form without scripts sends those that nobody chose as empty."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from pydantic import AfterValidator

from crossdock.api.dependencies import PLAIN

#: Plain text, or nothing.
Filter = Annotated[
    str | None,
    Query(max_length=250, pattern=PLAIN.removesuffix("+$") + "*$"),
    AfterValidator(lambda value: value or None),
]
