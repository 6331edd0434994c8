"""The steps of the demo with alerts: what is broken is told by mail, once, and so is that it is over."""

from __future__ import annotations

import time
import uuid
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.client.hub import HubApi
from crossdock.client.paths import path_of
from crossdock.client.sandbox import SandboxControl
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.db.database import Store
from crossdock.sync import records

_SYSTEM, _STREAM = "commercetools", "commercetools.inventory"
_ROUTE, _CHANNEL = "demo", "mail_server"
#: How many records are broken: one cause, so one mail.
_RECORDS = 12
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0


class AlertSteps:
    """The steps with alerts, over the stack's simulated mail server. Nothing leaves this machine."""

    def __init__(self, run: DemoRun, store: Store, sandbox: SandboxControl) -> None:
        self._run, self._store, self._sandbox = run, store, sandbox
        self._hub = HubApi(run.stack.api())
        self._mail_server = SandboxControl(run.stack.mail_server_url)
        self._to = f"on-call-{uuid.uuid4().hex[:12]}@shop.example"
        self._broken: list[dict[str, Any]] = []

    def rejected(self, bar: Bar) -> str:
        """Break records of the source: they go to quarantine, and whoever is on call gets one mail about all of them."""
        waiting = self._hub.pages("/quarantine", "items", limit=1, stream=_STREAM)
        expect(not waiting, f"records of {_STREAM} are in quarantine; correct or discard them: ./hub quarantine list")
        self._hub.post(
            "/alert-routes",
            {"name": _ROUTE, "integration": _CHANNEL, "recipients": [self._to], "kinds": ["rows_rejected"]},
        )
        with self._store.transaction() as work:
            ids = sorted(records.versions(work, StockLevel.schema, _SYSTEM))[:_RECORDS]
        wrong = {"quantityOnStock": 5, "availableQuantity": 25}
        self._broken = [self._sandbox.set_fields("inventory", each, wrong) for each in ids]
        counts = self._sync(bar)["counts"]
        expect(counts["rejected"] == len(ids), f"{counts['rejected']} of {len(ids)} records were rejected")
        mail, waited_s = self._next_mail(bar, 1)
        return f"{len(ids)} records, one mail, {waited_s:.0f} s after the run (goal: 60). {_as_received(mail)}"

    def corrected(self, bar: Bar) -> str:
        """Correct the records at the source: the next sync loads them, and one mail says that it is over."""
        try:
            right = {"quantityOnStock": 25, "availableQuantity": 25}
            for record in self._broken:
                self._sandbox.set_fields("inventory", record["id"], right)
            self._sync(bar)
            mail, waited_s = self._next_mail(bar, 2)
            expect(mail["subject"].startswith("[closed]"), f"the mail is {mail['subject']}")
            return f"{waited_s:.0f} s after the run. {_as_received(mail)}"
        finally:
            self._hub.delete(path_of("alert-routes", _ROUTE), if_match=None)

    def _sync(self, bar: Bar) -> dict[str, Any]:
        run: dict[str, Any] = self._run.sync(_STREAM, {"keys": [record["sku"] for record in self._broken]}, bar)
        return run

    def _next_mail(self, bar: Bar, number: int) -> tuple[dict[str, str], float]:
        """Wait until the mail server has as many mails for us as *number*, and return the last with the seconds it took."""
        began = time.monotonic()
        while len(mails := [mail for mail in self._mail_server.mails() if mail["to"] == self._to]) < number:
            expect(time.monotonic() - began < _MISSING_AFTER_S, "no mail came: ./hub alerts messages")
            bar.update("Waiting for the mail")
            time.sleep(0.5)
        expect(len(mails) == number, f"{len(mails)} mails came, and not {number}")
        return mails[-1], time.monotonic() - began


def _as_received(mail: dict[str, str]) -> str:
    return f"As received: {mail['subject']!r}: {' '.join(mail['text'].split())!r}"
