"""
The one HTTP client of all connectors.

Every call has a total deadline and a cap on decoded bytes. It follows no redirect and connects to public or allowed
addresses only (SSRF guard). It waits for a permit of the rate limit, and is not made while the circuit breaker is
open. It is retried after transient failures, with backoff and within a budget, and fails as `Transient` or `Terminal`.
A request that writes (`send`) is repeated only if that cannot repeat its effect, and may end as `OutcomeUnknown`.
No header, token or query value appears in a message, nor in the message of an error's cause.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlencode

import msgspec
import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth
from requests.structures import CaseInsensitiveDict
from requests.utils import get_auth_from_url

from crossdock.core.errors import (
    BadRequest,
    CircuitOpen,
    Declined,
    HubError,
    OutcomeUnknown,
    RateLimited,
    SourceInvalid,
    SystemUnavailable,
)
from crossdock.core.log import logger
from crossdock.http.call_guard import Attempt, CallGuard
from crossdock.http.config import ClientConfig, Fallback
from crossdock.http.deadline import Deadline
from crossdock.http.model import KeyRules, Limits, WriteMethod, checked_key
from crossdock.http.response import HttpResponse
from crossdock.http.retries import RetryBudget, WriteState, with_retries
from crossdock.http.ssrf_guard import AllowedNetworks
from crossdock.http.transport import TooLarge, Transport

log = logger(__name__)

T = TypeVar("T")

_UNAUTHORISED = 401
_HEADERS = {"User-Agent": "crossdock", "Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
#: A complete response → the error by which the system decided against the request; None if it did not.
DeclineOf = Callable[[HttpResponse], Declined | None]
#: A complete response → how many seconds the system asks to wait, where it says so in words of its own; None if it does not.
WaitOf = Callable[[HttpResponse], float | None]

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_JSON = {"Content-Type": "application/json"}


def not_declined(_response: HttpResponse) -> None:
    """Find no decision: for systems whose refusals all come with a status of their own."""


def _form(body: Mapping[str, str]) -> bytes:
    """Encode a form in one order, as JSON is."""
    return urlencode(sorted(body.items())).encode()


class _Request(msgspec.Struct, frozen=True):
    """A request before it is signed."""

    method: str
    path: str
    query: Mapping[str, Any] = {}
    body: bytes | None = None
    headers: Mapping[str, str] = {}
    signer: AuthBase | None = None
    #: Statuses that are no errors.
    accept: frozenset[int] = frozenset()
    #: Statuses of refusals after which the request may be sent again.
    retry_on: frozenset[int] = frozenset()
    #: Whether a success has to be JSON, if it has a body at all.
    json_answer: bool = True

    @property
    def endpoint(self) -> str:
        """Method and path, for messages."""
        return f"{self.method} {self.path}"


class HttpClient:
    """
    Call one system. Safe for threads.

    Args:
        system: Its name in messages: `commercetools`.
        base_url: Without a trailing slash. Plain http works only for addresses that *config* allows, and loopback.
        auth: Signs each request; if it has `renew(request)`, a 401 renews the credentials and repeats the request once.
        config: How the system is called.
        limits: Replace those of *config*.
        ca_file: Replaces that of *config*.
        fallback: Called instead of the system while its circuit breaker is open.
        wait_of: Reads how long the system asks to wait; its Retry-After counts where this reads nothing.

    Raises:
        BadRequest: the base URL is not valid, or a file is missing; the message says which.

    """

    def __init__(
        self,
        system: str,
        base_url: str,
        *,
        auth: AuthBase | None = None,
        config: ClientConfig | None = None,
        limits: Limits | None = None,
        ca_file: str | None = None,
        fallback: Fallback | None = None,
        wait_of: WaitOf | None = None,
    ) -> None:
        config = config or ClientConfig()
        self.system = system
        self.base_url = base_url.rstrip("/")
        self.limits = limits or config.limits
        self.tls = replace(config.tls, ca_file=ca_file) if ca_file else config.tls
        url = _url_of(system, self.base_url)
        self.auth = auth or _auth_in(self.base_url)
        self._host = url.netloc
        self._guard = CallGuard(config.safeguards)
        self._budget = config.budget or RetryBudget()
        self._fallback = fallback
        self._wait_of = wait_of
        self._longest_turn_s = max(self.limits.longest_wait_s, self._guard.queue_s)
        self._slots = threading.BoundedSemaphore(config.in_flight)
        self._transport = Transport(
            system,
            url,
            limits=self.limits,
            tls=self.tls,
            allowed=config.allowed_networks or AllowedNetworks.for_host(str(url.host).strip("[]")),
            pool=config.in_flight,
            resolve=config.resolve,
        )

    def get(
        self,
        path: str,
        query: Mapping[str, Any],
        parse: Callable[[HttpResponse], T],
        *,
        accept: frozenset[int] = frozenset(),
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> T:
        """
        GET *path* and parse the JSON response with *parse*; if *parse* raises a Transient, the call is retried.

        A response with one of the statuses *accept* is no error: *parse* gets it as it is, JSON or not.

        Raises:
            SystemUnavailable: no response, or 408/425/429/5xx, after all attempts. Running again may help.
            CircuitOpen, RateLimited: the system was not called; they say how long to wait.
            SystemRefused: any other status. Running again will not help.
            SourceInvalid: the response is truncated, too large, or not JSON.
            AddressRefused: the host resolves to an address that the connection may not call.

        """
        try:
            return self._with_retries(_Request("GET", path, query, headers=headers, accept=accept), parse)
        except CircuitOpen as error:
            if self._fallback is None:
                raise
            log.warning("Calling the configured fallback: %s", error)
            return parse(self._fallback(path, query))

    def post_form(
        self, path: str, form: Mapping[str, str], auth: AuthBase | None, parse: Callable[[HttpResponse], T]
    ) -> T:
        """POST a form; only for idempotent calls, such as a token request. Raises as `get`."""
        body = _form(form)
        return self._with_retries(_Request("POST", path, body=body, headers=_FORM, signer=auth), parse)

    def post_json(
        self, path: str, document: Any, parse: Callable[[HttpResponse], T], *, accept: frozenset[int] = frozenset()
    ) -> T:
        """POST a JSON document; only for idempotent calls, such as a query. *accept* and errors as of `get`."""
        body = msgspec.json.encode(document)
        return self._with_retries(_Request("POST", path, body=body, headers=_JSON, accept=accept), parse)

    def send(
        self,
        method: WriteMethod,
        path: str,
        body: Any,
        parse: Callable[[HttpResponse], T],
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
        form: bool = False,
        idempotency_key: str | None = None,
        key_rules: KeyRules = KeyRules(),  # noqa: B008  frozen
        decline_of: DeclineOf = not_declined,
        retry_on: frozenset[int] = frozenset(),
        json_answer: bool = True,
    ) -> T:
        """
        Send a request that writes, with *body* as JSON (None for no body), and parse the response with *parse*.

        With *form*, *body* is a flat mapping of texts, sent as a form. *decline_of* reads a complete response of any status
        before anything else: it returns the error by which the system decided against the request, or None. *retry_on* are
        statuses of refusals after which the system asks to try again. Without
        *json_answer*, *parse* gets a success of any content type, and has to know it from a proxy's login page.

        A request that certainly had no effect is retried as by `get`. One that may have had its effect is repeated only
        with an *idempotency_key* and inside the window of *key_rules*, always with the same key and the same bytes. That
        holds for PUT and DELETE too: between two equal ones, there may be the write of somebody else.

        Raises:
            OutcomeUnknown: it may have had its effect: no usable answer came, or one that does not say.
            SystemUnavailable: it had no effect. Running again may help.
            CircuitOpen, RateLimited: the same; they say how long to wait.
            SystemRefused: the system refused it: it had no effect. Running again will not help.
            Declined: the system decided against it; that holds for earlier requests with the key, too.
            AddressRefused: the host resolves to an address that the connection may not call.
            BadRequest: the key is not one of 1 to 64 visible ASCII characters.

        """
        sent = {**headers, **({} if body is None else _FORM if form else _JSON)}
        if idempotency_key is not None:
            sent[key_rules.header] = checked_key(idempotency_key)
        # In one order: the same call of another process, which may have the keys in another, has the same bytes.
        content = None if body is None else _form(body) if form else msgspec.json.encode(body, order="deterministic")
        request = _Request(method, path, query or {}, content, sent, retry_on=retry_on, json_answer=json_answer)
        write = WriteState(None if idempotency_key is None else key_rules)
        try:
            return with_retries(
                lambda is_retry: self._attempt_write(request, parse, decline_of, write, is_retry=is_retry),
                self.limits,
                self._budget,
                lambda: write.may_repeat(self.limits),
            )
        except Declined:
            raise
        except Exception as error:
            # Any error, also a defect in *parse*: one of another kind would be taken for a reason to try again.
            if not write.in_doubt:
                raise
            cause = str(error) if isinstance(error, HubError) else f"{type(error).__name__} while reading the answer"
            raise OutcomeUnknown(self.system, request.endpoint, cause) from error

    def sign_in(self) -> None:
        """
        Sign a request without sending it; fetches a token if the authentication needs one.

        Raises:
            SystemUnavailable, SystemRefused, SourceInvalid: no token was issued; as `get`.

        """
        request = _Request("GET", "")
        with Deadline(self.limits.timeout_s) as deadline, self._translate_errors(deadline, request.endpoint):
            self._sign(request, self.auth)

    def close(self) -> None:
        self._transport.close()

    def _with_retries(self, request: _Request, parse: Callable[[HttpResponse], T]) -> T:
        return with_retries(
            lambda is_retry: self._attempt(request, parse, is_retry=is_retry), self.limits, self._budget
        )

    def _attempt(self, request: _Request, parse: Callable[[HttpResponse], T], *, is_retry: bool) -> T:
        with self._guard.attempt(is_retry=is_retry) as attempt:
            response = self._exchange(request, attempt, self._longest_turn_s)
            if response.status not in request.accept:
                response.raise_for_status()
                response.require_json()
            return parse(response)

    def _attempt_write(
        self,
        request: _Request,
        parse: Callable[[HttpResponse], T],
        decline_of: DeclineOf,
        write: WriteState,
        *,
        is_retry: bool,
    ) -> T:
        with self._guard.attempt(is_retry=is_retry) as attempt:
            try:
                response = self._exchange(
                    request, attempt, self.limits.longest_wait_s, lambda: write.is_known(self.limits)
                )
                if write.rules and _is_at_work(response, write.rules):
                    raise SystemUnavailable(self.system, f"another {request.endpoint} with the key is at work")
                if declined := decline_of(response):
                    attempt.in_doubt = False
                    raise declined
                attempt.in_doubt = not response.is_refusal
                if response.status in request.retry_on:
                    raise response.busy()
                response.raise_for_status()
                if response.body and request.json_answer:
                    response.require_json()
                return parse(response)
            finally:
                write.note(in_doubt=attempt.in_doubt)

    def _exchange(
        self,
        request: _Request,
        attempt: Attempt,
        longest_wait_s: float,
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> HttpResponse:
        """
        Send *request* within the deadline of one attempt; the response may have any status.

        A request that *may_repeat* is sent again where the peer had closed the connection: that is part of the attempt.
        Sign first, then wait for a permit: signing may fetch a token, and a permit must be used at once.
        """
        signer = request.signer or self.auth
        endpoint = request.endpoint
        left_s = self.limits.timeout_s
        for last in (False, True):
            with Deadline(left_s) as deadline, self._translate_errors(deadline, endpoint):
                signed = self._sign(request, signer)
                left_s = deadline.left_s
            with self._slot(endpoint, longest_wait_s):
                self._guard.acquire(attempt, longest_wait_s)
                with Deadline(left_s) as deadline, self._translate_errors(deadline, endpoint):
                    try:
                        raw = self._transport.exchange(signed, deadline, may_repeat=may_repeat)
                    finally:
                        attempt.in_doubt = deadline.attached
                    self._refuse_late(deadline, endpoint)
                    left_s = deadline.left_s
            renew = getattr(signer, "renew", None)
            if last or renew is None or raw.status != _UNAUTHORISED:
                break
            attempt.in_doubt = False
            renew(signed)
        attempt.answer_bytes = len(raw.body)
        response = HttpResponse(
            system=self.system,
            endpoint=endpoint,
            status=raw.status,
            headers=raw.headers,
            body=raw.body,
            request=signed,
            secrets=getattr(signer, "secrets", ()),
        )
        return self._with_wait(response)

    def _with_wait(self, response: HttpResponse) -> HttpResponse:
        """Write what the system says of a wait in its own words as the header that says it everywhere."""
        wait_s = self._wait_of(response) if self._wait_of else None
        if wait_s is None:
            return response
        headers = CaseInsensitiveDict(response.headers)
        headers["Retry-After"] = f"{wait_s:g}"
        return msgspec.structs.replace(response, headers=headers)

    @contextmanager
    def _slot(self, endpoint: str, longest_wait_s: float) -> Any:
        """Hold one of the slots for calls in flight; whoever has them waits for a permit, or for its answer."""
        if not self._slots.acquire(timeout=self.limits.timeout_s + longest_wait_s):
            raise RateLimited(self.system, f"no free slot for {endpoint}: the maximum number of calls is in flight")
        try:
            yield
        finally:
            self._slots.release()

    def _sign(self, request: _Request, signer: AuthBase | None) -> requests.PreparedRequest:
        """Prepare the request in the form that the auth classes of `requests` sign, and sign it."""
        query = urlencode({name: value for name, value in request.query.items() if value is not None}, doseq=True)
        prepared = requests.PreparedRequest()
        prepared.method = request.method
        prepared.url = f"{self.base_url}{request.path}?{query}" if query else self.base_url + request.path
        prepared.headers = CaseInsensitiveDict(_HEADERS | dict(request.headers))
        prepared.body = request.body
        signed: requests.PreparedRequest = signer(prepared) if signer else prepared
        return signed

    @contextmanager
    def _translate_errors(self, deadline: Deadline, endpoint: str) -> Any:
        """Translate the transport's errors into ours; nothing else does."""
        try:
            yield
        except TooLarge as error:
            raise SourceInvalid(self.system, endpoint, error.status, str(error)) from None
        except (urllib3.exceptions.HTTPError, requests.RequestException, OSError) as error:
            root = _innermost(error)
            why = self._too_late() if deadline.passed else _reason(error, root)
            # Not from *error*: its text, and that of each error between, contains the URL with its query values.
            cause = None if isinstance(root, urllib3.exceptions.HTTPError | requests.RequestException) else root
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {endpoint}: {why}") from cause

    def _refuse_late(self, deadline: Deadline, endpoint: str) -> None:
        """Refuse a body that the watchdog may have truncated: it must not pass for a whole one."""
        if deadline.passed:
            raise SystemUnavailable(self.system, f"no answer from {self._host} to {endpoint}: {self._too_late()}")

    def _too_late(self) -> str:
        return f"it took longer than {self.limits.timeout_s:g} s"


def _is_at_work(response: HttpResponse, rules: KeyRules) -> bool:
    """Check whether the system says that it has not finished with the key, so that nobody knows yet how that ends."""
    asks_again = bool(rules.retry_header) and response.headers.get(rules.retry_header, "").strip().lower() == "true"
    return asks_again or response.status == rules.in_use_status


def _url_of(system: str, base_url: str) -> urllib3.util.Url:
    """Parse *base_url*. Messages never show it, because it may contain a password."""
    try:
        url = urllib3.util.parse_url(base_url)
        # A zone (fe80::1%eth0) names an interface of one machine, not the address of a system.
        if url.scheme in {"http", "https"} and url.host and "%" not in url.host:
            return url
    except urllib3.exceptions.HTTPError:
        pass
    raise BadRequest(
        f"The host of the {system} connection is not a URL; expected something like https://api.example.com"
    )


def _auth_in(base_url: str) -> AuthBase | None:
    """Take the user and password out of a URL, as `requests` does."""
    user, password = get_auth_from_url(base_url)
    return HTTPBasicAuth(user, password) if user else None


def _innermost(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


#: What the classes of errors of urllib3, requests and http.client mean. Their own text contains query values.
_MEANINGS = {
    "RemoteDisconnected": "the connection was closed without an answer",
    "IncompleteRead": "the answer ended early",
    "LineTooLong": "a line in the head of the answer is too long",
    "BadStatusLine": "the answer is not HTTP",
    "ConnectTimeoutError": "no connection in time",
    "ConnectTimeout": "no connection in time",
    "NewConnectionError": "no connection",
    "ReadTimeoutError": "no answer in time",
    "ReadTimeout": "no answer in time",
    "ProtocolError": "the connection broke",
    "ChunkedEncodingError": "the connection broke",
    "ConnectionError": "the connection broke",
    "InvalidChunkLength": "the answer is not HTTP",
    "DecodeError": "the answer cannot be decompressed",
    "ContentDecodingError": "the answer cannot be decompressed",
    "SSLError": "TLS failed",
}


def _reason(error: BaseException, root: BaseException) -> str:
    """Name what went wrong by the operating system's text, or by what the error's class means."""
    # Of urllib3's ProtocolError, the cause has the telling name: LineTooLong, BadStatusLine.
    named = type(root if isinstance(root, http.client.HTTPException) else error).__name__
    return (root.strerror if isinstance(root, OSError) else None) or _MEANINGS.get(named, named)
