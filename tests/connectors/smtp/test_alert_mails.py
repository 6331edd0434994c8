"""Mails of alerts as others receive and read them: aiosmtpd takes them, Python's strict parser and its rules judge them."""

from __future__ import annotations

import email
import re
from collections.abc import Iterator
from dataclasses import replace
from email.message import EmailMessage
from email.policy import strict
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope

from crossdock.connectors.smtp.channel import SmtpAlertChannel
from crossdock.connectors.smtp.client import Smtp
from crossdock.http.model import Limits
from crossdock.integrations.manifests import manifests
from crossdock.maintenance.alerting.mails import Sender
from crossdock.maintenance.alerting.model import AlertMessage, Occasion, Severity
from tests.contracts.alert_channels import SAMPLE, Page, sample
from tests.contracts.test_alert_channels import HOSTILE
from tests.shop import free_port

QUICK = Limits(timeout_s=30.0, connect_timeout_s=10.0, attempts=2, longest_wait_s=0.05)


class Catcher:
    """A mail server of others: it keeps what came."""

    def __init__(self) -> None:
        self.caught: list[Envelope] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802  aiosmtpd's name
        self.caught.append(envelope)
        return "250 2.0.0 Accepted"


@pytest.fixture(scope="module")
def catcher() -> Iterator[tuple[Catcher, SmtpAlertChannel]]:
    handler = Catcher()
    controller = Controller(handler, hostname="127.0.0.1", port=free_port())
    controller.start()
    server = Smtp(f"smtp://127.0.0.1:{controller.port}", limits=QUICK, allow_plain=True)
    yield handler, SmtpAlertChannel(server, Sender("The Shop", "alerts@bücher.example"))
    controller.stop()


def caught(
    catcher: tuple[Catcher, SmtpAlertChannel], message: AlertMessage, to: tuple[str, ...] = ("ops@shop.example",)
) -> EmailMessage:
    """Send the mail, and parse what arrived; a defect of its form is an error."""
    handler, channel = catcher
    handler.caught.clear()
    channel.send(message, to)
    (envelope,) = handler.caught
    content = bytes(envelope.content or b"")
    assert content.isascii()
    assert max(map(len, content.split(b"\r\n"))) <= 998
    return email.message_from_bytes(content, policy=strict)


def part_of(message: EmailMessage, kind: str) -> str:
    part = message.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@pytest.mark.parametrize("capability", ["alert_channel"])
def test_a_mail_of_an_alert_is_as_the_standards_have_it(
    catcher: tuple[Catcher, SmtpAlertChannel], capability: str
) -> None:
    assert capability in manifests()["smtp_relay"].provides
    message = caught(catcher, SAMPLE, ("ops@shop.example", "ada@shop.example"))

    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert message["Subject"] == SAMPLE.title
    assert message["From"].addresses[0].addr_spec == "alerts@xn--bcher-kva.example"
    assert [found.addr_spec for found in message["To"].addresses] == ["ops@shop.example", "ada@shop.example"]
    assert catcher[0].caught[0].rcpt_tos == ["ops@shop.example", "ada@shop.example"]
    assert message["Date"].datetime == SAMPLE.at
    # RFC 3834 5: nobody answers it by machine. RFC 2919: a program can sort it.
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["List-Id"] == "Crossdock alerts <alerts.crossdock.xn--bcher-kva.example>"
    assert (message["X-Crossdock-Occasion"], message["X-Crossdock-Severity"]) == ("opened", "critical")


def test_both_forms_say_the_same_and_the_page_loads_nothing(catcher: tuple[Catcher, SmtpAlertChannel]) -> None:
    """Whoever reads it must not be seen reading it."""
    message = caught(catcher, SAMPLE)
    text, html = part_of(message, "plain"), part_of(message, "html")
    page = Page(html)

    for line in text.splitlines():
        assert line == "-- " or line.strip() in page.shown
    assert page.links == [SAMPLE.causes[0].link]
    assert page.tags & {"img", "link", "script", "style", "iframe", "object"} == set()
    assert "url(" not in html


def test_a_mail_program_puts_the_mails_of_a_cause_into_one_thread(catcher: tuple[Catcher, SmtpAlertChannel]) -> None:
    """RFC 5322 3.6.4: by what they refer to, whichever of them a program has."""
    opened, closed, other = (
        caught(catcher, sample(message_id=message_id, thread_id=thread_id, occasion=occasion))
        for message_id, thread_id, occasion in (
            ("m-1", "t-1", Occasion.OPENED),
            ("m-2", "t-1", Occasion.CLOSED),
            ("m-3", "t-2", Occasion.OPENED),
        )
    )

    assert opened["References"] == closed["References"] == opened["In-Reply-To"] == closed["In-Reply-To"]
    assert other["References"] != opened["References"]
    ids = [message["Message-ID"] for message in (opened, closed, other)]
    assert len({*ids, opened["References"], other["References"]}) == 5
    for found in (*ids, opened["References"]):
        assert re.fullmatch(r"<[a-z0-9]{32}@xn--bcher-kva\.example>", found)


def test_a_mail_that_is_sent_again_is_the_same_byte_for_byte_but_for_its_boundary(
    catcher: tuple[Catcher, SmtpAlertChannel],
) -> None:
    """A program that knows its Message-ID shows it once."""
    first, again = (caught(catcher, SAMPLE) for _ in range(2))

    assert first["Message-ID"] == again["Message-ID"]
    assert [part_of(first, kind) for kind in ("plain", "html")] == [part_of(again, kind) for kind in ("plain", "html")]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_title_adds_a_header_or_a_line(catcher: tuple[Catcher, SmtpAlertChannel], hostile: str) -> None:
    text = HOSTILE[hostile]
    message = caught(catcher, sample(title=text, thread_id=text, severity=Severity.INFO))

    plain = caught(catcher, replace(SAMPLE, severity=Severity.INFO))
    assert [name for name, _ in message.items()] == [name for name, _ in plain.items()]
    assert not re.search(r"[\x00-\x1f]", str(message["Subject"]))
    assert len(str(message["Subject"])) <= 150
