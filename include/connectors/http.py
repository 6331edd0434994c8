"""
The one HTTP client of all connectors.

Every call has a total deadline and a cap on decoded bytes, follows no redirect, is tried again for
passing reasons with growing random waits, and fails as `Transient` or `Terminal`. No header, token or
query value ever goes into a message, nor into that of an error's cause.
"""

from __future__ import annotations

import email.utils
import logging
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
import tenacity
from requests.auth import AuthBase

from include.connectors.deadline import Deadline, DeadlineAdapter
from include.model.errors import BadRequest, SourceInvalid, SystemRefused, SystemUnavailable, Transient

log = logging.getLogger(__name__)
# Below an error, urllib3 logs whole addresses, query values included.
logging.getLogger("urllib3").setLevel(logging.ERROR)

T = TypeVar("T")

#: Answers that a later call may not get: too many requests, and the server's own trouble.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED = 401
#: What a person can do about a refusal, by status; a redirect is one too.
_ADVICE = {
    401: "Check the id and the secret of the connection",
    403: "Check what the connection's credentials may do: its scope",
    404: "Check the address and the project of the connection",
    **dict.fromkeys(range(300, 400), "Redirects are not followed: check the host of the connection"),
}


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how much one call may take."""

    #: Connect, send, wait and read together, for one attempt.
    timeout_s: float = 20.0
    connect_timeout_s: float = 5.0
    #: Decoded bytes of one answer; a gzip bomb is cut here.
    answer_bytes: int = 32 * 1024 * 1024
    #: Attempts in all, the first included.
    attempts: int = 4
    #: The longest wait between two attempts. A longer Retry-After is handed to the scheduler instead
    #: of sleeping on a worker's slot.
    longest_wait_s: float = 8.0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer."""

    system: str
    #: Method and path, for messages.
    what: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    #: What was sent for it. Its headers hold credentials.
    request: requests.PreparedRequest

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


class _Session(requests.Session):
    """
    Connections that go where they are told and keep nothing: no proxies, .netrc or certificates that the
    environment names, no cookies, no redirects.
    """

    def __init__(self, pool: int, ca_file: str | None) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = ca_file or True
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        # The retries of urllib3 stay off (0): they know no deadline, and would multiply with ours.
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=pool, max_retries=0)
        self.mount("http://", adapter)
        self.mount("https://", adapter)

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirect has one. Else requests reads all of its body, however large, to be ready to follow it."""


class HttpClient:
    """
    Calls to one system.

    Args:
        system: Its name in messages: `commercetools`.
        base_url: Without a trailing slash. Plain http is for loopback and tests.
        auth: Signs each request; when it has `renew(request)`, a 401 to a request renews and tries again, once.
        ca_file: The certificate authorities to trust in place of the public ones, as a PEM file.

    Raises:
        BadRequest: the address or the file is none; the message says which.

    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        auth: AuthBase | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        pool: int = 8,
    ) -> None:
        self.system = system
        self.base_url = base_url.rstrip("/")
        self.auth = auth
        self.limits = limits or Limits()
        self._host = _host_of(system, base_url)
        if ca_file and not Path(ca_file).is_file():
            raise BadRequest(f"{system}: there is no file {ca_file!r} of certificate authorities (ca_file)")
        self._session = _Session(pool, ca_file)

    def get(self, path: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        """
        What *parse* makes of the JSON answer to GET *path*; when it raises a Transient, the call is tried again.

        Raises:
            SystemUnavailable: no answer, or 408/425/429/5xx, after all attempts. Running again may help.
            SystemRefused: any other status. Running again will not help.
            SourceInvalid: the answer is cut, too large, or not JSON.

        """
        return self._with_retries(lambda: parse(self._once("GET", path, params=query)))

    def post_form(self, path: str, form: Mapping[str, str], auth: AuthBase, parse: Callable[[Answer], T]) -> T:
        """The same for a form; only for calls that may be repeated, as a token request is."""
        return self._with_retries(lambda: parse(self._once("POST", path, data=form, auth=auth)))

    def close(self) -> None:
        self._session.close()

    def _with_retries(self, call: Callable[[], T]) -> T:
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self.limits.attempts),
            retry=tenacity.retry_if_exception(self._worth_another_try),
            wait=self._wait_s,
            before_sleep=_log_retry,
            reraise=True,
        )
        return retrying(call)

    def _worth_another_try(self, error: BaseException) -> bool:
        return isinstance(error, Transient) and (error.retry_in_s or 0) <= self.limits.longest_wait_s

    def _wait_s(self, state: tenacity.RetryCallState) -> float:
        """What the server asked for, or a random share of a doubling span (full jitter)."""
        error = state.outcome.exception() if state.outcome else None
        asked_s = error.retry_in_s if isinstance(error, Transient) else None
        if asked_s is not None:
            return asked_s + random.uniform(0, 0.25)  # noqa: S311  spreads callers; no secret
        return random.uniform(0, min(self.limits.longest_wait_s, 0.5 * 2**state.attempt_number))  # noqa: S311

    def _once(self, method: str, path: str, *, auth: AuthBase | None = None, **options: Any) -> Answer:
        signer = auth or self.auth
        with Deadline(self.limits.timeout_s) as deadline:
            answer = self._exchange(deadline, method, path, auth=signer, **options)
            if answer.status == _UNAUTHORISED and (renew := getattr(signer, "renew", None)):
                renew(answer.request)
                answer = self._exchange(deadline, method, path, auth=signer, **options)
        return self._judged(answer)

    def _exchange(self, deadline: Deadline, method: str, path: str, **options: Any) -> Answer:
        what = f"{method} {path}"
        try:
            # Signs the request, which may take a call of its own for a token.
            request = self._session.prepare_request(requests.Request(method, self.base_url + path, **options))
            timeout = (min(self.limits.connect_timeout_s, deadline.left_s), deadline.left_s)
            with self._session.send(request, timeout=timeout, allow_redirects=False, stream=True) as response:
                body = self._body(response, what)
        except (requests.RequestException, OSError) as error:
            root = _innermost(error)
            why = self._too_late() if deadline.passed else _reason(error, root)
            # Not from *error*: its text, like that of all between, holds the address with its query values.
            cause = None if isinstance(root, requests.RequestException) else root
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {what}: {why}") from cause
        if deadline.passed:  # a body that was cut by the watchdog must not pass for a whole one
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {what}: {self._too_late()}")
        return Answer(
            system=self.system,
            what=what,
            status=response.status_code,
            headers=response.headers,
            body=body,
            request=request,
        )

    def _too_late(self) -> str:
        return f"it took longer than {self.limits.timeout_s:g} s"

    def _body(self, response: requests.Response, what: str) -> bytes:
        chunks, size = [], 0
        for chunk in response.iter_content(256 * 1024):
            size += len(chunk)
            if size > self.limits.answer_bytes:
                raise SourceInvalid(
                    self.system, what, response.status_code, f"is larger than {self.limits.answer_bytes:,} bytes"
                )
            chunks.append(chunk)
        return b"".join(chunks)

    def _judged(self, answer: Answer) -> Answer:
        if answer.status in _PASSING:
            raise SystemUnavailable(
                self.system,
                f"{answer.what} answered HTTP {answer.status}",
                retry_in_s=retry_after_s(answer.headers.get("Retry-After"), now=datetime.now(UTC)),
            )
        if not 200 <= answer.status < 300:  # noqa: PLR2004  the 2xx of HTTP
            said = f"{answer.what}: {_message_of(answer)}"
            advice = _ADVICE.get(answer.status)
            raise SystemRefused(self.system, answer.status, f"{said}. {advice}" if advice else said)
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


def _host_of(system: str, base_url: str) -> str:
    """The host and port that messages name. They never show *base_url* itself: a password may stand in it."""
    try:
        url = urlsplit(base_url)
        if url.scheme in {"http", "https"} and url.hostname:
            return url.netloc.rpartition("@")[2]
    except ValueError:
        pass
    raise BadRequest(f"The host of the {system} connection is no address; expected one such as https://api.example.com")


def _message_of(answer: Answer) -> str:
    """What the system says of its refusal, on one line and shortened; never the request."""
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return f"{len(answer.body)} bytes that are not JSON"
    message = document.get("message") if isinstance(document, dict) else None
    text = "".join(sign if sign.isprintable() else " " for sign in str(message or "no message"))
    # Some systems repeat the credentials that they refuse.
    credentials = answer.request.headers.get("Authorization", "").rpartition(" ")[2]
    return (text.replace(credentials, "[hidden]") if credentials else text)[:300]


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _reason(error: BaseException, root: BaseException) -> str:
    """The system's word for what went wrong, or the error's kind; not its text, which holds query values."""
    return (root.strerror if isinstance(root, OSError) else None) or type(error).__name__


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "Trying again in %.1f s (attempt %s): %s",
        state.next_action.sleep if state.next_action else 0,
        state.attempt_number + 1,
        error,
        extra={"attempt": state.attempt_number + 1},
    )
