"""What SendGrid's refusals mean for a mail: whose decision it is, and whether another mailer may be asked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.connectors.sendgrid.actions import SEND_MAIL
from crossdock.connectors.sendgrid.client import SendGrid
from crossdock.core.errors import BadRequest, Declined, OutcomeUnknown, SystemRefused, Throttled
from crossdock.http.model import Limits
from crossdock.integrations.manifests import manifests
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem

ONCE = Limits(timeout_s=30.0, attempts=1, longest_wait_s=0.05)
SAMPLE: dict[str, Any] = dict(manifests()["sendgrid"].actions["send_mail"].sample)


@pytest.fixture
def system() -> Iterator[FakeMailSystem]:
    with FakeMailSystem() as opened:
        yield opened


def send(system: FakeMailSystem, *, key: str = "sandbox", body: Any = None, **given: Any) -> Any:
    request = SEND_MAIL.request(None, {**SAMPLE, **given})
    return SendGrid(system.url, key, limits=ONCE).http.send(
        request.method, request.path, body or request.body, SEND_MAIL.output_of, decline_of=SEND_MAIL.decline_of
    )


def test_our_reference_comes_along_and_no_link_is_rewritten(system: FakeMailSystem) -> None:
    send(system)

    (mail,) = system.outbox
    names = ("reference", "business_key", "kind")
    assert mail["personalizations"][0]["custom_args"] == {name: SAMPLE[name] for name in names}
    assert mail["tracking_settings"]["click_tracking"] == {"enable": False, "enable_text": False}
    assert "mail_settings" not in mail


def test_a_mail_that_the_vendor_refuses_is_declined_with_its_reasons(system: FakeMailSystem) -> None:
    with pytest.raises(Declined, match="content: The content array is required") as caught:
        send(system, body={**SEND_MAIL.request(None, SAMPLE).body, "content": []})
    assert (caught.value.code, caught.value.try_other) == ("content", False)


def test_a_sender_that_the_vendor_refuses_may_be_known_to_another(system: FakeMailSystem) -> None:
    with pytest.raises(Declined) as caught:
        send(system, body={**SEND_MAIL.request(None, SAMPLE).body, "from": {"email": "nobody"}})
    assert caught.value.try_other


@pytest.mark.parametrize(("status", "kind"), [(401, SystemRefused), (403, SystemRefused), (429, Throttled)])
def test_a_refusal_of_our_account_says_nothing_of_the_mail(system: FakeMailSystem, status: int, kind: type) -> None:
    system.faults.put("send", [{"status": status}])

    with pytest.raises(kind) as caught:
        send(system)
    assert not isinstance(caught.value, Declined)


def test_a_mail_that_is_too_large_may_fit_another(system: FakeMailSystem) -> None:
    system.faults.put("send", [{"status": 413}])

    with pytest.raises(Declined) as caught:
        send(system)
    assert caught.value.try_other


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_failure_of_the_vendor_is_no_answer(system: FakeMailSystem, status: int) -> None:
    """It may have taken the mail before it failed."""
    system.faults.put("send", [{"status": status}])

    with pytest.raises(OutcomeUnknown):
        send(system)


def test_no_message_shows_the_key(system: FakeMailSystem) -> None:
    with pytest.raises(SystemRefused) as caught:
        send(system, key="SG.canary-45c48cce")
    assert "canary" not in str(caught.value)


def test_an_address_that_cannot_exist_is_refused_before_the_call(system: FakeMailSystem) -> None:
    with pytest.raises(BadRequest):
        send(system, to={"address": "ada@localhost"})
    assert len(system.requests) == 0
