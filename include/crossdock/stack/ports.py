"""The ports of the local stack: the preferred one, or the next free one; the same after a restart."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import IO

from crossdock.client.errors import StackError
from crossdock.stack.home import home, make_private_folder, read_json, write_json

LOOPBACK = "127.0.0.1"
#: Of the address of a database: log in by SCRAM alone, in which the server proves that it knows the password's verifier and
#: gets no password. A program that took the port could otherwise ask for it in clear text.
ONLY_SCRAM = "require_auth=scram-sha-256"

#: The preferred port of each server; VARIABLES name the settings that change it.
PREFERRED = {
    "airflow": 8080,
    "metadata": 15432,
    "hub-db": 15433,
    "sandbox": 8090,
    "mail-server": 8095,
    "smtp": 2525,
    "sendgrid": 8096,
}
VARIABLES = {
    "airflow": "HUB_PORT_AIRFLOW",
    "metadata": "HUB_PORT_METADATA",
    "hub-db": "HUB_PORT_DB",
    "sandbox": "HUB_PORT_SANDBOX",
    "mail-server": "HUB_PORT_MAIL_SERVER",
    "smtp": "HUB_PORT_SMTP",
    "sendgrid": "HUB_PORT_SENDGRID",
}
_TRIES = 200
_HIGHEST = 65535


def is_free(port: int) -> bool:
    """Whether a server could listen on *port* of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Otherwise a port whose last connections are in TIME_WAIT looks taken for a minute after `down`.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def answers(port: int, *, timeout_s: float = 1.0) -> bool:
    """Whether something accepts connections on *port* of 127.0.0.1."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout_s):
            return True
    except OSError:
        return False


def saved() -> dict[str, int]:
    """Read the ports of the last start, by server name; empty before the first."""
    found = read_json(home() / "ports.json") or {}
    return {name: int(port) for name, port in found.items() if name in PREFERRED}


#: Ports that this process has reserved → the open file that holds the lock.
_reserved: dict[int, IO[bytes]] = {}


def _reserve(port: int) -> bool:
    """
    Keep other stacks of this user from choosing *port*, until this process ends: by then our server listens there.

    Two stacks that start in the same moment would both find it free, and one of them would fail half a minute later.
    """
    if port in _reserved:
        return True
    try:
        file = (_reservations() / str(port)).open("ab")
    except OSError:  # A full disk: then the port is as free as it looks.
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _reserved[port] = file
    return True


def _reservations() -> Path:
    """Find the folder of the locks, one file for each port that was ever chosen. Another user's would not be ours to open."""
    return make_private_folder(Path(tempfile.gettempdir()) / f"crossdock-ports-{os.getuid()}")


def assign(*, in_use_by_us: Collection[str] = ()) -> dict[str, int]:
    """
    Choose a port for every server, reserve it, and save the choice for the next start.

    Args:
        in_use_by_us: Servers of this stack that are running; they keep their ports.

    Raises:
        StackError: A variable does not hold a port number, or no port near the preferred one is free.

    """
    before = saved()
    ports = {name: before[name] for name in in_use_by_us if name in before}
    for name in PREFERRED:
        if name not in ports:
            ports[name] = _free_from(_preferred(name, before), taken=set(ports.values()))
    write_json(home() / "ports.json", ports)
    return ports


def _preferred(name: str, before: dict[str, int]) -> int:
    value = os.environ.get(VARIABLES[name])
    if value is None:
        return before.get(name, PREFERRED[name])
    if not value.isdecimal() or not 0 < int(value) <= _HIGHEST:
        raise StackError(f"{VARIABLES[name]} is {value!r}. Expected a port number from 1 to {_HIGHEST}.")
    return int(value)


def _free_from(first: int, *, taken: Collection[int]) -> int:
    for port in range(first, min(first + _TRIES, _HIGHEST + 1)):
        if port not in taken and is_free(port) and _reserve(port):
            return port
    raise StackError(f"No free port from {first} to {first + _TRIES - 1}. Choose others, e.g. HUB_PORT_AIRFLOW=18080.")


def free_port() -> int:
    """Find any free port of 127.0.0.1, for a server that lives as long as a command."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port
