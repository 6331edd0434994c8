"""A system that takes charges: each is an effect that must not happen twice. Over real sockets, with faults by script."""

from __future__ import annotations

import argparse
import json
import threading
from typing import Any, Self

from crossdock.http.client import HttpClient
from crossdock.http.model import KeyRules, Limits
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.system import Report, SimulatedSystem
from tests.http.raw_server import QUICK

#: As Stripe's: it replays every answer for a day.
A_DAY = KeyRules(window_s=86_400)
BODY = {"amount_minor": 4200, "order": "4711"}


class ChargingServer(SimulatedSystem):
    """
    Charges at each POST. With *knows_keys* it charges once for each key, and replays the answer.

    An amount beyond *funds_minor* is declined, with HTTP 200 and a word as the reason.
    """

    def __init__(self, *faults: Any, knows_keys: bool = True, funds_minor: int = 1_000_000) -> None:
        super().__init__()
        self._knows_keys = knows_keys
        self._funds_minor = funds_minor
        self._lock = threading.Lock()
        self._answers: dict[str, Response] = {}
        #: The body of each charge.
        self.charges: list[bytes] = []
        #: The key and the body of each request that came to the system.
        self.received: list[tuple[str | None, bytes]] = []
        self.faults.put("*", list(faults))

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        raise NotImplementedError

    def client(self, *, limits: Limits = QUICK, **options: Any) -> HttpClient:
        return HttpClient("acme", self.url, limits=limits, **options)

    def respond(self, request: Request, route: str, fault: Fault) -> Response:  # noqa: ARG002  the engine applies both
        with self._lock:
            return self._charge(request)

    def _charge(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        self.received.append((key, request.body))
        if self._knows_keys and key in self._answers:
            return self._answers[key]
        if _amount_minor(request.body) > self._funds_minor:
            response = json_response(200, {"declined": "no_funds"})
        else:
            self.charges.append(request.body)
            response = json_response(201, {"charge": len(self.charges)})
        if key is not None:
            self._answers[key] = response
        return response


def _amount_minor(body: bytes) -> int:
    document = json.loads(body or b"null")
    return document.get("amount_minor") or 0 if isinstance(document, dict) else 0
