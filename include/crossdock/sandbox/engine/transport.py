"""Sending a response: whole, or as a fault wants it (cut short, byte by byte, never)."""

import select
import socket
import struct
import threading
import time
from dataclasses import dataclass
from email.utils import formatdate
from uuid import uuid4

from crossdock.sandbox.engine.faults import OK, Fault
from crossdock.sandbox.engine.messages import Response

_TICK_S = 0.05


@dataclass(frozen=True)
class Transport:
    """The connection of one client, for one response."""

    socket: socket.socket
    #: Set when the server stops; threads that wait here return at once.
    stopping: threading.Event

    def send(self, response: Response, *, correlation_id: str | None, last: bool, fault: Fault = OK) -> bool:
        """
        Send the response, as *fault* wants it.

        Args:
            response: What to send.
            correlation_id: The client's own, which is sent back to it.
            last: Announce that the connection closes after this response.
            fault: What should go wrong.

        Returns:
            True if the connection can carry another request.

        """
        head = _head(response, correlation_id, last=last)
        match fault.kind:
            case "truncate":
                self.socket.sendall(head + response.body[: int(len(response.body) * fault.value)])
                return False
            case "drip":
                self.socket.sendall(head)
                self._drip(response.body, fault.value)
            case "drip_headers":
                self._drip(head, fault.value)
                self.socket.sendall(response.body)
            case _:
                self.socket.sendall(head + response.body)
        return not last

    def hold(self, seconds: float) -> None:
        """Send nothing until the client disconnects or *seconds* have passed."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.stopping.is_set():
            readable, _, _ = select.select([self.socket], [], [], _TICK_S)
            if readable and not self.socket.recv(1, socket.MSG_PEEK):
                return
            if readable:  # The client sent a second request, which has to wait: do not spin on it.
                self.stopping.wait(_TICK_S)

    def reset(self) -> None:
        """Drop the connection with an RST: closing with a linger time of zero sends one."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _drip(self, data: bytes, bytes_per_s: float) -> None:
        step = max(1, int(bytes_per_s * _TICK_S))
        for at in range(0, len(data), step):
            self.socket.sendall(data[at : at + step])
            if self.stopping.wait(step / bytes_per_s):
                return


def _head(response: Response, correlation_id: str | None, *, last: bool) -> bytes:
    lines = [
        f"HTTP/1.1 {response.status} {response.reason}",
        *(() if "Date" in response.headers else (f"Date: {formatdate(usegmt=True)}",)),
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"X-Correlation-ID: {correlation_id or f'sandbox-{uuid4()}'}",
        f"Connection: {'close' if last else 'keep-alive'}",
        *(f"{name}: {value}" for name, value in response.headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
