"""
One request over one socket: pooled, encrypted, to a checked address, with a total deadline and a size limit.

Built on urllib3 and not on `requests`, which takes three times the CPU for a page and obeys the environment
(proxies, .netrc) and the response (redirects, cookies).
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import requests
import urllib3
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.connection import create_connection

from crossdock.core.errors import BadRequest
from crossdock.http.deadline import Deadline, current_deadline
from crossdock.http.model import Limits
from crossdock.http.ssrf_guard import AllowedNetworks, Resolver, resolve_allowed

# Below the level ERROR, urllib3 logs whole URLs with their query values.
logging.getLogger("urllib3").setLevel(logging.ERROR)

#: The statuses of informational responses, less the one that ends HTTP on its connection (101 Switching Protocols).
_INFORMATIONAL = frozenset(range(100, 200)) - {101}
#: By these a peer shows that it had closed the connection: an end before the response, a reset, an end of TLS.
_CLOSED_BY_PEER = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
#: Small, because bytes that are read but not decoded count as received: a bomb is detected that much sooner.
_CHUNK_BYTES = 64 * 1024
#: Up to this size no response counts as a bomb: a page of similar rows may compress that well.
_DECODED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Trusted authorities and the client certificate, as PEM files."""

    #: Certificate authorities to trust instead of the public ones.
    ca_file: str | None = None
    #: Client certificate and key, for systems that require one (mutual TLS). The key may be in the same file.
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)

    def context(self, system: str) -> ssl.SSLContext:
        """
        Build the TLS context.

        Raises:
            BadRequest: a file is missing or not valid; the message says which.

        """
        self.check(system)
        # Not ssl.create_default_context: it writes every session's keys to the file that SSLKEYLOGFILE names.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.ca_file or DEFAULT_CA_BUNDLE_PATH)
        except ssl.SSLError as error:
            raise BadRequest(f"{system}: the file {self.ca_file!r} contains no certificate (ca_file)") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            try:
                # An empty password instead of None: with None, OpenSSL would prompt on the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, self.key_password or "")
            except (ssl.SSLError, OSError) as error:
                raise BadRequest(f"{system}: cert_file, key_file and key_password do not match") from error
        return context

    def check(self, system: str) -> None:
        """
        Refuse files that are missing.

        Raises:
            BadRequest: a file is missing; the message says which.

        """
        for name, file in (("ca_file", self.ca_file), ("cert_file", self.cert_file), ("key_file", self.key_file)):
            if file and not Path(file).is_file():
                what = "certificate authorities" if name == "ca_file" else "a certificate"
                raise BadRequest(f"{system}: there is no file {file!r} of {what} ({name})")


class TooLarge(Exception):
    """A response is larger than allowed, or decompresses to too much; the text says which."""

    def __init__(self, status: int, cause: str) -> None:
        self.status = status
        super().__init__(cause)


class RawResponse(msgspec.Struct, frozen=True):
    """A response as the transport received it, complete."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """
    Exchange requests with one host over pooled connections. Safe for threads.

    It ignores the environment (proxies, .netrc, certificates), keeps no cookies, and neither redirects nor retries.
    """

    def __init__(
        self,
        system: str,
        url: urllib3.util.Url,
        *,
        limits: Limits,
        tls: Tls,
        allowed: AllowedNetworks,
        pool: int,
        resolve: Resolver | None = None,
    ) -> None:
        self._limits = limits
        host, encrypted = str(url.host).strip("[]"), url.scheme == "https"
        options: dict[str, Any] = {"maxsize": pool, "block": False, "retries": False}
        if encrypted:
            self._pool: HTTPConnectionPool = _Pool(host, url.port, ssl_context=tls.context(system), **options)
        else:
            tls.check(system)  # report a missing file now, not when https is switched on
            self._pool = _PlainPool(host, url.port, **options)

        def open_socket(name: str, port: int, timeout: Any, socket_options: Any) -> socket.socket:
            addresses = resolve_allowed(system, name, port, allowed, encrypted=encrypted, resolve=resolve)
            return connect(addresses, port, timeout, socket_options)

        # urllib3 passes this to each connection that it opens.
        self._pool.conn_kw["open_socket"] = open_socket

    def exchange(
        self, request: requests.PreparedRequest, deadline: Deadline, *, may_repeat: Callable[[], bool]
    ) -> RawResponse:
        """
        Send the signed *request* and read the complete response.

        If it meets a pooled connection that the peer has closed, it is sent again on a new one, once and at once, where it
        *may_repeat*: nobody knows whether the peer has read it.

        Raises:
            TooLarge: the response is too large; the connection is dropped.
            AddressRefused: the host resolves to an address that the connection may not call.
            urllib3.exceptions.HTTPError, OSError: there is no complete response.

        """
        timeout = urllib3.Timeout(connect=min(self._limits.connect_timeout_s, deadline.left_s), read=deadline.left_s)
        response = self._pool.urlopen(
            str(request.method),
            request.path_url,
            body=request.body,
            headers=request.headers,
            redirect=False,
            retries=False,
            timeout=timeout,
            preload_content=False,
            may_repeat=may_repeat,
        )
        complete = False
        try:
            body = self._read_body(response)
            complete = True
            return RawResponse(response.status, response.headers, body)
        finally:
            if complete:
                response.release_conn()
            else:
                response.close()

    def close(self) -> None:
        self._pool.close()

    def _read_body(self, response: urllib3.response.BaseHTTPResponse) -> bytes:
        max_bytes = self._limits.answer_bytes
        # As urllib3 reads it: None where a Transfer-Encoding frames the body, whatever the Content-Length says.
        length = response.length_remaining
        if length is not None and length <= max_bytes and "Content-Encoding" not in response.headers:
            return response.read()  # the size is known: read one piece, not chunks that must be joined
        chunks, size = [], 0
        for chunk in response.stream(_CHUNK_BYTES, decode_content=True):
            size += len(chunk)
            if size > max_bytes:
                raise TooLarge(response.status, f"is larger than {max_bytes:,} bytes")
            if size > _DECODED_BYTES and size > self._limits.unpacked_ratio * _received_bytes(response):
                raise TooLarge(response.status, f"unpacks to more than {self._limits.unpacked_ratio:g} times its size")
            chunks.append(chunk)
        return b"".join(chunks)


def _received_bytes(response: urllib3.response.BaseHTTPResponse) -> int:
    """Count the bytes of the body that have come, before they were unpacked, in any framing."""
    came: _FinalResponse = response._original_response  # type: ignore[attr-defined]  # noqa: SLF001
    return max(response.tell(), came.chunk_bytes)


def connect(addresses: list[str], port: int, timeout: Any, socket_options: Any = None) -> socket.socket:
    """Connect to the first of *addresses* that answers. They are IP addresses, so no name is resolved again."""
    last: OSError | None = None
    for address in addresses:
        deadline = current_deadline()
        if deadline is not None and deadline.passed:
            raise TimeoutError
        try:
            return create_connection((address, port), timeout, socket_options=socket_options)
        except OSError as error:
            last = error
    raise last or OSError("no address to connect to")


class _FinalResponse(http.client.HTTPResponse):
    """
    Reads past informational responses to the final one (RFC 9110 15.2); http.client reads past 100 alone.

    It counts what came in chunks, which urllib3's `tell` leaves out.
    """

    chunk_bytes = 0

    def _safe_read(self, amt: int) -> bytes:
        data: bytes = super()._safe_read(amt)  # type: ignore[misc]
        self.chunk_bytes += len(data)
        return data

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if status not in _INFORMATIONAL:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _Guarded:
    """Connects to checked addresses only, and ends with its thread's deadline."""

    host: str
    port: int
    timeout: Any
    socket_options: Any
    sock: Any
    response_class: Any = _FinalResponse

    def __init__(self, *args: Any, open_socket: Any, **kwargs: Any) -> None:
        self._open_socket = open_socket
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        """Open a guarded socket. `host` stays the name, for the Host header, SNI and the certificate."""
        try:
            made: socket.socket = self._open_socket(self.host, self.port, self.timeout, self.socket_options)
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "connecting took too long") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, "no connection") from error  # type: ignore[arg-type]
        return made

    def send(self, data: Any) -> None:
        """
        Send a part of the request; the first part of the first request opens the connection.

        Connected before the deadline takes the socket, not by http.client within `send`: until then a failure means that
        no byte has left, and a request that writes may be sent again.
        """
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]
        deadline = current_deadline()
        if deadline is not None:
            deadline.attach(self.sock)
        super().send(data)  # type: ignore[misc]


class _PlainConnection(_Guarded, HTTPConnection):
    pass


class _Connection(_Guarded, HTTPSConnection):
    pass


class _Replacing:
    """
    Replaces a pooled connection that its peer has closed.

    urllib3 replaces one whose end has arrived; the end may also arrive while the request is on its way.
    """

    def _make_request(self, conn: Any, *args: Any, may_repeat: Callable[[], bool], **kwargs: Any) -> Any:
        is_reused = conn.sock is not None
        try:
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]
        except _CLOSED_BY_PEER:
            deadline = current_deadline()
            # The watchdog's own end of the connection looks like the peer's.
            if not is_reused or (deadline is not None and deadline.passed) or not may_repeat():
                raise
            conn.close()
            return super()._make_request(conn, *args, **kwargs)  # type: ignore[misc]


class _PlainPool(_Replacing, HTTPConnectionPool):  # type: ignore[misc]  # one more argument
    ConnectionCls = _PlainConnection


class _Pool(_Replacing, HTTPSConnectionPool):  # type: ignore[misc]
    ConnectionCls = _Connection
