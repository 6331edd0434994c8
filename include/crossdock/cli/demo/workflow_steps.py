"""The steps of the demo with a workflow that people declare in a file. It is deployed no more afterwards."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from crossdock.cli.console import Bar
from crossdock.cli.demo.checks import expect
from crossdock.cli.demo.run import DemoRun
from crossdock.client.hub import HubApi
from crossdock.client.sandbox import SandboxControl
from crossdock.core.paths import path_of

_FILE = Path(__file__).parents[4] / "docs/workflows/low_stock_alert.yaml"
_WORKFLOW, _MAIL_SERVER = "low_stock_alert", "mail_server"
#: After that something is missing, and not slow, on a machine with twenty times the work that it can do.
_MISSING_AFTER_S = 600.0

_Document = dict[str, Any]


class WorkflowSteps:
    """The steps with a workflow. Whatever the hub says is compared with what the mail server has accepted."""

    def __init__(self, run: DemoRun) -> None:
        self._hub = HubApi(run.stack.api())
        self._mails = SandboxControl(run.stack.mail_server_url)

    def completed(self, bar: Bar) -> str:
        """Validate, test, deploy and execute a workflow, and watch it to its end."""
        with self._deployed(bar) as deployed:
            to = _new_supplier()
            status = self._executed({"sku": "WB-001", "supplier": to}, bar)
            expect(status["state"] == "COMPLETED", f"it is {status['state']}: {status['reason']}", _look_at(status))
            received = len(self._received(to))
            expect(received == 1, f"the mail server has {received} mails to {to}", _look_at(status))
            return (
                f"version {deployed['version']} tested, deployed and executed as a run of the DAG {deployed['dag_id']}: "
                f"{_steps_of(status)}; the supplier has one mail"
            )

    def failed_and_replayed(self, bar: Bar) -> str:
        """Execute it with an address that nobody can send to: a dead letter, which is fixed and replayed."""
        with self._deployed(bar):
            to = _new_supplier()
            status = self._executed({"sku": "WB-002", "supplier": "nobody"}, bar)
            is_failed = status["state"] == "FAILED"
            expect(is_failed, f"it is {status['state']}, though nobody can send to its address", _look_at(status))
            dead = self._until(lambda: self._dead_letter_of(status["execution_id"]), "the dead letter", bar)
            path = path_of("dead-letters", str(dead["dead_letter_id"]))
            self._hub.patch(path, {"changes": {"params.supplier": to}})
            self._hub.post("/dead-letter-replays", {"dead_letter_ids": [dead["dead_letter_id"]]})
            self._until(lambda: self._received(to), "the mail", bar)
            look = f"./hub dead-letters show {dead['dead_letter_id']}"
            expect(len(self._received(to)) == 1, f"the mail server has {len(self._received(to))} mails to {to}", look)
            return f"{_steps_of(status)}; its dead letter was fixed and replayed, and the supplier has one mail"

    @contextmanager
    def _deployed(self, bar: Bar) -> Iterator[_Document]:
        bar.update("Testing the mail server's connection")
        self._hub.post(path_of("integrations", _MAIL_SERVER, "test"), {})
        bar.update("Testing and deploying the workflow")
        self._hub.post("/workflows", {"definition": _FILE.read_text(encoding="utf-8")})
        tested = self._hub.post(path_of("workflows", _WORKFLOW, "test"), {}).document
        expect(tested["state"] == "COMPLETED", f"its test run is {tested['state']}: {tested['message']}")
        try:
            yield self._hub.put(path_of("workflows", _WORKFLOW, "deploy"), {}).document
        finally:
            self._hub.delete(path_of("workflows", _WORKFLOW, "deploy"), if_match=None)

    def _executed(self, params: _Document, bar: Bar) -> _Document:
        """Execute it, and watch it until it has ended."""
        started = self._hub.post(path_of("workflows", _WORKFLOW, "execute"), {"params": params}).document
        at = path_of("executions", started["execution_id"], "status")

        def ended() -> _Document | None:
            status: _Document = self._hub.get(at).document
            bar.update(_steps_of(status))
            return status if status["state"] != "RUNNING" else None

        found: _Document = self._until(ended, "its end", bar)
        return found

    def _dead_letter_of(self, execution_id: str) -> _Document | None:
        found = self._hub.pages("/dead-letters", "dead_letters", subscriber="failed_executions")
        return next((each for each in found if each["event"]["subject"] == execution_id), None)

    def _received(self, to: str) -> list[dict[str, str]]:
        return [mail for mail in self._mails.mails() if mail["to"] == to]

    def _until(self, find: Callable[[], Any], what: str, bar: Bar) -> Any:
        bar.update(f"Waiting for {what}")
        began = time.monotonic()
        while not (found := find()):
            expect(time.monotonic() - began < _MISSING_AFTER_S, f"{what} did not come")
            time.sleep(0.2)
        return found


def _new_supplier() -> str:
    return f"orders-{uuid.uuid4().hex[:8]}@supplier.example"


def _look_at(status: _Document) -> str:
    return f"./hub workflow trace {status['execution_id']}"


def _steps_of(status: _Document) -> str:
    return ", ".join(f"{step['name']} {step['state']}" for step in status["steps"])
