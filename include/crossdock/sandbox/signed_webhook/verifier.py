"""The simulated receiver: verifies ID, time and signature, and counts a message that comes again once."""

import argparse
import base64
import hashlib
import hmac
import os
import time
from typing import Self

from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.problems import Problem
from crossdock.sandbox.engine.receiver import Receiver
from crossdock.sandbox.engine.system import LOOPBACK, Report

_TOLERANCE_S = 300
_SECRET = "whsec_" + base64.b64encode(b"the sandbox's own secret").decode()


class FakeReceiver(Receiver):
    """One receiver; as a context manager it listens until the block ends."""

    def __init__(self, *, port: int = 0, host: str = LOOPBACK, secret: str = _SECRET) -> None:
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            secret: `whsec_…`, which the sender has, too.

        Raises:
            OSError: the port is taken.

        """
        super().__init__(port=port, host=host)
        self.secret = secret
        #: How often each ID came.
        self.times: dict[str, int] = {}

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:  # noqa: ARG003 - nothing takes long
        parser.epilog = "Its secret comes from SANDBOX_WEBHOOK_SECRET."
        options = parser.parse_args(arguments)
        return cls(port=options.port, host=options.host, secret=os.environ.get("SANDBOX_WEBHOOK_SECRET", _SECRET))

    def take(self, request: Request) -> Response:
        message_id = self._verified_id(request)
        message = request.json()
        # Kept before it is counted: of two at once, one is kept twice rather than none.
        if message_id not in self.times:
            self.keep({"id": message_id, "body": message})
        self.times[message_id] = self.times.get(message_id, 0) + 1
        return Response(204, b"")

    def _verified_id(self, request: Request) -> str:
        message_id, timestamp, signatures = (
            request.headers.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature")
        )
        if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > _TOLERANCE_S:
            raise Problem(400, "The timestamp is not one of now.", "InvalidTimestamp")
        key = base64.b64decode(self.secret.removeprefix("whsec_"))
        signed = f"{message_id}.{timestamp}.".encode() + request.body
        expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        if not any(hmac.compare_digest(expected.encode(), given.encode()) for given in signatures.split()):
            raise Problem(401, "The signature is not one of this message.", "InvalidSignature")
        return message_id
