"""A whole answer over HTTP, what its headers say, and which error it is."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import requests

from crossdock.core.errors import SourceInvalid, SystemRefused, SystemUnavailable, Throttled

#: Answers that a later call may not get: too many requests, and the server's own trouble.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_TOO_MANY = 429
#: What a person can do about a refusal, by status; a redirect is one too.
_ADVICE = {
    401: "Check the id and the secret of the connection",
    403: "Check what the connection's credentials may do: its scope",
    404: "Check the address and the project of the connection",
    **dict.fromkeys(range(300, 400), "Redirects are not followed: check the host of the connection"),
}


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    system: str
    #: Method and path, for messages.
    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: What was sent for it. Its headers, or its address, hold credentials.
    request: requests.PreparedRequest
    #: Texts that no message may show, besides what the Authorization header holds.
    hidden: tuple[str, ...] = ()

    @property
    def date(self) -> datetime:
        """The server's own clock, to the second. Its absence is an error: ours must not be taken instead."""
        instant = _http_date(self.headers.get("Date", ""))
        if instant is None:
            raise self.invalid("has no Date header to tell the source's time by")
        return instant

    def invalid(self, cause: str) -> SourceInvalid:
        """The error that this answer is, and why: `has no total`."""
        return SourceInvalid(self.system, self.what, self.status, cause)


def judged(answer: Answer) -> Answer:
    """
    *answer*, when it is a good one and JSON.

    Raises:
        SystemUnavailable: 408/425/429/5xx. Running again may help.
        SystemRefused: any other status. Running again will not help.
        SourceInvalid: it is not JSON.

    """
    if answer.status in _PASSING:
        kind = Throttled if answer.status == _TOO_MANY else SystemUnavailable
        raise kind(
            answer.system,
            f"{answer.what} answered HTTP {answer.status}",
            retry_in_s=retry_after_s(answer.headers.get("Retry-After"), now=datetime.now(UTC)),
        )
    if not 200 <= answer.status < 300:  # noqa: PLR2004  the 2xx of HTTP
        said = f"{answer.what}: {_message_of(answer)}"
        advice = _ADVICE.get(answer.status)
        raise SystemRefused(answer.system, answer.status, f"{said}. {advice}" if advice else said)
    content_type = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise answer.invalid(f"is {content_type or 'of no type'}, not application/json")
    return answer


def retry_after_s(header: str | None, *, now: datetime, longest_s: float = 900.0) -> float | None:
    """
    The seconds that a Retry-After header asks for, at most *longest_s*; None when it says nothing usable.

    It may be seconds or a date (RFC 9110 10.2.3). A negative or absurd value is no reason to wait for ever.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        until = _http_date(header)
        if until is None:
            return None
        seconds = (until - now).total_seconds()
    return min(seconds, longest_s) if seconds >= 0 else None


def _http_date(text: str) -> datetime | None:
    """The instant that an HTTP header names, None where it names none."""
    try:
        instant = email.utils.parsedate_to_datetime(text)
        # Without a zone (`-0000`) it is UTC, not the zone of this machine (RFC 5322 3.3).
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _message_of(answer: Answer) -> str:
    """What the system says of its refusal, on one line and shortened; never the request."""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{len(answer.body)} bytes that are not JSON"
    message = document.get("message") if isinstance(document, dict) else None
    return shown(str(message or "no message"), answer)


def shown(text: str, answer: Answer) -> str:
    """
    *text* of the other side as a message may show it: one line, shortened, without credentials.

    Some systems repeat the credentials that they refuse.
    """
    text = "".join(sign if sign.isprintable() else " " for sign in text)
    for secret in (answer.request.headers.get("Authorization", "").rpartition(" ")[2], *answer.hidden):
        text = text.replace(secret, "[hidden]") if secret else text
    return text[:300]
