"""No password goes to a program that listens where a server of the local stack should."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

import psycopg
import pytest

from crossdock.client import proof
from crossdock.client.airflow import AirflowApi
from crossdock.client.errors import StrangerAnswers
from crossdock.core.stack_proof import CHALLENGE, KEY_VARIABLE, PROOF, proof_of
from crossdock.sandbox.engine.proof import proof_headers
from crossdock.stack.ports import ONLY_SCRAM
from tests.sandbox.echo import EchoSystem

KEY = "the key of the stack"
PASSWORD = "a password that nobody else may see"


@dataclass
class Stranger:
    """A program on a port of ours: it answers everything with *answer*, and keeps what it got."""

    answer: bytes
    got: bytearray = field(default_factory=bytearray)
    port: int = 0

    @contextmanager
    def listening(self) -> Iterator[Stranger]:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.port = server.getsockname()[1]
            Thread(target=self._serve, args=(server,), daemon=True).start()
            yield self

    def _serve(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = server.accept()
                Thread(target=self._talk, args=(client,), daemon=True).start()

    def _talk(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            while got := client.recv(65536):
                self.got += got
                client.sendall(self.answer)


_OK = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 21\r\n\r\n{"access_token": "t"}'
#: AuthenticationCleartextPassword: what libpq answers with the password, unless it is told otherwise.
_ASKS_FOR_PASSWORD = b"R\x00\x00\x00\x08\x00\x00\x00\x03"


def test_a_stranger_on_the_port_of_the_api_server_gets_no_password() -> None:
    """Ours has ended, and another program that speaks HTTP has taken its port."""
    with Stranger(_OK).listening() as stranger:
        api = AirflowApi(f"http://127.0.0.1:{stranger.port}", "admin", PASSWORD, stack_key=KEY)

        with pytest.raises(StrangerAnswers, match="no password was sent"):
            api.get("/dags")

    assert CHALLENGE.encode() in stranger.got
    assert PASSWORD.encode() not in stranger.got
    assert KEY.encode() not in stranger.got


def test_a_stranger_that_speaks_no_http_is_one() -> None:
    with Stranger(b"220 mail ready\r\n").listening() as stranger, pytest.raises(StrangerAnswers):
        proof.refuse_stranger(f"http://127.0.0.1:{stranger.port}", proof.OF_SANDBOX, KEY, timeout_s=60)


def test_a_stranger_on_the_port_of_postgresql_gets_no_password() -> None:
    """It asks for the password in clear text, as a server may. The alert sender and all workers connect again and again."""
    with Stranger(_ASKS_FOR_PASSWORD).listening() as stranger:
        address = f"postgresql://hub:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{stranger.port}/hub?{ONLY_SCRAM}"

        with pytest.raises(psycopg.OperationalError, match="auth"):
            psycopg.connect(f"{address}&sslmode=disable&gssencmode=disable", connect_timeout=60)

    assert stranger.got
    assert PASSWORD.encode() not in stranger.got


def test_a_simulated_system_proves_that_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    with EchoSystem() as system:
        assert proof.is_proven(system.url, proof.OF_SANDBOX, KEY, timeout_s=60)
        assert not proof.is_proven(system.url, proof.OF_SANDBOX, "another key", timeout_s=60)


def test_a_challenge_that_is_passed_on_to_our_server_proves_nothing() -> None:
    """A stranger may ask our server, which now listens on another port."""
    assert proof_of(KEY, "c", 8080) != proof_of(KEY, "c", 8081)


def test_the_sandbox_which_imports_nothing_of_the_hub_computes_the_same_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    long = "c" * 1000

    for challenge in ("c", long, "\udcff"):
        assert proof_headers({CHALLENGE.lower(): challenge}, 8090) == {PROOF: proof_of(KEY, challenge, 8090)}


def test_without_a_key_or_a_challenge_nothing_is_proven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    assert proof_headers({CHALLENGE.lower(): "c"}, 8090) == {}
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    assert proof_headers({}, 8090) == {}
