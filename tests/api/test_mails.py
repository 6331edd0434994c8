"""Mails over REST, to a mail server over SMTP: a test mail, the list without recipients, and what a person resolves."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from crossdock.sandbox.smtp.mail_server import FakeMailServer
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.api.test_idempotency import new_key, post
from tests.contracts.mailers import _SmtpBench

_numbers = itertools.count()
TO = "ada@customer.example"


@pytest.fixture
def server() -> Iterator[FakeMailServer]:
    with FakeMailServer() as opened:
        yield opened


class Mailer:
    """The mail server as an integration of the hub."""

    def __init__(self, hub: Hub, server: FakeMailServer) -> None:
        self.hub, self.server, self.id = hub, server, f"mailing_{next(_numbers)}"
        connection = {"connection_id": self.id, "conn_type": "smtp_relay", **_SmtpBench(server).connection()}
        hub.airflow("POST", "/connections", json=connection).raise_for_status()
        hub.call("POST", "/v1/integrations", json={"id": self.id, "kind": "smtp_relay"}).raise_for_status()

    def test(self, key: str | None = None, *, name: str = "otto", to: str = TO) -> requests.Response:
        return post(self.hub, "/v1/test-mails", {"integration": self.id, "to": to}, key or new_key(), name)

    def newest(self, name: str = "vera") -> dict[str, Any]:
        found: dict[str, Any] = self.hub.call("GET", "/v1/mails", name, params={"limit": 1}).json()["mails"][0]
        return found


@pytest.fixture
def mailer(hub: Hub, server: FakeMailServer) -> Mailer:
    return Mailer(hub, server)


def test_a_test_mail_is_sent_once_for_its_key(mailer: Mailer) -> None:
    key = new_key()
    first, again = mailer.test(key), mailer.test(key)

    assert (first.status_code, again.json()) == (200, first.json())
    assert (first.json()["state"], first.json()["mailer"], first.json()["recipient"]) == ("sent", mailer.id, "***")
    (mail,) = mailer.server.outbox.as_document()["mails"]
    assert (mail["recipient"], mail["subject"]) == (TO, f"Test mail of {mailer.id}")
    assert mail["message_id"] == first.json()["provider_id"]


def test_a_list_masks_the_recipient_and_an_operator_who_sees_it_is_audited(mailer: Mailer) -> None:
    mailer.test()
    mail = mailer.newest("admin")

    seen = {name: mailer.hub.call("GET", f"/v1/mails/{mail['mail_id']}", name).json() for name in ("vera", "otto")}

    assert (mail["recipient"], seen["vera"]["recipient"], seen["otto"]["recipient"]) == ("***", "***", TO)
    entries = mailer.hub.call("GET", "/v1/audit", params={"subject": f"mail/{mail['mail_id']}"}).json()["entries"]
    assert [entry["act"] for entry in entries if entry["subject"] == f"mail/{mail['mail_id']}"] == [
        "personal_data.reveal"
    ]


def test_a_refused_recipient_is_not_named_in_the_answer(mailer: Mailer) -> None:
    answer = mailer.test(to="unknown@customer.example")

    assert_problem(answer, 422, "refused-by-system")
    assert "550" in answer.json()["detail"]
    assert "unknown@" not in answer.text
    assert mailer.newest()["state"] == "refused"


def test_a_mail_that_nobody_knows_of_goes_on_once_its_attempt_is_resolved(mailer: Mailer) -> None:
    mailer.server.faults.put("message", [{"reset": "before"}])
    assert_problem(mailer.test(), 502, "outcome-unknown")
    mail = mailer.newest()
    resume = f"/v1/mails/{mail['mail_id']}/resume"
    assert mail["state"] == "unknown"
    assert_problem(post(mailer.hub, resume, {}, new_key(), "otto"), 502, "outcome-unknown")

    attempts = mailer.hub.call("GET", "/v1/attempts", params={"integration": mailer.id}).json()["attempts"]
    resolve = f"/v1/attempts/{attempts[0]['attempt_id']}/resolve"
    post(mailer.hub, resolve, {"outcome": "failed", "reason": "not in its log"}, new_key(), "otto").raise_for_status()

    assert post(mailer.hub, resume, {}, new_key(), "otto").json()["state"] == "sent"
    assert len(mailer.server.outbox) == 1


def test_a_server_that_is_busy_is_tried_later(mailer: Mailer) -> None:
    mailer.server.faults.put("sender", [{"status": 451}], repeat=True)
    answer = mailer.test()

    assert_problem(answer, 503, "unavailable")
    assert answer.headers["Retry-After"]
    assert mailer.newest()["state"] == "failed"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"integration": "nobody_here", "to": TO}, 404),
        ({"integration": "nobody_here"}, 400),
        ({"integration": "nobody_here", "to": TO, "cc": TO}, 400),
    ],
)
def test_a_test_over_what_sends_no_mails_is_refused(hub: Hub, body: dict[str, Any], status: int) -> None:
    assert post(hub, "/v1/test-mails", body, new_key(), "otto").status_code == status


def test_an_address_that_is_none_is_refused(mailer: Mailer) -> None:
    answer = mailer.test(to="ada@customer.example\r\nBcc: x@y.example")

    assert answer.status_code == 422
    assert len(mailer.server.outbox) == 0


def test_a_mail_that_is_not_there(hub: Hub) -> None:
    assert hub.call("GET", "/v1/mails/999999", "vera").status_code == 404
