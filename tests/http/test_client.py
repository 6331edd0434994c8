"""The one HTTP client, before servers that do as they like."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import subprocess
import sys
import threading
import time
import traceback
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.auth import HTTPBasicAuth

from crossdock.core.errors import (
    BadRequest,
    SourceInvalid,
    SystemRefused,
    SystemUnavailable,
    Terminal,
    Throttled,
    Transient,
)
from crossdock.http.client import HttpClient, Limits
from crossdock.http.config import ClientConfig
from crossdock.http.connection import Connection
from crossdock.http.deadline import current_deadline
from crossdock.http.model import Token
from crossdock.http.response import retry_after_s
from crossdock.http.transport import Tls as TlsConfig
from tests.http.raw_server import ONE_SECOND, QUICK, Dripped, RawServer, answer, body_of
from tests.shop import free_port
from tests.tls import Tls

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
BOMB = gzip.compress(b" " * 100_000_000, 1)
#: A process that meets a bomb and says by how many kilobytes it grew at its largest, and the error that it met.
_BOMBED = """
import sys
from pathlib import Path
from crossdock.http.client import HttpClient
from crossdock.http.model import Limits

def kb(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

client = HttpClient("acme", sys.argv[1], limits=Limits(attempts=1))
Path("/proc/self/clear_refs").write_text("5")  # forgets the peak of the imports
before = kb("VmRSS")
try:
    client.get("/thing", {}, lambda answer: answer.body)
except Exception as error:
    said = error
print(kb("VmHWM") - before)
print(said)
"""


class TestRetryAfter:
    @pytest.mark.parametrize(("header", "seconds"), [("0", 0), ("7", 7), ("0.5", 0.5), (" 3 ", 3), ("900", 900)])
    def test_seconds_are_taken_as_they_are(self, header: str, seconds: float) -> None:
        """A source that says seven means seven."""
        assert retry_after_s(header, now=NOW) == seconds

    @pytest.mark.parametrize("zone", ["GMT", "+0000", "-0000"])
    def test_a_date_is_converted_to_seconds_from_now(self, zone: str) -> None:
        """HTTP allows both forms, and clients forget the second."""
        assert retry_after_s(f"Sat, 21 Nov 2026 12:01:30 {zone}", now=NOW) == 90

    @pytest.mark.parametrize("header", ["901", "1e9", "inf", "Sat, 21 Nov 2099 12:00:00 GMT"])
    def test_no_wait_is_longer_than_a_quarter_of_an_hour(self, header: str) -> None:
        """A source that requests a wait of thirty years is called again today."""
        assert retry_after_s(header, now=NOW) == 900

    @pytest.mark.parametrize("header", [None, "", "-1", "soon", "nan", "-inf", "Sat, 21 Nov 2026 11:59:59 GMT"])
    def test_nonsense_and_the_past_ask_for_nothing(self, header: str | None) -> None:
        """Then our own backoff applies; a negative sleep or an error of ours would be worse than no header."""
        assert retry_after_s(header, now=NOW) is None

    @given(
        st.text(max_size=40)
        | st.from_regex(r"\A[A-Z][a-z]{2}, \d{1,9} (Jan|Feb|Foo) \d{1,12} \d{1,4}:\d\d:\d\d [+-]?\d{0,22}\Z")
    )
    def test_any_text_at_all_is_a_wait_or_none(self, header: str) -> None:
        """It is the other side's text: whatever it holds, it must not end the run with an error of ours."""
        seconds = retry_after_s(header, now=NOW)

        assert seconds is None or 0 <= seconds <= 900

    def test_a_date_is_counted_from_now_whatever_the_zone(self) -> None:
        until = (NOW + timedelta(seconds=30)).astimezone()

        assert retry_after_s(format_datetime(until), now=NOW) == 30


class TestTime:
    @pytest.mark.parametrize("headers_too", [False, True])
    def test_a_dripping_answer_over_tls_is_cut_at_the_deadline(self, tls: Tls, headers_too: bool) -> None:
        """No single read takes long, so the time-outs of requests never fire: one such answer holds a slot for hours."""
        whole = answer(json.dumps({"results": ["x" * 200]}))
        head, _, body = whole.partition(b"\r\n\r\n")
        slow = Dripped(whole if headers_too else body)

        with RawServer(slow if headers_too else _then(head + b"\r\n\r\n", slow), tls=tls.context) as server:
            client = server.client(limits=ONE_SECOND, ca_file=tls.ca_file)
            began = time.monotonic()
            with pytest.raises(SystemUnavailable, match="took longer than 1 s"):
                body_of(client)
            assert time.monotonic() - began > 0.9
            assert not slow.finished

    def test_a_dripping_handshake_is_cut_at_the_deadline(self) -> None:
        """It comes before the first byte of HTTP, and can be as slow; the connect time-out holds for all of it."""
        # A TLS record that says it is long.
        greeting = Dripped(b"\x16\x03\x03\x40\x00" + b"\x02" * 300)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=_greet, args=(listener, greeting), daemon=True).start()
            client = HttpClient("acme", f"https://127.0.0.1:{listener.getsockname()[1]}", limits=ONE_SECOND)
            with pytest.raises(SystemUnavailable, match="no answer from"):
                body_of(client)

        assert not greeting.finished

    def test_a_body_without_a_length_that_is_cut_does_not_pass_for_whole(self) -> None:
        """Where the end of the connection is the end of the body, the cut of our own watchdog looks like it."""
        head = answer(b"", headers={"Content-Length": ""})

        with RawServer(_then(head + b"[]", Dripped(b" " * 100))) as server, pytest.raises(SystemUnavailable):
            body_of(server.client(limits=ONE_SECOND))

    def test_the_second_try_after_a_401_has_no_deadline_of_its_own(self) -> None:
        """To the caller, two exchanges are one attempt."""
        left_s: list[float] = []

        class Noting(_Renewable):
            def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
                deadline = current_deadline()
                assert deadline is not None
                left_s.append(deadline.left_s)
                return super().__call__(request)

        with RawServer(_then(b"", _late(answer(b"{}", "401 Unauthorized"), 0.5)), answer(b"[1]")) as server:
            assert body_of(server.client(auth=Noting("id", "secret"))) == b"[1]"
            assert len(server.requests) == 2
        assert left_s[1] <= left_s[0] - 0.5

    def test_an_accepted_connection_without_an_answer_ends_at_the_deadline(self) -> None:
        """A listener whose program hangs accepts and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = HttpClient("acme", f"http://127.0.0.1:{listener.getsockname()[1]}", limits=ONE_SECOND)
            # Else it never ends.
            with pytest.raises(SystemUnavailable, match="took longer than 1 s"):
                body_of(client)


def chunked(body: bytes, *, is_packed: bool) -> bytes:
    parts = [body[at : at + 60_000] for at in range(0, len(body), 60_000)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    coding = {"Content-Encoding": "gzip"} if is_packed else {}
    return answer(framed, headers={"Content-Length": "", "Transfer-Encoding": "chunked", **coding})


class TestSize:
    @pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux forgets a process's peak")
    def test_a_gzip_bomb_costs_less_than_twenty_megabytes(self, record_property: Callable[[str, object], None]) -> None:
        """
        A hundred megabytes in a hundred kilobytes must not take the worker down, nor up to the cap for honest answers.

        Measured as the growth of a whole process, because zlib's memory is none of Python's.
        """
        with RawServer(answer(BOMB, headers={"Content-Encoding": "gzip"})) as server:
            ended = subprocess.run(
                [sys.executable, "-c", _BOMBED, server.url], capture_output=True, text=True, check=True, timeout=600
            )
            grown_kb, message = ended.stdout.splitlines()

        record_property("the process grew by KB", grown_kb)
        assert "unpacks to more than 100 times its size" in message
        assert 0 < int(grown_kb) < 20_000

    def test_an_honest_answer_that_packs_well_is_no_bomb(self) -> None:
        """Records that resemble each other pack to a thirtieth."""
        body = json.dumps([{"id": f"{number:036d}", "sku": "CRUNCHY-ARMCHAIR"} for number in range(100_000)]).encode()
        packed = gzip.compress(body)

        with RawServer(answer(packed, headers={"Content-Encoding": "gzip"})) as server:
            assert body_of(server.client()) == body
        assert len(body) > 6_000_000
        assert len(body) / len(packed) > 20

    @pytest.mark.parametrize("packs", [True, False])
    def test_a_large_answer_in_chunks_is_no_bomb(self, packs: bool) -> None:
        """Any page above 4 MiB was one, from a server that does not know the length when it begins."""
        body = json.dumps([{"id": f"{number:036d}", "sku": "CRUNCHY-ARMCHAIR"} for number in range(100_000)]).encode()

        with RawServer(chunked(gzip.compress(body) if packs else body, is_packed=packs)) as server:
            assert body_of(server.client()) == body

    def test_a_bomb_in_chunks_is_one(self) -> None:
        with RawServer(chunked(BOMB, is_packed=True)) as server:
            _fails(server.client(), SourceInvalid, "unpacks to more than 100 times its size")

    @pytest.mark.parametrize("status", ["302 Found", "403 Forbidden", "503 Service Unavailable"])
    def test_a_bomb_in_any_answer_is_cut(self, status: str) -> None:
        """Redirects above all: requests reads their bodies automatically, to be ready to follow."""
        headers = {"Content-Encoding": "gzip", "Location": "http://127.0.0.1:1/"}
        limits = Limits(attempts=1, answer_bytes=1_000_000)

        with RawServer(answer(BOMB, status, headers)) as server:
            peak = _peak(lambda: _fails(server.client(limits=limits), SourceInvalid, "larger than 1,000,000"))

        assert peak < 10_000_000

    @pytest.mark.parametrize(("size", "passes"), [(1_000_000, True), (1_000_001, False)])
    def test_the_cap_is_exact(self, size: int, passes: bool) -> None:
        limits = Limits(attempts=1, answer_bytes=1_000_000)

        with RawServer(answer(b"1" * size)) as server:
            if passes:
                assert len(body_of(server.client(limits=limits))) == size
            else:
                _fails(server.client(limits=limits), SourceInvalid, "larger")


class TestRedirects:
    @pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
    def test_no_redirect_is_followed(self, status: str) -> None:
        """A server that answers once could send our token, or our workers, anywhere."""
        with RawServer(answer()) as other_server:
            with RawServer(answer(b"", status, {"Location": f"{other_server.url}/metadata"})) as server:
                client = server.client(auth=HTTPBasicAuth("id", "secret"))
                error = _fails(client, SystemRefused, "Redirects are not followed: check the host")
            assert isinstance(error, Terminal)
            assert len(server.requests) == 1
            assert other_server.requests == []

    @pytest.mark.parametrize("location", ["http://[", "\xff", "//", "javascript:x", ""])
    def test_a_redirect_to_nowhere_is_a_refusal_too(self, location: str) -> None:
        """Merely parsing such an address would raise another library's error."""
        with RawServer(answer(b"", "302 Found", {"Location": location})) as server:
            _fails(server.client(), SystemRefused, "302")


class TestEnvironment:
    def test_proxies_and_netrc_of_the_environment_are_not_used(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
    ) -> None:
        """A proxy variable left on a worker must not send our tokens through that host."""
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login theirs password theirs\n")
        monkeypatch.setenv("NETRC", str(netrc))
        with RawServer(answer(b'"proxy"')) as proxy, RawServer(answer(b'"target"')) as server:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url)
            monkeypatch.delenv("no_proxy", raising=False)

            assert body_of(server.client()) == b'"target"'
            assert proxy.requests == []
            assert "Authorization" not in server.requests[0]

    def test_a_certificate_is_checked_whatever_the_environment_says(
        self, tls: Tls, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Our own authority is named in the connection, not picked up from a variable."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", tls.ca_file)
        monkeypatch.setenv("CURL_CA_BUNDLE", tls.ca_file)

        with RawServer(answer(), tls=tls.context) as server:
            _fails(server.client(limits=ONE_SECOND), SystemUnavailable, "certificate verify failed")

    def test_the_keys_of_a_session_are_not_written_where_the_environment_says(
        self, tls: Tls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        """A debugging variable left on a worker would make every recorded call readable."""
        keys = tmp_path / "keys.log"
        monkeypatch.setenv("SSLKEYLOGFILE", str(keys))

        with RawServer(answer(b"[1]"), tls=tls.context) as server:
            body_of(server.client(ca_file=tls.ca_file))

        assert not keys.exists()

    def test_an_authority_of_our_own_can_be_trusted(self, tls: Tls) -> None:
        """Many a company's proxy signs with its own."""
        with RawServer(answer(b"[1]"), tls=tls.context) as server:
            assert body_of(server.client(ca_file=tls.ca_file)) == b"[1]"

    def test_a_certificate_of_another_host_is_refused(self, tls_of_another_host: Tls) -> None:
        """Trusting its signer is not trusting it."""
        with RawServer(answer(), tls=tls_of_another_host.context) as server:
            client = server.client(limits=ONE_SECOND, ca_file=tls_of_another_host.ca_file)
            _fails(client, SystemUnavailable, "certificate verify failed")

    def test_cookies_are_not_kept(self) -> None:
        """An API has no sessions; a cookie a request, each with a new name, would grow for ever."""
        with RawServer(answer(headers={"Set-Cookie": "crumb=1; Path=/"})) as server:
            client = server.client()
            body_of(client)
            body_of(client)

        assert "ookie" not in server.requests[1]

    @pytest.mark.parametrize(
        "url", ["", "api.example.com", "ftp://api.example.com", "https://", "user:hunter2@host", "http://["]
    )
    def test_an_invalid_address_is_refused_at_once(self, url: str) -> None:
        """It will not become one by trying again, and may hold a password by mistake."""
        with pytest.raises(BadRequest, match="acme connection is not a URL; expected") as caught:
            HttpClient("acme", url)
        assert "hunter2" not in str(caught.value)

    def test_a_missing_file_of_authorities_is_named(self) -> None:
        with pytest.raises(BadRequest, match=r"no file '/nowhere\.pem'"):
            HttpClient("acme", "https://api.example.com", ca_file="/nowhere.pem")


class TestConcurrency:
    def test_no_more_calls_are_in_flight_than_allowed(self) -> None:
        """The other calls wait for a slot; their deadline starts only when they have one."""
        at_once, most, lock = [0], [0], threading.Lock()

        def slow(connection: socket.socket) -> None:
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            time.sleep(0.1)
            with lock:
                at_once[0] -= 1
            connection.sendall(answer())

        with RawServer(slow) as server, ThreadPoolExecutor(8) as pool:
            client = server.client(config=ClientConfig(in_flight=2), limits=Limits(timeout_s=30, attempts=1))
            list(pool.map(lambda _: body_of(client), range(8)))

        assert most == [2]


class TestRetries:
    @pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
    def test_a_transient_status_is_retried_up_to_the_limit(self, status: int) -> None:
        """Retries that multiply, ours times urllib3's, are how a small outage becomes a large one."""
        with RawServer(answer(b"{}", f"{status} Trouble")) as server:
            _fails(server.client(), SystemUnavailable, str(status))
            assert len(server.requests) == QUICK.attempts

    @pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 422, 451])
    def test_any_other_status_is_not_retried(self, status: int) -> None:
        """The answer would be the same, and the rate limit is shared."""
        with RawServer(answer(b"{}", f"{status} No")) as server:
            _fails(server.client(auth=HTTPBasicAuth("id", "secret")), SystemRefused, str(status))
            assert len(server.requests) == 1

    def test_a_broken_connection_is_retried_up_to_the_limit(self) -> None:
        """urllib3 would retry as well; its retries are off."""
        with RawServer(socket.socket.close) as server:
            _fails(server.client(), SystemUnavailable, f"no answer from {server.host} to GET /thing")
            assert len(server.requests) == QUICK.attempts

    def test_an_invalid_wait_is_ignored(self) -> None:
        with RawServer(answer(b"{}", "429 Slow down", {"Retry-After": "soon"}), answer(b"[1]")) as server:
            assert body_of(server.client()) == b"[1]"

    def test_a_wait_in_the_systems_own_words_counts_before_its_header(self) -> None:
        """Some name in the body the limit that was reached, and send no Retry-After, or one of another limit."""
        refused = answer(b'{"limit": "DAILY"}', "429 Slow down", {"Retry-After": "0"})
        with RawServer(refused, answer(b"[1]")) as server:
            client = server.client(wait_of=lambda response: 700.0 if b"DAILY" in response.body else None)
            with pytest.raises(Throttled) as caught:
                body_of(client)

            assert (caught.value.retry_in_s, len(server.requests)) == (700.0, 1)
            assert body_of(client) == b"[1]"

    def test_a_401_is_retried_once(self) -> None:
        """A client that is refused with a new token as well stays refused."""
        with RawServer(answer(b"{}", "401 Unauthorized")) as server:
            signer = _Renewable("id", "secret")
            _fails(server.client(auth=signer), SystemRefused, "Check the id and the secret")
            assert (len(server.requests), signer.renewed) == (2, 1)


class TestAnswers:
    @pytest.mark.parametrize("content_type", ["", "text/html", "text/plain; charset=utf-8", "application/jsonp"])
    def test_a_response_that_is_not_declared_json_is_invalid(self, content_type: str) -> None:
        """A proxy's login page comes with 200."""
        with RawServer(answer(b"{}", headers={"Content-Type": content_type})) as server:
            _fails(server.client(), SourceInvalid, "not application/json")
            assert len(server.requests) == QUICK.attempts

    @pytest.mark.parametrize(
        "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/hal+json"]
    )
    def test_json_goes_by_several_names(self, content_type: str) -> None:
        with RawServer(answer(b"[1]", headers={"Content-Type": content_type})) as server:
            assert body_of(server.client()) == b"[1]"

    def test_a_response_without_content_is_invalid(self) -> None:
        """Never "0 rows, success"."""
        with RawServer(answer(b"", "204 No Content", {"Content-Type": ""})) as server:
            _fails(server.client(), SourceInvalid, "of no type")

    @pytest.mark.parametrize("date", ["", "yesterday", "0", "Sat, 21 Nov 2026 12:00:00 +99999999999999999999"])
    def test_a_clock_that_cannot_be_read_is_the_answers_fault(self, date: str) -> None:
        """The hub's own clock in its place would set a watermark that skips what the source has yet to write."""
        with RawServer(answer(headers={"Date": date})) as server, pytest.raises(SourceInvalid, match="no Date header"):
            server.client().get("/thing", {}, lambda got: got.date)

    def test_the_clock_is_the_servers(self) -> None:
        with RawServer(answer(headers={"Date": "Sat, 21 Nov 2026 12:00:00 -0000"})) as server:
            assert server.client().get("/thing", {}, lambda got: got.date) == NOW

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            (b'{"message": "No such\\nproject\\u001b[31m"}', r"No such\nproject\x1b[31m."),
            (b'{"message": "' + b"x" * 1000 + b'"}', "x" * 300 + "."),
            (b"[" * 100_000, "100000 bytes that are not JSON."),
            (b"\xff", "1 bytes that are not JSON."),
            (b"[1]", "no message."),
            (b'{"error": {"type": "invalid_request_error", "message": "No such payment"}}', "No such payment."),
            (b'{"error": {"type": "api_error"}}', "no message."),
            (b'{"error": "invalid_token"}', "invalid_token."),
        ],
    )
    def test_the_message_of_a_refusal_is_one_short_line(self, body: bytes, message: str) -> None:
        """It goes into logs and pages; the system must not be able to inject lines there."""
        with RawServer(answer(body, "404 Not Found")) as server:
            error = _fails(server.client(), SystemRefused, "Check the address of the connection")

        assert f"GET /thing: {message} Check" in str(error)

    def test_keys_cannot_write_headers(self) -> None:
        """Keys come from people and from other systems."""
        key = "KEY\r\nX-Evil: 1\r\n\r\nGET /evil HTTP/1.1"

        with RawServer(answer()) as server:
            body_of(server.client(), key=key)

        assert server.requests[0].splitlines()[0].startswith("GET /thing?key=KEY%0D%0AX-Evil%3A+1")
        assert "X-Evil: 1" not in server.requests[0]


class TestSecrets:
    CANARY = "canary-8f14e45f"

    @pytest.mark.parametrize(
        "wrong",
        [
            answer(b"{}", "400 Bad Request"),
            answer(b"{}", "503 Service Unavailable"),
            answer(b"<html>", headers={"Content-Type": "text/html"}),
            answer(b"{}", headers={"Content-Length": "100"}),
            answer(b"no gzip", headers={"Content-Encoding": "gzip"}),
            answer(b"", headers={"Transfer-Encoding": "chunked"}) + b"zz\r\n",
            answer(b"", headers={"Content-Length": "1, 2"}),
            answer(b"", "302 Found", {"Location": "http://["}),
            b"no HTTP at all\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nno header at all\r\n\r\n",
            socket.socket.close,
        ],
    )
    def test_no_failure_shows_credentials_or_query_values(self, wrong: Any, caplog: pytest.LogCaptureFixture) -> None:
        """Tracebacks end up in task logs and in tickets; a key may be a person's mail address."""
        caplog.set_level(logging.DEBUG)
        with RawServer(wrong) as server:
            client = server.client(auth=HTTPBasicAuth("id", self.CANARY))
            with pytest.raises((Transient, Terminal)) as caught:
                body_of(client, where=f'email = "{self.CANARY}"')

        assert len(server.requests) >= 1
        shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + caplog.text
        assert self.CANARY not in shown

    def test_a_host_that_is_down_shows_no_query_values_either(self) -> None:
        """The error below holds the whole address."""
        client = HttpClient("acme", f"http://127.0.0.1:{free_port()}", limits=QUICK)

        with pytest.raises(SystemUnavailable, match="Connection refused") as caught:
            body_of(client, where=self.CANARY)

        assert self.CANARY not in "".join(traceback.format_exception(caught.value))

    def test_a_refusal_that_repeats_the_credentials_does_not_pass_them_on(self) -> None:
        """Some systems repeat the token that they do not know."""
        signer = HTTPBasicAuth("id", self.CANARY)
        sent = "aWQ6Y2FuYXJ5LThmMTRlNDVm"

        with RawServer(answer(json.dumps({"message": f"Unknown: {sent}"}), "403 Forbidden")) as server:
            error = _fails(server.client(auth=signer), SystemRefused, "Unknown: .hidden.")

        assert sent in server.requests[0]
        assert sent not in str(error)

    def test_objects_with_a_secret_do_not_show_it_in_their_repr(self) -> None:
        """One careless `%r` in a log, or a debugger's page, must not be enough."""
        holders = [
            TlsConfig(key_password=self.CANARY),
            ClientConfig(tls=TlsConfig(key_password=self.CANARY)),
            Connection(connection_id="c", conn_type="http", password=self.CANARY, extra={"key": self.CANARY}),
            Token(self.CANARY, 1.0),
        ]

        assert self.CANARY not in repr(holders)

    def test_a_password_in_the_address_is_not_shown(self) -> None:
        client = HttpClient("acme", f"http://id:{self.CANARY}@127.0.0.1:{free_port()}", limits=ONE_SECOND)

        error = _fails(client, SystemUnavailable, "no answer from 127.0.0.1")

        assert self.CANARY not in "".join(traceback.format_exception(error))

    def test_an_unknown_name_is_reported_as_such(self) -> None:
        """The resolver's error numbers mean other things to the operating system."""
        client = HttpClient("acme", "http://nowhere.invalid", limits=ONE_SECOND)

        error = _fails(client, SystemUnavailable, "no answer from nowhere.invalid to GET /thing: ")

        assert "Unknown error" not in str(error)


class _Renewable(HTTPBasicAuth):
    renewed = 0

    def renew(self, refused: Any) -> None:
        assert refused.headers["Authorization"].startswith("Basic ")
        self.renewed += 1


def _fails(client: HttpClient, kind: type[Exception], words: str) -> Exception:
    with pytest.raises(kind, match=words) as caught:
        body_of(client)
    return caught.value


def _peak(act: Any) -> int:
    """The most memory that *act* held at one time."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def _then(first: bytes, rest: Any) -> Any:
    def act(connection: socket.socket) -> None:
        connection.sendall(first)
        rest(connection)

    return act


def _late(data: bytes, seconds: float) -> Any:
    def act(connection: socket.socket) -> None:
        time.sleep(seconds)
        connection.sendall(data)

    return act


def _greet(listener: socket.socket, greeting: Dripped) -> None:
    """Send *greeting* to the first client, until it leaves."""
    connection, _ = listener.accept()
    with connection, contextlib.suppress(OSError):
        greeting(connection)
