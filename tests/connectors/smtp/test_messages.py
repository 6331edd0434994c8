"""Mails as another reads them: Python's own parser, strict, on what the receiving server has got."""

from __future__ import annotations

import email
from collections.abc import Iterator
from datetime import UTC, datetime
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.policy import strict
from typing import Any

import pytest

from crossdock.connectors.smtp.actions import send_mail
from crossdock.connectors.smtp.client import Login, Smtp
from crossdock.connectors.smtp.message import message_of
from crossdock.core.errors import BadRequest
from crossdock.http.model import Limits
from crossdock.integrations.json_schema import errors_in
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.smtp.mail_server import FakeMailServer

QUICK = Limits(timeout_s=30.0, connect_timeout_s=10.0, attempts=2, longest_wait_s=0.05)
SEND_MAIL = manifests()["smtp_relay"].actions["send_mail"]
SAMPLE = SEND_MAIL.sample


@pytest.fixture(scope="module")
def server() -> Iterator[FakeMailServer]:
    with FakeMailServer() as opened:
        yield opened


def received(server: FakeMailServer, **given: Any) -> EmailMessage:
    """Send a mail, and parse what arrived; a defect of its form is an error."""
    server.outbox.clear()
    client = Smtp(server.smtp_url, login=Login("sandbox", "sandbox"), limits=QUICK, allow_plain=True)
    send_mail(client, {**SAMPLE, **given}, "key-1")
    (mail,) = server.outbox.all()
    assert mail.content.isascii()
    assert max(map(len, mail.content.split(b"\r\n"))) <= 998
    return email.message_from_bytes(mail.content, policy=strict)


def text_of(message: EmailMessage, kind: str = "plain") -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("action", ["send_mail"])
def test_a_message_is_as_the_standard_has_it(server: FakeMailServer, action: str) -> None:
    assert action in manifests()["smtp_relay"].actions
    message = received(server)

    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert (text_of(message), text_of(message, "html")) == (SAMPLE["text"] + "\n", SAMPLE["html"] + "\n")
    assert message["Subject"] == SAMPLE["subject"]
    assert message["X-Reference"] == SAMPLE["reference"]
    assert message["From"].addresses[0].display_name == "The Shop"
    assert message["To"].addresses[0].addr_spec == "ada@customer.example"
    assert message["Date"].datetime.utcoffset() is not None


@pytest.mark.parametrize(
    "text",
    [
        ".",
        ".\n.\n",
        "..two\n.one\n\n.",
        "no end of line",
        "\n\nblank lines before and after\n\n\n",
        "From here on\nFrom the start",
        "Grüße aus Köln, 你好, 👩🏽‍🚀",
        "x" * 5_000,
        "long " * 1_000 + "ü",
        "tab\tand trailing blank \n",
        "=3D is no equals sign",
    ],
)
def test_a_text_arrives_as_it_is(server: FakeMailServer, text: str) -> None:
    """A line with one dot would end the mail, and what follows it would be taken for commands."""
    assert text_of(received(server, text=text)).rstrip("\n") == text.rstrip("\n")


@pytest.mark.parametrize(
    "name",
    [
        "Žofie Nováková",
        "李小龍",
        'Ada "the Countess", née Byron',
        "a" * 100,
        "O'Brien <admin@bank.example>",
    ],
)
def test_a_name_arrives_as_it_is_and_is_no_second_address(server: FakeMailServer, name: str) -> None:
    message = received(server, to={"address": "ada@customer.example", "name": name})

    header: AddressHeader = message["To"]
    assert [(found.display_name, found.addr_spec) for found in header.addresses] == [(name, "ada@customer.example")]


@pytest.mark.parametrize("subject", ["Ihre Bestellung: Größe 42 ✔", "x" * 255, "ü" * 255, "a: b", " padded "])
def test_a_subject_arrives_as_it_is(server: FakeMailServer, subject: str) -> None:
    """A long one is folded, and unfolded by its reader."""
    assert str(received(server, subject=subject)["Subject"]).strip() == subject.strip()


def test_a_domain_in_another_script_is_written_in_ascii(server: FakeMailServer) -> None:
    """No server needs SMTPUTF8 for it."""
    message = received(server, to={"address": "ada@bücher.example"})

    assert message["To"].addresses[0].domain == "xn--bcher-kva.example"
    assert server.outbox.all()[0].recipient == "ada@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "a\r\nBcc: all@customers.example"},
        {"subject": "a\nb"},
        {"subject": "a\u2028b"},
        {"subject": "=?utf-8?q?a=0D=0ABcc=3A_x?="},
        {"to": {"address": "ada@customer.example", "name": "=?utf-8?q?x?="}},
        {"subject": ""},
        {"to": {"address": "ada@customer.example", "name": "Ada\r\nBcc: x@y.example"}},
        {"to": {"address": "ada@customer.example\r\nBcc: x@y.example"}},
        {"to": {"address": "ada@customer.example>\r\nRCPT TO:<x@y.example"}},
        {"to": {"address": "ada@customer.example, x@y.example"}},
        {"to": {"address": "ada"}},
        {"to": {"address": "@customer.example"}},
        {"to": {"address": "a b@customer.example"}},
        {"to": {"address": "ädä@customer.example"}},
        {"to": {"address": "a@[127.0.0.1]"}},
        {"from": {"address": "orders@shop.example", "name": "The\nShop"}},
        {"reference": "a\nb"},
        {"text": ""},
        {"text": "x" * 100_001},
        {"html": "x" * 500_001},
        {"cc": {"address": "x@y.example"}},
    ],
    ids=lambda change: str(change)[:40],
)
def test_an_input_that_would_add_a_header_or_a_recipient_is_refused(change: dict[str, Any]) -> None:
    assert list(errors_in(SEND_MAIL.input, {**SAMPLE, **change}, ""))


@pytest.mark.parametrize(
    "domain", ["a..b", "-a.example", "a_b.example", "localhost", "x" * 64 + ".example", "a." * 130 + "b"]
)
def test_a_domain_that_cannot_exist_is_refused_before_anything_is_sent(server: FakeMailServer, domain: str) -> None:
    with pytest.raises(BadRequest, match="Invalid mail address"):
        received(server, to={"address": f"ada@{domain}"})
    assert server.outbox.all() == []


def test_the_message_id_follows_from_the_key_alone() -> None:
    """A mail that arrived twice could be recognised as one, whoever sent it and when."""
    first, again, other = (
        message_of({**SAMPLE, "text": text}, key, sent_at=datetime(2026, 1, day, tzinfo=UTC))["Message-ID"]
        for text, key, day in (("a", "key-1", 1), ("b", "key-1", 2), ("a", "key-2", 1))
    )

    assert first == again != other
    assert first.endswith("@shop.example>")
