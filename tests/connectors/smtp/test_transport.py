"""How the connector reaches a mail server: encrypted, checked, in time; and what each reply at each stage means."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage
from typing import Any

import pytest

from crossdock.connectors.smtp.client import Login, Smtp
from crossdock.core.errors import (
    AddressRefused,
    BadRequest,
    Declined,
    OutcomeUnknown,
    SystemRefused,
    SystemUnavailable,
)
from crossdock.http.config import ClientConfig
from crossdock.http.model import Limits
from crossdock.http.transport import Tls as TlsFiles
from crossdock.sandbox.smtp.mail_server import FakeMailServer
from tests.shop import free_port
from tests.tls import Tls

QUICK = Limits(timeout_s=1.0, connect_timeout_s=0.5, attempts=2, longest_wait_s=0.02)
CANARY = "canary-45c48cce"


def mail(text: str = "Thank you.") -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = "<1@shop.example>"
    message["Subject"] = "Your order"
    message.set_content(text)
    return message


def send(client: Smtp, *, to: str = "ada@customer.example", text: str = "Thank you.") -> Any:
    return client.send(mail(text), sender="orders@shop.example", recipient=to)


def client(url: str, *, ca_file: str | None = None, password: str = "", plain: bool = True, **more: Any) -> Smtp:
    config = ClientConfig(tls=TlsFiles(ca_file=ca_file), **more)
    return Smtp(
        url, name="mail", login=Login("sandbox", password or "sandbox"), config=config, limits=QUICK, allow_plain=plain
    )


@pytest.fixture
def server() -> Iterator[FakeMailServer]:
    with FakeMailServer() as opened:
        yield opened


class TestEncryption:
    @pytest.mark.parametrize("from_start", [False, True], ids=["starttls", "tls"])
    def test_a_mail_goes_over_tls(self, tls: Tls, from_start: bool) -> None:
        with FakeMailServer(tls=tls.context, tls_from_start=from_start) as server:
            send(client(server.smtp_url, ca_file=tls.ca_file, plain=False))

            assert len(server.outbox) == 1

    @pytest.mark.parametrize("from_start", [False, True], ids=["starttls", "tls"])
    def test_a_certificate_of_another_host_is_refused(self, tls_of_another_host: Tls, from_start: bool) -> None:
        """Whoever is in between would read the password and the mails."""
        with FakeMailServer(tls=tls_of_another_host.context, tls_from_start=from_start) as server:
            with pytest.raises(SystemUnavailable, match="IP address mismatch"):
                send(client(server.smtp_url, ca_file=tls_of_another_host.ca_file, plain=False))
            assert len(server.outbox) == 0

    def test_a_server_without_tls_gets_neither_login_nor_mail(self, server: FakeMailServer) -> None:
        """Whoever is in between can take STARTTLS out of the greeting."""
        server.faults.put("login", [{"status": 421}], repeat=True)

        with pytest.raises(SystemUnavailable, match="offers no TLS"):
            send(client(server.smtp_url, plain=False))
        assert server.faults.as_document()["login"]["script"] == [{"status": 421}]

    def test_what_was_sent_in_clear_text_before_tls_is_forgotten(self, tls: Tls) -> None:
        """A reply that somebody has put behind that of STARTTLS must not pass for one over TLS."""
        with (
            scripted(
                b"220 hi\r\n", b"250-x\r\n250 STARTTLS\r\n", b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n", tls=tls
            ) as url,
            pytest.raises(SystemUnavailable),
        ):
            send(client(url, ca_file=tls.ca_file, plain=False))


class TestAddress:
    def test_a_name_that_resolves_into_our_own_network_is_not_called(self, server: FakeMailServer) -> None:
        def resolve(_: str, port: int, **__: Any) -> Any:
            return [(2, 1, 6, "", ("127.0.0.1", port))]

        with pytest.raises(AddressRefused, match="is not a public address"):
            send(client(f"smtp://mail.example:{server.smtp_port}", resolve=resolve))
        assert len(server.outbox) == 0

    def test_the_name_is_resolved_once_and_the_checked_address_is_called(self) -> None:
        """The right answer to the first question and a private one to the second is an attack."""
        answers = iter(["203.0.113.7", "127.0.0.1"])

        def resolve(_: str, port: int, **__: Any) -> Any:
            return [(2, 1, 6, "", (next(answers), port))]

        with pytest.raises((AddressRefused, SystemUnavailable)):
            send(client(f"smtps://mail.example:{free_port()}", resolve=resolve))
        assert next(answers) == "127.0.0.1"

    def test_a_public_server_is_not_called_without_tls(self) -> None:
        def resolve(_: str, port: int, **__: Any) -> Any:
            return [(2, 1, 6, "", ("8.8.8.8", port))]

        with pytest.raises(AddressRefused):
            send(client("smtp://mail.example", resolve=resolve))

    def test_a_server_that_is_down_is_named(self) -> None:
        with pytest.raises(SystemUnavailable, match=r"no answer from 127\.0\.0\.1:\d+: Connection refused"):
            send(client(f"smtp://127.0.0.1:{free_port()}"))

    @pytest.mark.parametrize("url", ["mail.example", "http://mail.example", "smtp://", "smtp:mail"])
    def test_a_url_of_another_kind_is_refused(self, url: str) -> None:
        with pytest.raises(BadRequest, match="not a URL like smtp://"):
            client(url)


class TestReplies:
    @pytest.mark.parametrize("stage", ["hello", "login", "sender", "recipient", "data", "message"])
    @pytest.mark.parametrize("status", [421, 451, 550])
    def test_a_refusal_at_any_stage_is_certain(self, server: FakeMailServer, stage: str, status: int) -> None:
        server.faults.put(stage, [{"status": status}] * QUICK.attempts)

        with pytest.raises(SystemUnavailable if status < 500 else SystemRefused):
            send(client(server.smtp_url))
        assert len(server.outbox) == 0

    @pytest.mark.parametrize("stage", ["hello", "login", "sender", "recipient", "data"])
    @pytest.mark.parametrize(
        "fault",
        [{"reset": "before"}, {"bad_gateway": "before"}, {"wrong_type": True}],
        ids=lambda fault: next(iter(fault)),
    )
    def test_a_connection_that_ends_before_the_message_was_whole_has_sent_nothing(
        self, server: FakeMailServer, stage: str, fault: Any
    ) -> None:
        """Then the mail is tried again at once."""
        server.faults.put(stage, [fault])

        send(client(server.smtp_url))
        assert len(server.outbox) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            {"reset": "before"},
            {"reset": "after"},
            {"timeout": "before"},
            {"timeout": "after"},
            {"bad_gateway": "after"},
            {"wrong_type": True},
            {"drip": 400},
        ],
        ids=str,
    )
    def test_no_reply_after_the_dot_is_unknown_and_is_not_tried_again(self, server: FakeMailServer, fault: Any) -> None:
        server.faults.put("message", [fault])

        with pytest.raises(OutcomeUnknown):
            send(client(server.smtp_url))
        assert len(server.outbox) <= 1

    def test_a_connection_that_ends_while_the_message_is_on_its_way_has_sent_nothing(
        self, server: FakeMailServer
    ) -> None:
        """Far more than the buffers of both sides hold: the end of the message cannot have left."""
        server.faults.put("data", [{"reset": "after"}] * QUICK.attempts)

        with pytest.raises(SystemUnavailable):
            send(client(server.smtp_url), text=("x" * 70 + "\n") * 100_000)
        assert len(server.outbox) == 0

    @pytest.mark.parametrize(
        ("recipient", "kind", "code", "try_other"),
        [
            ("unknown@customer.example", Declined, "5.1.1", False),
            ("foreign@customer.example", SystemRefused, None, True),
            ("full@customer.example", SystemUnavailable, None, None),
        ],
    )
    def test_a_recipient_is_refused_by_whoever_decided(
        self, server: FakeMailServer, recipient: str, kind: type, code: str | None, try_other: bool | None
    ) -> None:
        with pytest.raises(kind) as caught:
            send(client(server.smtp_url), to=recipient)
        found = caught.value
        assert isinstance(found, Declined) == (kind is Declined)
        assert (getattr(found, "code", None), getattr(found, "try_other", None)) == (code, try_other)
        assert len(server.outbox) == 0

    def test_the_mail_is_accepted_when_only_the_goodbye_fails(self) -> None:
        """It says nothing of the mail."""
        replies = [b"220 hi\r\n", b"250 x\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 taken\r\n"]
        with scripted(*replies) as url:
            found = Smtp(url, limits=QUICK, allow_plain=True).send(
                mail(), sender="orders@shop.example", recipient="ada@customer.example"
            )
        assert (found.code, found.text) == (250, "taken")

    @pytest.mark.parametrize(
        "greeting", [b"", b"220", b"220 no end", b"HTTP/1.1 400\r\n", b"220-x\r\n" * 300, b"999 x\r\n", b"\xff\xfe\r\n"]
    )
    def test_a_greeting_that_is_none_is_a_failure(self, greeting: bytes) -> None:
        with scripted(greeting) as url, pytest.raises(SystemUnavailable):
            send(client(url))

    def test_a_mail_larger_than_the_server_takes_is_refused_before_it_is_sent(self) -> None:
        with FakeMailServer(max_bytes=2_000) as server:
            with pytest.raises(SystemRefused, match="the server takes 2,000"):
                send(client(server.smtp_url), text="x" * 5_000)
            assert len(server.outbox) == 0


class TestLogin:
    def test_a_wrong_password_is_tried_once_and_not_shown(self, server: FakeMailServer) -> None:
        """A second try with another method might lock the account."""
        with pytest.raises(SystemRefused, match="SMTP 535: the login") as caught:
            send(client(server.smtp_url, password=CANARY))
        assert caught.value.try_other
        assert CANARY not in str(caught.value)

    def test_a_server_that_knows_login_only(self) -> None:
        replies = [
            b"220 hi\r\n", b"250-x\r\n250 AUTH=LOGIN\r\n", b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n", b"235 ok\r\n",
            b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"250 taken\r\n",
        ]  # fmt: skip
        with scripted(*replies) as url:
            assert send(client(url)).code == 250

    def test_a_server_without_a_login_that_we_know_is_refused(self) -> None:
        with (
            scripted(b"220 hi\r\n", b"250-x\r\n250 AUTH GSSAPI\r\n") as url,
            pytest.raises(SystemRefused, match="PLAIN or LOGIN"),
        ):
            send(client(url))

    def test_a_password_of_any_letters(self) -> None:
        with FakeMailServer(password="Größe✔") as server:
            assert send(client(server.smtp_url, password="Größe✔")).code == 250


@contextmanager
def scripted(*replies: bytes, tls: Tls | None = None) -> Iterator[str]:
    """A server that sends one reply after the other, whatever it is sent; with *tls* it encrypts after the third."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                _talk(connection, replies, tls)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"smtp://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        # Wakes the thread, which `close` alone does not.
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def _talk(connection: Any, replies: tuple[bytes, ...], tls: Tls | None) -> None:
    connection.settimeout(5)
    try:
        for number, reply in enumerate(replies):
            if number:
                received = connection.recv(65_536)
                # The end of a message comes in a packet of its own, or not.
                while replies[number - 1].startswith(b"354") and not received.endswith(b"\r\n.\r\n"):
                    received += connection.recv(65_536)
            connection.sendall(reply)
        if tls is not None:
            with tls.context.wrap_socket(connection, server_side=True) as secure:
                secure.recv(65_536)
    except OSError:
        pass
