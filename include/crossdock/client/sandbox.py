"""A client of the sandbox's control routes: its simulation, its faults, its log."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import requests

from crossdock.client.errors import StackError
from crossdock.core.errors import BadRequest
from crossdock.core.paths import path_of

_TIMEOUT_S = 60.0


class SandboxControl:
    """The control routes of a running sandbox. They are open on loopback, but not to web pages."""

    def __init__(self, url: str) -> None:
        self.url = url

    def live(self, **changes: int) -> dict[str, Any]:
        """Let the shop change records now; return kind → list of ids, versions and keys."""
        return self._call("POST", "/life", changes)

    def break_down(self, route: str, script: list[Any], *, repeat: bool) -> None:
        self._call("PUT", "/faults", {"route": route, "script": script, "repeat": repeat})

    def heal(self) -> None:
        self._call("DELETE", "/faults")

    def set_clock(self, offset_s: float) -> None:
        """Let the shop's clock be so many seconds ahead of the right time from now on; 0 for right."""
        self._call("PUT", "/clock", {"offset_s": offset_s})

    def requests(self) -> list[dict[str, Any]]:
        """List every request so far, oldest first."""
        return list(self._call("GET", "/requests")["requests"])

    def checksum(self, entity: str) -> dict[str, Any]:
        return self._call("GET", path_of("checksum", entity))

    def ledger(self) -> list[tuple[str, int]]:
        """List what moved money at a simulated payment provider, by its own account: kind and amount in minor units."""
        document = self._call("GET", "/ledger")
        return [
            (move["kind"], move.get("amount", move.get("value")))
            for move in document.get("movements") or document.get("entries") or ()
        ]

    def mails(self) -> list[dict[str, str]]:
        """List the mails that a simulated mail system has accepted: `to`, `subject` and `text` of each."""
        return [_mail(found) for found in self._call("GET", "/outbox")["mails"]]

    def verification_key(self) -> str:
        """Read the key by which the events of a simulated mail system are verified."""
        return str(self._call("GET", "/webhook")["public_key"])

    def send_events_to(self, url: str | None) -> None:
        """Send the events of a simulated mail system to *url* from now on; None for nowhere."""
        self._call("PUT", "/webhook", {"url": url})

    def send_events_again(self) -> None:
        """Send the events of all mails that a simulated mail system has accepted."""
        self._call("POST", "/events")

    def set_fields(self, entity: str, record_id: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Set *fields* of a record directly, past the vendor's own checks; return the record."""
        return self._call("PATCH", path_of("resource", entity, record_id), fields)

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        try:
            answer = requests.request(method, f"{self.url}/_sandbox{path}", json=body, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise StackError(f"The sandbox at {self.url} does not answer. Try: ./hub up") from error
        if answer.status_code == HTTPStatus.BAD_REQUEST:
            raise BadRequest(f"The sandbox refused the request: {answer.json().get('message', answer.text[:300])}")
        if not answer.ok:
            raise StackError(f"The sandbox refused: {answer.text[:500]}")
        document: dict[str, Any] = answer.json() if answer.content else {}
        return document


def _mail(found: dict[str, Any]) -> dict[str, str]:
    """Read a mail as a simulated SendGrid or a mail server shows it."""
    if "personalizations" in found:
        to, text = found["personalizations"][0]["to"][0]["email"], found["content"][0]["value"]
    else:
        to, text = found["recipient"], found["text"]
    return {"to": to, "subject": found["subject"], "text": text}
