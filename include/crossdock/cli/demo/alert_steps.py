"""The steps of the demo with alerts: one mail says that a source is down, and one that it is over."""

from __future__ import annotations

import time
import uuid
from itertools import pairwise

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.sync_steps import INVENTORY, SyncSteps
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.paths import path_of

#: Each demo has a route of its own, to which nobody has said anything yet.
_ROUTES, _CHANNEL = "demo-", "mail_server"
_CLOSED = "[closed]"
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0


class AlertSteps:
    """The steps with alerts, over the stack's simulated mail server. Nothing leaves this machine."""

    def __init__(self, run: DemoRun, syncs: SyncSteps) -> None:
        self._syncs = syncs
        self._hub = HubApi(run.stack.api())
        self._mail_server = SandboxControl(run.stack.mail_server_url)
        number = uuid.uuid4().hex[:12]
        self._route, self._to = f"{_ROUTES}{number}", f"on-call-{number}@shop.example"

    def source_down(self, bar: Bar) -> str:
        """Let the source go down: the sync fails, and whoever is on call gets one mail."""
        self._remove_left_over()
        # Of this stream alone: whoever runs the demo may have a system of their own that fails.
        which = {"kinds": ["run_failed"], "streams": [INVENTORY]}
        self._hub.post(
            "/alert-routes", {"name": self._route, "integration": _CHANNEL, "recipients": [self._to], **which}
        )
        try:
            self._syncs.source_down(bar)
            mail, waited_s = self._next_mail(bar, is_over=False)
        except BaseException:
            self._remove(self._route)
            raise
        return f"one mail, {waited_s:.0f} s after the run (goal: 60). {_as_received(mail)}"

    def recovery(self, bar: Bar) -> str:
        """Bring the source back: the cleared task recovers, and one mail says that it is over."""
        try:
            self._syncs.recovery(bar)
            mail, waited_s = self._next_mail(bar, is_over=True)
            return f"one mail, {waited_s:.0f} s after the run. {_as_received(mail)}"
        finally:
            self._remove(self._route)

    def _remove_left_over(self) -> None:
        """Remove the routes of demos that were killed."""
        for route in self._hub.get("/alert-routes").document["routes"]:
            if route["name"].startswith(_ROUTES) and route["integration"] == _CHANNEL:
                self._remove(route["name"])

    def _remove(self, route: str) -> None:
        self._hub.delete(path_of("alert-routes", route), if_match=None)

    def _next_mail(self, bar: Bar, *, is_over: bool) -> tuple[dict[str, str], float]:
        """
        Wait until the last mail to us says that it began, or that it is over; return it, and how long it took.

        What an earlier outage left open may close first: that mail is not the one.
        """
        began = time.monotonic()
        while not (mails := self._mails()) or mails[-1]["subject"].startswith(_CLOSED) is not is_over:
            expect(time.monotonic() - began < _MISSING_AFTER_S, "no mail came: ./hub alerts messages")
            bar.update(f"Waiting for the mail ({time.monotonic() - began:.0f} s)")
            time.sleep(0.5)
        said = [mail["subject"].startswith(_CLOSED) for mail in mails]
        expect(
            all(now is not before for before, now in pairwise(said)), f"two mails came, and not one: {_titles(mails)}"
        )
        return mails[-1], time.monotonic() - began

    def _mails(self) -> list[dict[str, str]]:
        return [mail for mail in self._mail_server.mails() if mail["to"] == self._to]


def _titles(mails: list[dict[str, str]]) -> str:
    return ", ".join(mail["subject"] for mail in mails)


def _as_received(mail: dict[str, str]) -> str:
    return f"As received: {mail['subject']!r}: {' '.join(mail['text'].split())!r}"
