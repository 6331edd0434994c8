"""Optimistic concurrency by ETag and If-Match: nobody overwrites a change that they have not seen."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header

from crossdock.api.problems import Problem

#: An ETag of ours, or `*`.
_PATTERN = r'^(\*|(W/)?"[0-9]{1,18}")$'


def etag(version: int) -> dict[str, str]:
    """Make the header that names *version*."""
    return {"ETag": f'"{version}"'}


async def _version(
    if_match: Annotated[
        str | None, Header(pattern=_PATTERN, description="The ETag of what was read, or `*` for any version.")
    ] = None,
) -> int | None:
    """
    Read the version that the caller has seen. None for `*`, any version.

    Raises:
        Problem: 428 without the header.

    """
    if if_match is None:
        raise Problem(
            HTTPStatus.PRECONDITION_REQUIRED,
            "precondition-required",
            "Send the ETag of what you read as If-Match, so that you do not overwrite a change that you have not seen",
        )
    return None if if_match == "*" else int(if_match.split('"')[1])


IfMatch = Annotated[int | None, Depends(_version)]
