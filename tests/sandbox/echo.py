"""The smallest simulated system: it answers every request with what it was sent."""

from __future__ import annotations

import argparse
from typing import Any, Self

from crossdock.sandbox.engine.faults import Fault, check_true
from crossdock.sandbox.engine.messages import Request, Response, json_response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.system import Report, SimulatedSystem


class EchoSystem(SimulatedSystem):
    fault_routes = ("echo",)
    fault_kinds = {"shout": check_true}  # noqa: RUF012 - read only
    number_fields = ("length",)

    greeting = "hello"

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:
        parser.add_argument("--greeting", default=cls.greeting)
        options = parser.parse_args(arguments)
        report("opening the echo")
        system = cls(port=options.port, host=options.host)
        system.greeting = options.greeting
        return system

    def route_of(self, request: Request) -> str:
        return "echo" if request.parts == ("echo",) else "*"

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        if route != "echo":
            raise Problem(404, "There is only /echo.", "NotFound")
        text = f"{self.greeting} {request.json()['text']}"
        return json_response(200, {"text": text.upper() if fault.kind == "shout" else text, "length": len(text)})

    def describe(self) -> dict[str, Any]:
        return {**super().describe(), "greeting": self.greeting}
