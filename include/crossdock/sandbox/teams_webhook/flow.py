"""The simulated flow: takes cards as a webhook of Teams' Workflows does, within its size, and answers 202 with nothing."""

import argparse
import hmac
import os
from typing import Any, Self

from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.receiver import Receiver
from crossdock.sandbox.engine.system import LOOPBACK, Report

_PATH = ("workflows", "0a1b2c3d", "triggers", "manual", "paths", "invoke")
_MAX_BYTES = 28 * 1024
_CARD = "application/vnd.microsoft.card.adaptive"


class FlowProblem(Problem):
    """A refusal in the form of the vendor's gateway."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(status, message, code)
        self.body = {"error": {"code": code, "message": message}}


class FakeTeams(Receiver):
    """One webhook; as a context manager it listens until the block ends."""

    def __init__(self, *, port: int = 0, host: str = LOOPBACK, signature: str = "sandboxsandboxsandboxsandbox") -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            signature: `sig` in the query of the webhook's URL, its secret.

        Raises:
            OSError: the port is taken.

        """
        super().__init__(port=port, host=host)
        self.signature = signature
        query = f"api-version=1&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig={signature}"
        self.webhook_url = f"{self.url}/{'/'.join(_PATH)}?{query}"

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:  # noqa: ARG003 - nothing takes long
        parser.epilog = f"`sig` in the query of its URL, /{'/'.join(_PATH)}, comes from SANDBOX_TEAMS_SIGNATURE."
        options = parser.parse_args(arguments)
        signature = os.environ.get("SANDBOX_TEAMS_SIGNATURE", "sandbox")
        return cls(port=options.port, host=options.host, signature=signature)

    def problem_of(self, status: int) -> Problem:
        return FlowProblem(status, "ScriptedFault", f"A fault script set the status {status}.")

    def take(self, request: Request) -> Response:
        (given,) = request.query.get("sig", [""])[:1]
        if request.parts != _PATH:
            raise FlowProblem(404, "WorkflowNotFound", "The workflow could not be found.")
        if not hmac.compare_digest(given.encode(), self.signature.encode()):
            raise FlowProblem(401, "DirectApiAuthorizationRequired", "The request must be authenticated.")
        if len(request.body) > _MAX_BYTES:
            raise FlowProblem(413, "RequestEntityTooLarge", "Message size too large.")
        message = request.json()
        _check(message)
        self.keep(message)
        return Response(202, b"")


def _check(message: dict[str, Any]) -> None:
    attachments = message.get("attachments")
    if message.get("type") != "message" or not isinstance(attachments, list) or not attachments:
        raise FlowProblem(400, "BadRequest", "The message has no attachments.")
    for attachment in attachments:
        card = attachment.get("content")
        if attachment.get("contentType") != _CARD or not isinstance(card, dict) or card.get("type") != "AdaptiveCard":
            raise FlowProblem(400, "BadRequest", "The attachment is not an Adaptive Card.")
