"""What Pydantic says of a value, in plain words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from crossdock.core.pydantic_words import plain


def _refuse(value: str) -> str:
    raise ValueError(f"Cannot read {value!r} as a day")


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (int, "x", "must be a whole number"),
        (Annotated[int, Field(ge=1)], 0, "must be at least 1"),
        (Annotated[int, Field(le=500)], 501, "must be at most 500"),
        (Annotated[float, Field(gt=0)], 0, "must be greater than 0"),
        (Annotated[str, Field(max_length=3)], "abcd", "must have at most 3 characters"),
        (Annotated[list[int], Field(min_length=1)], [], "must have at least 1 item after validation, not 0"),
        (bool, "perhaps", "must be true or false"),
        (str, 5, "must be text"),
        (dict, 5, "must be an object"),
        (Literal["hub", "platform"], "x", "must be 'hub' or 'platform'"),
        (Annotated[str, AfterValidator(_refuse)], "nope", "Cannot read 'nope' as a day"),
    ],
    # By the words alone: a function's text has its address, and differs from process to process.
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_is_said_in_plain_words(kind: Any, value: object, words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(kind).validate_python(value)

    assert plain(refused.value.errors()[0]["msg"]) == words
