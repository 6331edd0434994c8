"""What faults do to an answer, short of the socket: answers in place of the real one, and altered real ones."""

import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from email.utils import formatdate
from time import time

from crossdock.sandbox.commercetools.problems import of_status
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Response, of_error

_NUMBERS = (b"quantityOnStock", b"centAmount", b"version")
_MB = 1_000_000


def in_place_of_the_answer(fault: Fault) -> Response | None:
    """What the client gets without the request having any effect; None where the fault is not of that kind."""
    match fault.kind, fault.value:
        case "status", int(status):
            return replace(of_error(of_status(status)), headers=_retry_after(fault))
        case "not_json", str(text):
            return Response(200, text.encode(), "text/html; charset=utf-8")
        case "redirect", str(url):
            return Response(302, b"", headers={"Location": url})
        case "gzip_bomb_mb", size:
            return Response(200, _bomb(size), headers={"Content-Encoding": "gzip"})
    return None


def altered(response: Response, fault: Fault) -> Response:
    """The real answer, made wrong."""
    alter = _ALTERATIONS.get(fault.kind)
    return response if alter is None else alter(response, fault)


def _retry_after(fault: Fault) -> dict[str, str]:
    pause = fault.retry_after
    if pause is None:
        return {}
    if isinstance(pause, str):
        pause = formatdate(time() + float(pause.removeprefix("date:")), usegmt=True)
    return {"Retry-After": str(pause)}


def _bomb(megabytes: float) -> bytes:
    """A valid, empty page that unpacks to so many megabytes of blanks."""
    pack = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    head = pack.compress(b'{"limit":500,"offset":0,"count":0,"total":0,"results":[')
    blanks = b" " * _MB
    middle = b"".join(pack.compress(blanks) for _ in range(int(megabytes)))
    return head + middle + pack.compress(b"]}") + pack.flush()


def _cut(response: Response, fault: Fault) -> Response:
    return replace(response, body=response.body[: int(len(response.body) * fault.value)])


def _call_it_html(response: Response, _fault: Fault) -> Response:
    return replace(response, content_type="text/html; charset=utf-8")


def _with_nan(response: Response, _fault: Fault) -> Response:
    return _with_number(response, b"NaN")


def _with_huge_number(response: Response, fault: Fault) -> Response:
    # Not str(10**400): Python refuses to write integers of more than 4300 digits, and this may be asked for more.
    return _with_number(response, b"1" + b"0" * 400 if fault.value is True else str(fault.value).encode())


def _with_number(response: Response, number: bytes) -> Response:
    """Swaps the first number of the first field that the page has, in one row."""
    for name in _NUMBERS:
        body, swapped = re.subn(rb'("%b":)-?\d+' % name, rb"\g<1>" + number, response.body, count=1)
        if swapped:
            return replace(response, body=body)
    return response


_ALTERATIONS: dict[str, Callable[[Response, Fault], Response]] = {
    "truncate_json": _cut,
    "wrong_type": _call_it_html,
    "nan": _with_nan,
    "huge_number": _with_huge_number,
}
