"""The simulated webhook: takes messages as Slack does, within its limits, and refuses others in its own words."""

import argparse
import os
from collections.abc import Iterator
from typing import Any, Self

from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.problems import NotJsonError
from crossdock.sandbox.engine.receiver import Receiver
from crossdock.sandbox.engine.system import LOOPBACK, Report

_MOST_BLOCKS, _LONGEST_TEXT, _LONGEST_HEADER = 50, 3_000, 150
#: All that the sandbox simulates, with the fields that each must have.
_BLOCKS = {"rich_text": ("elements",), "section": ("text",), "header": ("text",), "divider": ()}


class FakeSlack(Receiver):
    """One webhook of one workspace; as a context manager it listens until the block ends."""

    def __init__(self, *, port: int = 0, host: str = LOOPBACK, token: str = "sandboxsandboxsandboxsan") -> None:  # noqa: S107 - the sandbox's own
        """
        Take the port.

        Args:
            port: Where to listen; 0 for any free port.
            host: The address to listen on. Only a container has a reason to use another than loopback.
            token: The last part of the webhook's URL, its secret.

        Raises:
            OSError: the port is taken.

        """
        super().__init__(port=port, host=host)
        self.token = token
        self._path = ("services", "T00000000", "B00000000", token)
        self.webhook_url = f"{self.url}/{'/'.join(self._path)}"

    @classmethod
    def from_command(cls, parser: argparse.ArgumentParser, arguments: list[str] | None, report: Report) -> Self:  # noqa: ARG003 - nothing takes long
        parser.epilog = "The last part of its URL, /services/T00000000/B00000000/…, comes from SANDBOX_SLACK_TOKEN."
        options = parser.parse_args(arguments)
        return cls(port=options.port, host=options.host, token=os.environ.get("SANDBOX_SLACK_TOKEN", "sandbox" * 3))

    def take(self, request: Request) -> Response:
        if request.parts != self._path:
            return _text(404, "no_service")
        try:
            message = request.json()
        except NotJsonError:
            return _text(400, "invalid_payload")
        if not message.get("text"):
            return _text(400, "no_text")
        if any(_faults_in(message.get("blocks", []))):
            return _text(400, "invalid_blocks")
        self.keep(message)
        return _text(200, "ok")


def _text(status: int, text: str) -> Response:
    return Response(status, text.encode(), "text/html")


def _faults_in(blocks: Any) -> Iterator[str]:
    if not isinstance(blocks, list) or len(blocks) > _MOST_BLOCKS:
        yield "too many blocks"
        return
    for block in blocks:
        needed = _BLOCKS.get(block.get("type"))
        if needed is None or not all(block.get(name) for name in needed):
            yield f"{block.get('type')} is not a whole block"
        longest = _LONGEST_HEADER if block.get("type") == "header" else _LONGEST_TEXT
        yield from (f"a text of {len(text)} characters" for text in _texts(block) if not 0 < len(text) <= longest)


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for item in part:
            yield from _texts(item)
    elif isinstance(part, dict):
        for name, value in part.items():
            if name == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
