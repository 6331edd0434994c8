"""
The one HTTP client of all connectors.

Every call has a total deadline and a cap on decoded bytes, follows no redirect, goes to a public address or an
allowed one, waits for its turn, is not made at all while the system is known to be down, is tried again for
passing reasons within a budget, and fails as `Transient` or `Terminal`. No header, token or query value ever
goes into a message, nor into that of an error's cause.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url

from crossdock.core.errors import BadRequest, CircuitOpen, RateLimited, SourceInvalid, SystemUnavailable
from crossdock.http.call_guard import Attempt, Attempts
from crossdock.http.deadline import Deadline
from crossdock.http.model import Limits
from crossdock.http.policy import Conditions, Fallback
from crossdock.http.response import Answer, judged
from crossdock.http.retries import RetryBudget, with_retries
from crossdock.http.ssrf_guard import AddressRules
from crossdock.http.transport import Reply, TooLarge, Transport

log = logging.getLogger(__name__)

T = TypeVar("T")

_UNAUTHORISED = 401
_HEADERS = {"User-Agent": "crossdock", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


class _Asked(msgspec.Struct, frozen=True):
    """What is asked of the system, before it is signed."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    signer: AuthBase | None = None

    @property
    def what(self) -> str:
        """Method and path, for messages."""
        return f"{self.method} {self.path}"


class HttpClient:
    """
    Calls to one system. Safe for threads.

    Args:
        system: Its name in messages: `commercetools`.
        base_url: Without a trailing slash. Plain http is for addresses that *conditions* allow, and loopback.
        auth: Signs each request; when it has `renew(request)`, a 401 to a request renews and tries again, once.
        conditions: Everything about how it is called.
        limits: In place of those of *conditions*.
        ca_file: In place of that of *conditions*.
        fallback: Asked in place of the system while its breaker is open.

    Raises:
        BadRequest: the address or a file is none; the message says which.

    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        auth: AuthBase | None = None,
        conditions: Conditions | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        fallback: Fallback | None = None,
    ) -> None:
        conditions = conditions or Conditions()
        self.system = system
        self.base_url = base_url.rstrip("/")
        self.limits = limits or conditions.limits
        self.tls = replace(conditions.tls, ca_file=ca_file) if ca_file else conditions.tls
        url = _url_of(system, self.base_url)
        self.auth = auth or _auth_in(self.base_url)
        self._host = url.netloc
        self._attempts = Attempts(conditions.safeguards)
        self._budget = conditions.budget or RetryBudget()
        self._fallback = fallback
        self._places = threading.BoundedSemaphore(conditions.in_flight)
        self._transport = Transport(
            system,
            url,
            limits=self.limits,
            tls=self.tls,
            addresses=conditions.addresses or AddressRules.of_host(str(url.host).strip("[]")),
            pool=conditions.in_flight,
            resolve=conditions.resolve,
        )

    def get(self, path: str, query: Mapping[str, Any], parse: Callable[[Answer], T]) -> T:
        """
        What *parse* makes of the JSON answer to GET *path*; when it raises a Transient, the call is tried again.

        Raises:
            SystemUnavailable: no answer, or 408/425/429/5xx, after all attempts. Running again may help.
            CircuitOpen, RateLimited: of these, the ones for which the system was not asked; they say how long to wait.
            SystemRefused: any other status. Running again will not help.
            SourceInvalid: the answer is cut, too large, or not JSON.
            AddressRefused: the host leads where the connection may not go.

        """
        try:
            return self._with_retries(_Asked("GET", path, query), parse)
        except CircuitOpen as error:
            if self._fallback is None:
                raise
            log.warning("Asking the declared fallback: %s", error)
            return parse(self._fallback(path, query))

    def post_form(self, path: str, form: Mapping[str, str], auth: AuthBase | None, parse: Callable[[Answer], T]) -> T:
        """The same for a form; only for calls that may be repeated, as a token request is."""
        body = urlencode(form).encode()
        return self._with_retries(_Asked("POST", path, body=body, headers=_FORM, signer=auth), parse)

    def post_json(self, path: str, document: Any, parse: Callable[[Answer], T]) -> T:
        """The same for a JSON document; only for calls that may be repeated, as a query is."""
        body = msgspec.json.encode(document)
        return self._with_retries(_Asked("POST", path, body=body, headers=_JSON), parse)

    def sign_in(self) -> None:
        """
        Whether a request can be signed; for most kinds of authentication that asks nobody.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: no token was given; as `get`.

        """
        asked = _Asked("GET", "")
        with Deadline(self.limits.timeout_s) as deadline, self._translated(deadline, asked.what):
            self._signed(asked, self.auth)

    def close(self) -> None:
        self._transport.close()

    def _with_retries(self, asked: _Asked, parse: Callable[[Answer], T]) -> T:
        return with_retries(lambda is_retry: self._attempt(asked, parse, is_retry=is_retry), self.limits, self._budget)

    def _attempt(self, asked: _Asked, parse: Callable[[Answer], T], *, is_retry: bool) -> T:
        with self._attempts.one(is_retry=is_retry) as attempt:
            answer = self._once(asked, attempt)
            attempt.answer_bytes = len(answer.body)
            return parse(judged(answer))

    def _once(self, asked: _Asked, attempt: Attempt) -> Answer:
        """
        An answer, whatever its status, within the deadline of one attempt.

        Signed first and only then in line for a turn: signing may fetch a token, and a turn has to be used at once.
        """
        signer = asked.signer or self.auth
        left_s = self.limits.timeout_s
        for last in (False, True):
            with Deadline(left_s) as deadline, self._translated(deadline, asked.what):
                request = self._signed(asked, signer)
                left_s = deadline.left_s
            with self._place(asked.what):
                self._attempts.await_turn(attempt, self.limits.longest_wait_s)
                with Deadline(left_s) as deadline, self._translated(deadline, asked.what):
                    reply = self._transport.exchange(request, deadline)
                    self._in_time(deadline, asked.what)
                    left_s = deadline.left_s
            renew = getattr(signer, "renew", None)
            if last or renew is None or reply.status != _UNAUTHORISED:
                break
            renew(request)
        return self._answer(asked, request, reply, signer)

    @contextmanager
    def _place(self, what: str) -> Any:
        """One of the calls that may be in flight."""
        if not self._places.acquire(timeout=self.limits.timeout_s + self.limits.longest_wait_s):
            raise RateLimited(self.system, f"no place for {what}: as many calls as may be are in flight")
        try:
            yield
        finally:
            self._places.release()

    def _signed(self, asked: _Asked, signer: AuthBase | None) -> requests.PreparedRequest:
        """The request as `requests` has it, which is what its kinds of authentication sign."""
        query = urlencode({name: value for name, value in asked.query.items() if value is not None}, doseq=True)
        request = requests.PreparedRequest()
        request.method = asked.method
        request.url = f"{self.base_url}{asked.path}?{query}" if query else self.base_url + asked.path
        request.headers = CaseInsensitiveDict(_HEADERS | dict(asked.headers))
        request.body = asked.body
        signed: requests.PreparedRequest = signer(request) if signer else request
        return signed

    @contextmanager
    def _translated(self, deadline: Deadline, what: str) -> Any:
        """The transport's errors as ours, once, here."""
        try:
            yield
        except TooLarge as error:
            raise SourceInvalid(self.system, what, error.status, str(error)) from None
        except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
            root = _innermost(error)
            why = self._too_late() if deadline.passed else _reason(error, root)
            # Not from *error*: its text, like that of all between, holds the address with its query values.
            cause = None if isinstance(root, urllib3.exceptions.HTTPError | requests.RequestException) else root
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {what}: {why}") from cause

    def _in_time(self, deadline: Deadline, what: str) -> None:
        """A body that was cut by the watchdog must not pass for a whole one."""
        if deadline.passed:
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {what}: {self._too_late()}")

    def _too_late(self) -> str:
        return f"it took longer than {self.limits.timeout_s:g} s"

    def _answer(
        self, asked: _Asked, request: requests.PreparedRequest, reply: Reply, signer: AuthBase | None
    ) -> Answer:
        return Answer(
            system=self.system,
            what=asked.what,
            status=reply.status,
            headers=reply.headers,
            body=reply.body,
            request=request,
            hidden=getattr(signer, "secrets", ()),
        )


def _url_of(system: str, base_url: str) -> urllib3.util.Url:
    """*base_url* in its parts. Messages never show it itself: a password may stand in it."""
    try:
        url = urllib3.util.parse_url(base_url)
        # A zone (fe80::1%eth0) is an interface of one machine: no address of a system.
        if url.scheme in {"http", "https"} and url.host and "%" not in url.host:
            return url
    except urllib3.exceptions.HTTPError:
        pass
    raise BadRequest(f"The host of the {system} connection is no address; expected one such as https://api.example.com")


def _auth_in(base_url: str) -> AuthBase | None:
    """The user and the password that stand in an address, as `requests` takes them."""
    user, password = get_auth_from_url(base_url)
    return HTTPBasicAuth(user, password) if user else None


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _reason(error: BaseException, root: BaseException) -> str:
    """The system's word for what went wrong, or the error's kind; not its text, which holds query values."""
    return (root.strerror if isinstance(root, OSError) else None) or type(error).__name__
