"""The simulated mail server's outbox, over its control API."""

from __future__ import annotations

import smtplib

from crossdock.sandbox.engine.test_client import TestClient
from crossdock.sandbox.smtp.mail_server import FakeMailServer


def test_an_accepted_mail_is_shown_as_json() -> None:
    with FakeMailServer() as server:
        with smtplib.SMTP("127.0.0.1", server.smtp_port, timeout=60) as sender:
            sender.login("sandbox", "sandbox")
            sender.sendmail(
                "a@shop.example", ["b@customer.example"], b"Message-ID: <1@shop.example>\r\nSubject: Hello\r\n\r\nText"
            )
        (mail,) = TestClient(server.port).get("/_sandbox/outbox").json["mails"]

    assert (mail["message_id"], mail["subject"], mail["text"]) == ("<1@shop.example>", "Hello", "Text\r\n")
