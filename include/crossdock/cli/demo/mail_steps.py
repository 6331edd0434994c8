"""The steps of the demo with mails, over the stack's simulated mail server and SendGrid. Nothing leaves this machine."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import DemoFailed, expect
from crossdock.cli.demo.run import DemoRun
from crossdock.client.hub import HubApi, HubRefused
from crossdock.client.sandbox import SandboxControl
from crossdock.core.ids import prefixed
from crossdock.core.paths import path_of

_SERVER, _SENDGRID = "mail_server", "sendgrid"
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0

_Mail = dict[str, Any]


class MailSteps:
    """The steps with mails. Whatever the hub says is compared with what the mail systems have accepted."""

    def __init__(self, run: DemoRun) -> None:
        self._api, self._airflow_url = run.stack.api(), run.stack.airflow_url
        self._hub = HubApi(self._api)
        self._systems = {
            _SERVER: SandboxControl(run.stack.mail_server_url),
            _SENDGRID: SandboxControl(run.stack.sendgrid_url),
        }

    def send(self, bar: Bar) -> str:
        """Send a mail over the mail server; it arrives once, as it was written."""
        with self._healed():
            to = _new_recipient()
            bar.update(f"sending to {to}")
            mail = self._hub.post("/test-mails", {"integration": _SERVER, "to": to}).document
            expect(mail["state"] == "sent", f"the mail is {mail['state']}", _look_at(mail))
            (received,) = self._expect_received(to, {_SERVER: 1, _SENDGRID: 0})
            text = " ".join(received["text"].split())
            return f"as received: to {received['to']}, subject {received['subject']!r}, text {text!r}"

    def fail_over(self, bar: Bar) -> str:
        """Let the mail server refuse the hub's login: it certainly did not accept the mail, so SendGrid sends it."""
        with self._healed():
            self._expect_no_others()
            to = _new_recipient()
            self._systems[_SERVER].break_down("login", [{"status": 535}], repeat=True)
            bar.update(f"{_SERVER} refuses the login")
            mail = self._not_sent({"integration": _SERVER, "to": to}, "refused")
            sent = self._hub.post(path_of("mails", mail["mail_id"], "resume"), {}).document
            expect(sent["mailer"] == _SENDGRID, f"it was sent by {sent['mailer']}", _look_at(mail))
            (received,) = self._expect_received(to, {_SERVER: 0, _SENDGRID: 1})
            return f"{mail['reason']}; then {_SENDGRID} sent it, once: subject {received['subject']!r}"

    def unknown(self, bar: Bar) -> str:
        """Lose SendGrid's answer after it has accepted the mail: nobody sends it again, and its event says that it was sent."""
        with self._healed():
            to = _new_recipient()
            self._systems[_SENDGRID].send_events_to(None)
            self._systems[_SENDGRID].break_down("send", [{"reset": "after"}], repeat=False)
            bar.update(f"{_SENDGRID} accepts the mail, and its answer is lost")
            mail = self._not_sent({"integration": _SENDGRID, "to": to}, "unknown")
            self._receive_events()
            began = time.monotonic()
            while (found := self._mail(mail["mail_id"]))["state"] != "sent":
                expect(time.monotonic() - began < _MISSING_AFTER_S, f"the mail stays {found['state']}", _look_at(mail))
                bar.update("Waiting for the event")
                time.sleep(0.1)
            self._expect_received(to, {_SERVER: 0, _SENDGRID: 1})
            return f"unknown, and no other mailer was asked; then {_SENDGRID}'s signed event: sent, once ({found['provider_id']})"

    def _not_sent(self, test_mail: Mapping[str, str], state: str) -> _Mail:
        """Send a test mail that must end in *state*, and find it."""
        try:
            self._hub.post("/test-mails", test_mail)
        except HubRefused:
            mail: _Mail = self._hub.get("/mails", state=state, limit=1).document["mails"][0]
            expect(
                mail["mailer"] == test_mail["integration"],
                f"the newest mail that is {state} is another one",
                _look_at(mail),
            )
            return mail
        raise DemoFailed(f"the hub says that the mail was sent, though it is {state}")

    def _mail(self, mail_id: int) -> _Mail:
        found: _Mail = self._hub.get(path_of("mails", mail_id)).document
        return found

    def _receive_events(self) -> None:
        """Connect SendGrid's webhook, and have it send the events of what it has accepted."""
        control = self._systems[_SENDGRID]
        connection = {
            "connection_id": prefixed(f"{_SENDGRID}_webhook"),
            "conn_type": "generic",
            "password": control.verification_key(),
            "extra": json.dumps({"scheme": "sendgrid"}),
        }
        self._api.put_connection(connection)
        control.send_events_to(self._airflow_url + path_of("hub", "v1", "webhooks", _SENDGRID))
        control.send_events_again()

    def _expect_received(self, to: str, counts: Mapping[str, int]) -> list[dict[str, str]]:
        """Expect as many mails to *to* at each system, by its own account; return them."""
        found = {
            name: [mail for mail in control.mails() if mail["to"] == to] for name, control in self._systems.items()
        }
        accepted = {name: len(mails) for name, mails in found.items()}
        expect(accepted == counts, f"accepted: {accepted}, expected {counts}")
        return [mail for mails in found.values() for mail in mails]

    def _expect_no_others(self) -> None:
        """Expect that no real mail system would be asked for the demo's mail."""
        found = self._hub.get("/integrations", limit=500).document["integrations"]
        active = [each["id"] for each in found if each["state"] == "active" and each["id"] not in self._systems]
        others = [integration for integration in active if self._sends_mails(integration)]
        expect(not others, f"this step is for the simulated mail systems alone; pause {', '.join(others)}")

    def _sends_mails(self, integration: str) -> bool:
        actions = self._hub.get(path_of("integrations", integration, "actions")).document["actions"]
        return any(action["name"] == "send_mail" for action in actions)

    @contextmanager
    def _healed(self) -> Iterator[None]:
        """Repair both systems when the block ends."""
        try:
            yield
        finally:
            for control in self._systems.values():
                control.heal()


def _look_at(mail: _Mail) -> str:
    return f"./hub mail show {mail['mail_id']}"


def _new_recipient() -> str:
    return f"demo-{uuid.uuid4().hex[:12]}@customer.example"
