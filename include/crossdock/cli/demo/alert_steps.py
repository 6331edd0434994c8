"""The steps of the demo with alerts: one mail says that a source is down, and one that it is over."""

from __future__ import annotations

import time
import uuid

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.sync_steps import INVENTORY, SyncSteps
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.paths import path_of

_ROUTE, _CHANNEL = "demo", "mail_server"
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0


class AlertSteps:
    """The steps with alerts, over the stack's simulated mail server. Nothing leaves this machine."""

    def __init__(self, run: DemoRun, syncs: SyncSteps) -> None:
        self._syncs = syncs
        self._hub = HubApi(run.stack.api())
        self._mail_server = SandboxControl(run.stack.mail_server_url)
        self._to = f"on-call-{uuid.uuid4().hex[:12]}@shop.example"

    def source_down(self, bar: Bar) -> str:
        """Let the source go down: the sync fails, and whoever is on call gets one mail."""
        # Of this stream alone: whoever runs the demo may have a system of their own that fails.
        which = {"kinds": ["run_failed"], "streams": [INVENTORY]}
        self._hub.post("/alert-routes", {"name": _ROUTE, "integration": _CHANNEL, "recipients": [self._to], **which})
        try:
            self._syncs.source_down(bar)
            mail, waited_s = self._next_mail(bar, 1)
        except BaseException:  # The next demo has a route of this name, too.
            self._hub.delete(path_of("alert-routes", _ROUTE), if_match=None)
            raise
        return f"one mail, {waited_s:.0f} s after the run (goal: 60). {_as_received(mail)}"

    def recovery(self, bar: Bar) -> str:
        """Bring the source back: the cleared task recovers, and one mail says that it is over."""
        try:
            self._syncs.recovery(bar)
            mail, waited_s = self._next_mail(bar, 2)
            expect(mail["subject"].startswith("[closed]"), f"the mail is {mail['subject']}")
            return f"one mail, {waited_s:.0f} s after the run. {_as_received(mail)}"
        finally:
            self._hub.delete(path_of("alert-routes", _ROUTE), if_match=None)

    def _next_mail(self, bar: Bar, number: int) -> tuple[dict[str, str], float]:
        """Wait until the mail server has as many mails for us as *number*; return the last, and how long it took."""
        began = time.monotonic()
        while len(mails := [mail for mail in self._mail_server.mails() if mail["to"] == self._to]) < number:
            expect(time.monotonic() - began < _MISSING_AFTER_S, "no mail came: ./hub alerts messages")
            bar.update(f"Waiting for the mail ({time.monotonic() - began:.0f} s)")
            time.sleep(0.5)
        expect(len(mails) == number, f"{len(mails)} mails came, and not {number}")
        return mails[-1], time.monotonic() - began


def _as_received(mail: dict[str, str]) -> str:
    return f"As received: {mail['subject']!r}: {' '.join(mail['text'].split())!r}"
