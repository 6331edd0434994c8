"""A TCP relay in front of PostgreSQL that can stand still, as a server that is stopped or a network that drops everything."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self

import psycopg

from tests.shop import free_port


class Relay:
    """Connections are taken and pass through, until it is frozen: then they are still taken, and nothing passes."""

    def __init__(self, dsn: str) -> None:
        place = psycopg.conninfo.conninfo_to_dict(dsn)
        self._to = (str(place["host"]), int(str(place["port"])))
        self._port = free_port()
        self.dsn = psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=self._port)
        self._flows = threading.Event()
        self._flows.set()
        self._open: list[socket.socket] = []

    def freeze(self) -> None:
        self._flows.clear()

    def thaw(self) -> None:
        self._flows.set()

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", self._port), backlog=512)
        threading.Thread(target=self._take, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.thaw()
        # `shutdown` wakes the thread in `accept`, which `close` does not.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        for each in (self._listening, *self._open):
            each.close()

    def _take(self) -> None:
        with suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                self._open.append(taken)
                threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        self._flows.wait()
        with suppress(OSError):
            server = socket.create_connection(self._to)
            self._open.append(server)
            threading.Thread(target=self._pass, args=(server, taken), daemon=True).start()
            self._pass(taken, server)

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
