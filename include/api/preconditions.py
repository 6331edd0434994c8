"""ETag and If-Match: nobody overwrites a change that they have not seen."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Header

from include.api.problems import Problem

_ETAG = re.compile(r'(?:W/)?"([0-9]{1,18})"')


def etag(version: int) -> dict[str, str]:
    """The header that names *version*."""
    return {"ETag": f'"{version}"'}


def _version(
    if_match: Annotated[str | None, Header(description='The ETag that was read, `"3"`, or `*`.')] = None,
) -> int | None:
    """
    The version that the caller has seen; None for `*`, whichever it is.

    Raises:
        Problem: 428 without the header, 412 for one that is no ETag of ours.

    """
    if if_match is None:
        raise Problem(
            HTTPStatus.PRECONDITION_REQUIRED,
            "precondition-required",
            "Send the ETag of what you read as If-Match, so that you do not overwrite what you have not seen",
        )
    if if_match.strip() == "*":
        return None
    found = _ETAG.fullmatch(if_match.strip())
    if found is None:
        raise Problem(HTTPStatus.PRECONDITION_FAILED, "version-changed", "The If-Match is no ETag of this resource")
    return int(found[1])


SeenVersion = Annotated[int | None, Depends(_version)]
