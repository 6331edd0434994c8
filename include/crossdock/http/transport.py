"""
One request over one socket: pooled, encrypted, to a judged address, ended by its deadline, cut at its size.

On urllib3 itself and not on `requests`, which takes three times the CPU for a page and follows what the
environment and the answer say.
"""

from __future__ import annotations

import logging
import socket
import ssl
from collections.abc import Mapping
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
from crossdock.http.ssrf_guard import AddressRules, Resolver, resolved

# Below an error, urllib3 logs whole addresses, query values included.
logging.getLogger("urllib3").setLevel(logging.ERROR)

#: A Content-Length of more digits is no size of anything.
_LENGTH_DIGITS = 15
#: Small, because what was read and is not yet unpacked counts as received: a bomb is known that much sooner.
_CHUNK_BYTES = 64 * 1024
#: Below this no answer is called a bomb: a page of equal rows may pack that well.
_UNPACKED_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Tls:
    """Whom we trust and who we are, as PEM files."""

    #: The certificate authorities to trust in place of the public ones.
    ca_file: str | None = None
    #: Our own certificate and its key, for systems that ask for one (mutual TLS). The key may be in the same file.
    cert_file: str | None = None
    key_file: str | None = None
    key_password: str | None = field(default=None, repr=False)

    def context(self, system: str) -> ssl.SSLContext:
        """
        Raises:
            BadRequest: a file is missing or is none; the message says which.

        """
        self.check(system)
        # Not ssl.create_default_context: it writes the keys of every session where SSLKEYLOGFILE of the environment says.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.ca_file or DEFAULT_CA_BUNDLE_PATH)
        except ssl.SSLError as error:
            raise BadRequest(f"{system}: the file {self.ca_file!r} holds no certificate (ca_file)") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file:
            try:
                # An empty password in place of None: with None, OpenSSL would ask at the terminal.
                context.load_cert_chain(self.cert_file, self.key_file, self.key_password or "")
            except (ssl.SSLError, OSError) as error:
                raise BadRequest(f"{system}: cert_file, key_file and key_password do not fit together") from error
        return context

    def check(self, system: str) -> None:
        """
        Raises:
            BadRequest: a file is missing; the message says which.

        """
        for name, file in (("ca_file", self.ca_file), ("cert_file", self.cert_file), ("key_file", self.key_file)):
            if file and not Path(file).is_file():
                what = "certificate authorities" if name == "ca_file" else "a certificate"
                raise BadRequest(f"{system}: there is no file {file!r} of {what} ({name})")


class TooLarge(Exception):
    """An answer is larger than allowed, or unpacks to too much; *args* says which."""

    def __init__(self, status: int, cause: str) -> None:
        self.status = status
        super().__init__(cause)


class Reply(msgspec.Struct, frozen=True):
    """What came back, whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """
    Exchanges with one host; keeps its connections open. Safe for threads.

    It goes where it is told and keeps nothing: no proxies, .netrc or certificates that the environment names, no
    cookies, no redirects, no retries of its own.
    """

    def __init__(
        self,
        system: str,
        url: urllib3.util.Url,
        *,
        limits: Limits,
        tls: Tls,
        addresses: AddressRules,
        pool: int,
        resolve: Resolver | None = None,
    ) -> None:
        self._limits = limits
        host, encrypted = str(url.host).strip("[]"), url.scheme == "https"
        options: dict[str, Any] = {"maxsize": pool, "block": False, "retries": False}
        if encrypted:
            self._pool: HTTPConnectionPool = _Pool(host, url.port, ssl_context=tls.context(system), **options)
        else:
            tls.check(system)  # a missing file is told of at once, not when https is switched on
            self._pool = _PlainPool(host, url.port, **options)

        def connected(name: str, port: int, timeout: Any, socket_options: Any) -> socket.socket:
            places = resolved(system, name, port, addresses, encrypted=encrypted, resolve=resolve)
            return connect(places, port, timeout, socket_options)

        # urllib3 hands these on to each connection that it opens.
        self._pool.conn_kw["connected"] = connected

    def exchange(self, request: requests.PreparedRequest, deadline: Deadline) -> Reply:
        """
        The answer to *request*, signed and ready.

        Raises:
            TooLarge: the answer is; the connection is dropped.
            AddressRefused: the host leads where the connection may not go.
            urllib3.exceptions.HTTPError, OSError: there is no whole answer.

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
        )
        whole = False
        try:
            body = self._body(response)
            whole = True
            return Reply(response.status, response.headers, body)
        finally:
            if whole:
                response.release_conn()
            else:
                response.close()

    def close(self) -> None:
        self._pool.close()

    def _body(self, response: urllib3.response.BaseHTTPResponse) -> bytes:
        most = self._limits.answer_bytes
        length = response.headers.get("Content-Length", "")
        if (
            length.isdecimal()
            and len(length) <= _LENGTH_DIGITS
            and int(length) <= most
            and "Content-Encoding" not in response.headers
        ):
            return response.read()  # its size is known: in one piece, not in chunks to be joined
        chunks, size = [], 0
        for chunk in response.stream(_CHUNK_BYTES, decode_content=True):
            size += len(chunk)
            if size > most:
                raise TooLarge(response.status, f"is larger than {most:,} bytes")
            if size > _UNPACKED_BYTES and size > self._limits.unpacked_ratio * response.tell():
                raise TooLarge(response.status, f"unpacks to more than {self._limits.unpacked_ratio:g} times its size")
            chunks.append(chunk)
        return b"".join(chunks)


def connect(places: list[str], port: int, timeout: Any, socket_options: Any = None) -> socket.socket:
    """A socket to the first of *places* that answers; they are addresses, so nothing is resolved again."""
    last: OSError | None = None
    for place in places:
        deadline = current_deadline()
        if deadline is not None and deadline.passed:
            raise TimeoutError
        try:
            return create_connection((place, port), timeout, socket_options=socket_options)
        except OSError as error:
            last = error
    raise last or OSError("no address to connect to")


class _Guarded:
    """What our connections do otherwise: connect to judged addresses, and end with the deadline of their thread."""

    host: str
    port: int
    timeout: Any
    socket_options: Any
    sock: socket.socket

    def __init__(self, *args: Any, connected: Any, **kwargs: Any) -> None:
        self._connected = connected
        super().__init__(*args, **kwargs)

    def _new_conn(self) -> socket.socket:
        """Only this differs: `host` stays the name, for the Host header, SNI and the certificate."""
        try:
            made: socket.socket = self._connected(self.host, self.port, self.timeout, self.socket_options)
        except TimeoutError as error:
            raise urllib3.exceptions.ConnectTimeoutError(self, "connecting took too long") from error
        except OSError as error:
            raise urllib3.exceptions.NewConnectionError(self, "no connection") from error  # type: ignore[arg-type]
        return made

    def getresponse(self) -> Any:
        deadline = current_deadline()
        if deadline is not None:
            deadline.holds(self.sock)
        return super().getresponse()  # type: ignore[misc]


class _PlainConnection(_Guarded, HTTPConnection):
    pass


class _Connection(_Guarded, HTTPSConnection):
    pass


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _Pool(HTTPSConnectionPool):
    ConnectionCls = _Connection
