"""
The one HTTP client of all connectors.

Every call has a total deadline and a cap on decoded bytes, follows no redirect, is tried again for
passing reasons with growing random waits, and fails as `Transient` or `Terminal`. No header, token or
query value ever goes into a message.
"""

from __future__ import annotations

import email.utils
import logging
import os
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import requests
import tenacity
from requests.auth import AuthBase

from include.connectors.deadline import Deadline, DeadlineAdapter
from include.model.errors import SourceInvalid, SystemRefused, SystemUnavailable, Transient

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Answers that a later call may not get: too many requests, and the server's own trouble.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_UNAUTHORISED = 401


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
    """A whole answer of status 2xx."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    what: str

    @property
    def date(self) -> datetime:
        """The server's own clock, to the second. Its absence is an error: ours must not be taken instead."""
        text = self.headers.get("Date")
        if text is None:
            raise SourceInvalid(self.what, self.what, self.status, "has no Date header to tell the source's time by")
        return email.utils.parsedate_to_datetime(text).astimezone(UTC)


class HttpClient:
    """
    Calls to one system.

    Args:
        system: Its name in messages: `commercetools`.
        base_url: Without a trailing slash. Plain http is for loopback and tests.
        auth: Signs each request; when it has `renew()`, a 401 renews once and tries again.

    """

    def __init__(
        self, system: str, base_url: str, *, auth: AuthBase | None = None, limits: Limits | None = None, pool: int = 8
    ) -> None:
        self.system = system
        self.base_url = base_url.rstrip("/")
        self.auth = auth
        self.limits = limits or Limits()
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies or .netrc from the environment: we go where we were told
        adapter = DeadlineAdapter(pool_connections=1, pool_maxsize=pool, max_retries=0)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)

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
        answer = self._exchange(method, path, auth=signer, **options)
        if answer.status == _UNAUTHORISED and (renew := getattr(signer, "renew", None)):
            renew()
            answer = self._exchange(method, path, auth=signer, **options)
        return self._judged(answer)

    def _exchange(self, method: str, path: str, **options: Any) -> Answer:
        what = f"{method} {path}"
        with Deadline(self.limits.timeout_s) as deadline:
            try:
                response = self._session.request(
                    method,
                    self.base_url + path,
                    timeout=(self.limits.connect_timeout_s, self.limits.timeout_s),
                    allow_redirects=False,
                    stream=True,
                    **options,
                )
                with response:
                    body = self._body(response, what)
                    # Inside the deadline: a body that was cut by the watchdog must not pass for a whole one.
                    if deadline.passed:
                        raise SystemUnavailable(self.system, f"{what} took longer than {self.limits.timeout_s:g} s")
                    return Answer(status=response.status_code, headers=response.headers, body=body, what=what)
            except (requests.RequestException, OSError) as error:
                if deadline.passed:
                    raise SystemUnavailable(
                        self.system, f"{what} took longer than {self.limits.timeout_s:g} s"
                    ) from error
                raise SystemUnavailable(self.system, f"{what} failed: {_kind_of(error)}") from error

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
            raise SystemRefused(self.system, answer.status, f"{answer.what}: {_message_of(answer.body)}")
        content_type = answer.headers.get("Content-Type", "").split(";")[0].strip().lower()
        if content_type != "application/json" and not content_type.endswith("+json"):
            raise SourceInvalid(
                self.system, answer.what, answer.status, f"is {content_type or 'of no type'}, not application/json"
            )
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
        try:
            seconds = (email.utils.parsedate_to_datetime(header) - now).total_seconds()
        except (TypeError, ValueError):
            return None
    if not seconds >= 0:
        return None
    return min(seconds, longest_s)


def _message_of(body: bytes) -> str:
    """What the system says of its refusal, shortened; never the request."""
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return f"{len(body)} bytes that are not JSON"
    message = document.get("message") if isinstance(document, dict) else None
    return str(message or "no message")[:300]


def _kind_of(error: BaseException) -> str:
    """The error's kind without its text, which holds addresses and query values."""
    inner = error
    while (cause := inner.__cause__ or inner.__context__) is not None:
        inner = cause
    if isinstance(inner, OSError) and inner.errno:
        return os.strerror(inner.errno)
    return type(error).__name__


def _log_retry(state: tenacity.RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    log.warning(
        "Trying again in %.1f s (attempt %s): %s",
        state.next_action.sleep if state.next_action else 0,
        state.attempt_number + 1,
        error,
        extra={"event": "http_retry"},
    )
