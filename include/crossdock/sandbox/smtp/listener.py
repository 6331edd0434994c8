"""Listens for mail in a thread with an event loop of its own."""

import asyncio
import contextlib
import socket
import ssl
import threading
from functools import partial

from crossdock.sandbox.engine.faults import Faults
from crossdock.sandbox.smtp.outbox import Outbox
from crossdock.sandbox.smtp.protocol import Account, Protocol, Stages


class Listener:
    """The mail server's port."""

    def __init__(
        self,
        address: tuple[str, int],
        faults: Faults,
        outbox: Outbox,
        *,
        account: Account | None,
        tls: ssl.SSLContext | None,
        tls_from_start: bool,
        max_bytes: int,
    ) -> None:
        """
        Take the port.

        Raises:
            OSError: it is taken.

        """
        self._socket = socket.create_server(address)
        self.port: int = self._socket.getsockname()[1]
        self._tls_from_start = tls if tls_from_start else None
        self._loop = asyncio.new_event_loop()
        self._protocol = partial(
            Protocol,
            Stages(faults, outbox),
            account,
            tls_context=None if tls_from_start else tls,
            # Without STARTTLS the login comes in clear text: on loopback nobody listens.
            auth_require_tls=tls is not None and not tls_from_start,
            data_size_limit=max_bytes,
            loop=self._loop,
        )
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sandbox-smtp", daemon=True)

    def start(self) -> None:
        """Listen. Returns when it does: a loop that is stopped before would end in an error of its thread."""
        self._thread.start()
        self._listening.wait(10)

    def stop(self) -> None:
        """Close the port and all connections, including those that a fault holds."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
        else:
            self._loop.close()
        self._socket.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listening = self._loop.create_server(self._protocol, sock=self._socket, ssl=self._tls_from_start)
        server = self._loop.run_until_complete(listening)
        self._listening.set()
        self._loop.run_forever()
        server.close()
        running = asyncio.all_tasks(self._loop)
        for task in running:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(asyncio.gather(*running, return_exceptions=True))
        self._loop.close()
