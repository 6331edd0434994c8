"""A complete HTTP response, its headers, and the error that it means."""

from __future__ import annotations

import email.utils
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests

from crossdock.core.errors import AccessRefused, Busy, SourceInvalid, SystemRefused, SystemUnavailable, Throttled
from crossdock.core.printable import printable

T = TypeVar("T")

#: Of 4xx, the statuses after which a retry may succeed.
_TRANSIENT = frozenset({408, 425, 429})
#: From here on it is the server's own failure, whatever it means by the number: a status that nobody defined counts as
#: the first of its class (RFC 9110 15), and one beyond 599 as a 5xx.
_SERVER_ERROR = 500
_TOO_MANY = 429
_FORBIDDEN = 403
#: By these a system refuses who asks, not what is asked.
_OF_CREDENTIALS = frozenset({401, _FORBIDDEN})
_UNAVAILABLE = 503
#: Headers that say how many requests are left, and when there will be more: in seconds, or as an epoch.
_LIMITS = (("X-RateLimit-Remaining", "X-RateLimit-Reset"), ("RateLimit-Remaining", "RateLimit-Reset"))
#: A larger number of seconds is an epoch.
_EPOCH_S = 1_000_000_000
#: No wait is longer: a system that asks for a day is called again today.
_LONGEST_WAIT_S = 900.0
#: Other than 4xx, statuses by which the server says that it did not process the request: it belongs to another address,
#: or the server does not know its method or version of HTTP. Not 302 and 303: many answer so when they have processed it.
_NOT_PROCESSED = frozenset({301, 307, 308, 501, 505})
#: Of 4xx, the one that gateways also send when the system behind them, which has the request, is slow.
_GATEWAY_TIMEOUT = 408
#: The fields in which systems give their reason; `error_description` is OAuth's (RFC 6749), `detail` of RFC 9457.
_REASONS = ("message", "error_description", "detail", "error", "title")
#: What a person can do about a refusal, by status; a redirect counts as a refusal.
_ADVICE = {
    401: "Check the id and the secret of the connection",
    403: "Check the scope of the connection's credentials",
    404: "Check the address of the connection, and what of it names an account or a project",
    **dict.fromkeys(range(300, 400), "Redirects are not followed: check the host of the connection"),
}


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A complete response."""

    system: str
    #: Method and path, for messages.
    endpoint: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: The request that was sent. Its headers or its URL contain credentials.
    request: requests.PreparedRequest
    #: Texts that no message may show, in addition to the Authorization header.
    secrets: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The host that answered, and its port where the URL names one; without the user that the URL may contain."""
        return urlsplit(str(self.request.url)).netloc.rpartition("@")[2]

    @property
    def date(self) -> datetime:
        """The server's clock, to the second. A missing header is an error: our clock must not replace it."""
        instant = _http_date(self.headers.get("Date", ""))
        if instant is None:
            raise self.invalid("has no Date header to read the source's time from")
        return instant

    @property
    def is_refusal(self) -> bool:
        """
        True if the status says that the request was not processed, so that it had no effect.

        No 5xx but 501 and 505 says so. A 503 does if it has a Retry-After, since then the server speaks of itself (RFC
        9110 15.6.4); a proxy that lost the system in the middle of a request answers 503 as well.
        """
        if self.status == _UNAVAILABLE:
            return "Retry-After" in self.headers
        return (400 <= self.status < 500 and self.status != _GATEWAY_TIMEOUT) or self.status in _NOT_PROCESSED  # noqa: PLR2004  4xx

    def invalid(self, cause: str) -> SourceInvalid:
        """Build the error for an invalid response; *cause* completes the sentence: `has no total`."""
        return SourceInvalid(self.system, self.endpoint, self.status, cause)

    def decoded(self, decode: Callable[[bytes], T]) -> T:
        """
        Decode the body.

        Raises:
            SourceInvalid: it is not what the vendor documents.

        """
        try:
            return decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self.invalid(f"is not what the vendor documents: {error}") from error

    def raise_for_status(self) -> None:
        """
        Refuse a response that is not a success.

        Raises:
            Throttled: 429, or a 403 by which a limit is meant. Running again after its wait will help.
            SystemUnavailable: 408, 425, or any 5xx. Running again may help.
            AccessRefused: 401 or 403. Each call is refused until the credentials are changed.
            SystemRefused: any other status. Running again will not help.

        """
        if 200 <= self.status < 300:  # noqa: PLR2004  the 2xx of HTTP
            return
        if self._is_throttled:
            raise self.unavailable(Throttled, retry_in_s=self._requested_wait_s())
        if self.status in _TRANSIENT or self.status >= _SERVER_ERROR:
            raise self.unavailable(SystemUnavailable, retry_in_s=self._requested_wait_s())
        message = f"{self.endpoint}: {_message_of(self)}"
        advice = _ADVICE.get(self.status)
        refused = AccessRefused if self.status in _OF_CREDENTIALS else SystemRefused
        raise refused(self.system, self.status, f"{message.rstrip('. ')}. {advice}" if advice else message)

    def unavailable(
        self, kind: type[SystemUnavailable], message: str | None = None, *, retry_in_s: float | None = None
    ) -> SystemUnavailable:
        """Build the error for a response by which the system says that it cannot answer now; *message* is its reason."""
        what = f"{self.endpoint} at {self.host} answered HTTP {self.status}: {message or _message_of(self)}"
        return kind(self.system, what, status=self.status, retry_in_s=retry_in_s)

    def busy(self) -> Busy:
        """Build the error for a refusal after which the system asks to try again, with the wait that it asks for."""
        return Busy(
            self.system,
            f"{self.endpoint} at {self.host} answered HTTP {self.status}: {_message_of(self)}",
            status=self.status,
            retry_in_s=self._requested_wait_s(),
        )

    @property
    def _is_throttled(self) -> bool:
        """True for 429, and for a 403 that says that it is not for ever, as GitHub's."""
        if self.status != _FORBIDDEN:
            return self.status == _TOO_MANY
        return "Retry-After" in self.headers or any(self._has_no_more(remaining) for remaining, _ in _LIMITS)

    def _has_no_more(self, header: str) -> bool:
        return bool(self.headers.get(header, "").strip() == "0")

    def _requested_wait_s(self) -> float | None:
        """Read how long the server asks us to wait: Retry-After, or an exhausted limit until its reset."""
        # By the server's own clock, if it says what it is: ours may differ by more than the wait.
        now = _http_date(self.headers.get("Date", "")) or datetime.now(UTC)
        wait_s = retry_after_s(self.headers.get("Retry-After"), now=now)
        if wait_s is not None:
            return wait_s
        for remaining, reset in _LIMITS:
            if self._has_no_more(remaining):
                return _until_reset_s(self.headers.get(reset), now=now)
        return None

    def require_json(self) -> None:
        """
        Refuse a response that is not declared as JSON: a proxy's login page comes with HTTP 200.

        Raises:
            SourceInvalid: the content type is another one.

        """
        content_type = self.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise self.invalid(f"is {content_type or 'of no type'}, not application/json")


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """
    Read the seconds of a Retry-After header, at most a quarter of an hour; None if it is not usable.

    The value may be seconds or a date (RFC 9110 10.2.3). A negative value is ignored and a huge one is capped.
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
    return min(seconds, _LONGEST_WAIT_S) if seconds >= 0 else None


def _until_reset_s(header: str | None, *, now: datetime) -> float | None:
    """Read the seconds until a limit is reset, as `retry_after_s`; one that was reset just now is no reason to wait."""
    try:
        seconds = float(header or "")
    except ValueError:
        return retry_after_s(header, now=now)
    if seconds >= _EPOCH_S:
        seconds = max(seconds - now.timestamp(), 0.0)
    return min(seconds, _LONGEST_WAIT_S) if seconds >= 0 else None


def _http_date(text: str) -> datetime | None:
    """Parse the date of an HTTP header; None if it is not valid."""
    try:
        instant = email.utils.parsedate_to_datetime(text)
        # A date without a zone (`-0000`) is UTC, not this machine's zone (RFC 5322 3.3).
        return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def _message_of(response: HttpResponse) -> str:
    """Extract the system's reason for its refusal, on one line and shortened; never shows the request."""
    try:
        document = msgspec.json.decode(response.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{len(response.body)} bytes that are not JSON"
    document = document["error"] if _has_error_object(document) else document
    found = (document.get(name) for name in _REASONS) if isinstance(document, dict) else ()
    return redacted(next((text for text in found if isinstance(text, str) and text), "no message"), response)


def _has_error_object(document: Any) -> bool:
    """Check whether the reason is one level deeper, as in `{"error": {"message": …}}`."""
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def redacted(text: str, response: HttpResponse) -> str:
    """
    Make *text* from the system safe for a message: one line, shortened, without credentials.

    Some systems repeat the credentials that they refuse.
    """
    for secret in (response.request.headers.get("Authorization", "").rpartition(" ")[2], *response.secrets):
        text = text.replace(secret, "[hidden]") if secret else text
    return printable(text)[:300]
