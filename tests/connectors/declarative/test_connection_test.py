"""The connection test of a declared system: it asks what a sync asks, and blames what is to blame."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from crossdock.connectors.declarative.connection_test import DeclaredConnectionTest
from crossdock.http.config import client_config_of
from crossdock.http.connection import Connection
from crossdock.integrations.connection_test import run_checks
from crossdock.integrations.model import Check, CheckOutcome
from tests.connectors.declarative.worlds import BASE, HERE, declared, written
from tests.http.raw_server import RawServer, answer


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the declarations."""
    monkeypatch.setenv("HUB_DECLARATIONS", str(tmp_path))
    return tmp_path


def checks_of(url: str, folder: Path, document: dict[str, Any], **fields: Any) -> dict[str, Check]:
    written(folder, document)
    connection = Connection(connection_id="a_list", conn_type="declared", host=url, extra=HERE, **fields)
    checks = run_checks(DeclaredConnectionTest(connection), allowed=client_config_of(connection).allowed_networks)
    return {check.name: check for check in checks}


PAGED = {"paging": {"kind": "offset", "parameter": "from", "size_parameter": "size", "size": 100}}
ITEMS = answer(b'{"items": []}')
TOO_MANY = answer(b'{"message": "at most 50"}', "400 Bad Request")
NEXT_ELSEWHERE = answer(b'{"items": [], "next": "https://elsewhere.example/2"}')


@pytest.mark.parametrize(
    ("read", "reply", "says"),
    [
        ({}, lambda _: answer(b'{"items": []}', headers={"Date": ""}), "has no Date header"),
        (PAGED, lambda _: ITEMS, None),
        (PAGED, lambda asked: TOO_MANY if "size=100" in asked else ITEMS, "at most 50"),
        ({"changed_since": {"parameter": "q"}}, lambda asked: TOO_MANY if "q=" in asked else ITEMS, "at most 50"),
        ({"paging": {"kind": "link", "next": "next"}}, lambda _: NEXT_ELSEWHERE, "another server"),
    ],
    ids=["no clock", "in order", "a page of the declared size", "a delta", "the next page"],
)
def test_a_test_of_a_connection_asks_what_a_sync_asks(
    read: dict[str, Any],
    reply: Callable[[str], bytes],
    says: str | None,
    folder: Path,
) -> None:
    """It passed where no sync could ever end."""

    def act(connection: socket.socket) -> None:
        connection.sendall(reply(server.requests[-1].splitlines()[0]))

    with RawServer(act) as server:
        checks = checks_of(server.url, folder, declared("rest", read=read))

    assert (checks["sample"].outcome is CheckOutcome.FAILED) == bool(says)
    assert (says or "") in checks["sample"].message


CUT_SHORT = answer(b'{"items": []}', headers={"Content-Length": "63"})


@pytest.mark.parametrize(
    ("auth", "reply", "failed", "hint"),
    [
        ("none", CUT_SHORT, "sample", "was not reached or did not answer whole"),
        ("none", answer(b"{}", "423 Locked"), "sample", "its reply says why"),
        ("none", answer(b"{}", "520 X"), "sample", "busy or down"),
        ("none", answer(b"{}", "401 Unauthorized"), "credentials", "Enter the ID and the secret"),
        ("bearer", CUT_SHORT, "sample", "was not reached or did not answer whole"),
        ("bearer", answer(b"{}", "423 Locked"), "sample", "its reply says why"),
        ("bearer", answer(b"{}", "404 Not Found"), "sample", "Check what follows the host"),
        ("bearer", answer(b"{}", "401 Unauthorized"), "credentials", "Enter the ID and the secret"),
        ("bearer", answer(b"{}", "403 Forbidden"), "scope", "Grant the credentials access"),
        ("bearer", answer(b"{}", "403 Forbidden", {"Retry-After": "1"}), "sample", "busy or down"),
        ("oauth2", answer(b'{"error": "invalid_client"}', "400 Bad"), "credentials", "Enter the ID and the secret"),
        ("oauth2", answer(b"{}", "503 Down"), "credentials", "busy or down"),
    ],
)
def test_a_test_of_a_connection_blames_what_is_to_blame(
    auth: str, reply: bytes, failed: str, hint: str, folder: Path
) -> None:
    """A reset connection sent people to credentials that were not even declared."""
    with RawServer(reply) as server:
        checks = checks_of(server.url, folder, BASE | {"auth": {"kind": auth}}, login="me", password="secret")

    outcomes = {name: check.outcome for name, check in checks.items()}
    assert [name for name, outcome in outcomes.items() if outcome is CheckOutcome.FAILED] == [failed]
    assert hint in str(checks[failed].hint)
    if auth == "none" and failed != "credentials":
        assert outcomes["credentials"] is CheckOutcome.SKIPPED
