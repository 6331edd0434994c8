"""Faults in the response itself: a response in place of the real one, or the real one altered."""

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.utils import formatdate
from time import time

from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Response, problem_response
from crossdock.sandbox.engine.problems import Problem

_MB = 1_000_000
#: Of a proxy that lost the system behind it: it cannot know whether the request had its effect.
_BAD_GATEWAY = Response(502, b"<html>Bad gateway</html>", "text/html; charset=utf-8")


def replacement(fault: Fault, problem_of: Callable[[int], Problem], empty_page: tuple[bytes, bytes]) -> Response | None:
    """
    Make the response that *fault* sends in place of the real one; None if it does not replace the response.

    The request then has no effect on the system.

    Args:
        fault: What should go wrong.
        problem_of: Makes the system's error for a status.
        empty_page: A page without records, cut in two where blanks may stand.

    """
    match fault.kind, fault.value:
        case "status", int(status):
            return replace(problem_response(problem_of(status)), headers=_retry_after(fault))
        case "not_json", str(text):
            return Response(200, text.encode(), "text/html; charset=utf-8")
        case "bad_gateway", "before":
            return _BAD_GATEWAY
        case "redirect", str(url):
            return Response(302, b"", headers={"Location": url})
        case "gzip_bomb_mb", size:
            return Response(200, _bomb(size, *empty_page), headers={"Content-Encoding": "gzip"})
    return None


def alter(response: Response, fault: Fault, number_fields: Sequence[str]) -> Response:
    """Apply *fault* to the real response; faults of a number go into the first of *number_fields* that it has."""
    match fault.kind:
        case "truncate_json":
            return replace(response, body=response.body[: int(len(response.body) * fault.value)])
        case "bad_gateway":
            return _BAD_GATEWAY
        case "wrong_type":
            return replace(response, content_type="text/html; charset=utf-8")
        case "nan":
            return _with_number(response, b"NaN", number_fields)
        case "huge_number":
            # Not str(10**400): Python refuses to write integers of more than 4300 digits, and a script may set more.
            number = b"1" + b"0" * 400 if fault.value is True else str(fault.value).encode()
            return _with_number(response, number, number_fields)
    return response


def _retry_after(fault: Fault) -> dict[str, str]:
    pause = fault.retry_after
    if pause is None:
        return {}
    if isinstance(pause, str):
        pause = formatdate(time() + float(pause.removeprefix("date:")), usegmt=True)
    return {"Retry-After": str(pause)}


def _bomb(megabytes: float, start: bytes, end: bytes) -> bytes:
    """Compress a valid page that unpacks to *megabytes* of blanks between *start* and *end*."""
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = pack.compress(start)
    blanks = b" " * _MB
    middle = b"".join(pack.compress(blanks) for _ in range(int(megabytes)))
    return head + middle + pack.compress(end) + pack.flush()


def _with_number(response: Response, number: bytes, fields: Sequence[str]) -> Response:
    """Replace the first number of the first field that the page has, in one record."""
    for name in fields:
        body, replaced = re.subn(rb'("%b":)-?\d+' % name.encode(), rb"\g<1>" + number, response.body, count=1)
        if replaced:
            return replace(response, body=body)
    return response
