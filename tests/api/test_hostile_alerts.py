"""What a caller may write into routes, mutes and acknowledgements: it is refused, or kept as text; and never our own error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, OwnKind
from tests.api.test_hostile_input import BODIES, NUMBERS, TEXTS
from tests.api.test_idempotency import AsOtto, new_key
from tests.shop import query

_KINDS = ("64 bits", "fraction", "true", "null", "object")
HOSTILE: dict[str, Any] = {
    **TEXTS,
    **{name: NUMBERS[name] for name in _KINDS},
    "many": ["ada@shop.example"] * 10_000,
    "wildcards": "*?" * 100,
}
ROUTE: dict[str, Any] = {
    "name": "ops",
    "integration": "ops_mail",
    "recipients": ["ada@shop.example"],
    "kinds": ["run_*"],
    "severity": "warning",
    "streams": ["shop.*"],
    "integrations": ["shop"],
    "quiet": {
        "zone": "Europe/Berlin",
        "windows": [{"days": ["mon"], "from": "22:00", "to": "07:00"}],
        "critical_passes": True,
    },
    "digest_over": 5,
    "remind_every_hours": 4,
}
MUTE = {"kind": "run_*", "subject": "shop.*", "integration": "*", "until": "2999-01-01T00:00:00Z", "reason": "rebuilt"}
INPUTS = {
    "/alert-routes": ROUTE,
    "/alert-mutes": MUTE,
    "/alerts/{alert_id}/acknowledge": {"until": "2999-01-01T00:00:00Z"},
}
CARD = "4111 1111 1111 1111"


@pytest.fixture
def client(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """The hub with a mail server that is a channel, and with one open alert."""
    monkeypatch.setenv("HUB_MAIL_FROM", "alerts@shop.example")
    settings.cache_clear()
    server = {"conn_type": "smtp_relay", "host": "smtps://mail.shop.example"}
    monkeypatch.setenv("AIRFLOW_CONN_OPS_MAIL", json.dumps(server))
    with store.transaction() as work:
        integrations.add(
            work,
            integration_id="ops_mail",
            kind="smtp_relay",
            name="Mail",
            settings={"url": server["host"]},
            connection_id="ops_mail",
            actor="test",
            with_credentials=False,
            tested=False,
        )
        alerts.add(work, kind=OwnKind("k"), subject="s", found=Found("wrong"))
    app = create_app()
    app.dependency_overrides |= {open_store: lambda: store}
    with TestClient(AsOtto(app), raise_server_exceptions=False) as opened:
        yield opened
    settings.cache_clear()


def send(client: TestClient, store: Store, path: str, body: bytes) -> Any:
    ((alert_id,),) = query(store, "SELECT alert_id FROM alert")
    headers = {"Idempotency-Key": new_key(), "Content-Type": "application/json"}
    return client.post(f"/v1{path.format(alert_id=alert_id)}", content=body, headers=headers)


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Find each place of a document: fields, lists and what is in them."""
    if at:
        yield at
    if isinstance(value, dict | list):
        for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(inner, (*at, name))


def with_value(document: Any, at: tuple[Any, ...], value: Any) -> bytes:
    copy = json.loads(json.dumps(document))
    inner = copy
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return json.dumps(copy).encode()


@pytest.mark.parametrize("path", INPUTS)
def test_whatever_is_written_is_refused_or_kept(client: TestClient, store: Store, path: str) -> None:
    assert send(client, store, path, json.dumps(INPUTS[path]).encode()).status_code == 200
    wrong = []
    for at in places(INPUTS[path]):
        for name, hostile in HOSTILE.items():
            answer = send(client, store, path, with_value(INPUTS[path], at, hostile))
            if answer.status_code not in {200, 400, 404, 413, 422} or len(answer.content) > 50_000:
                wrong.append((at, name, answer.status_code, answer.text[:200]))

    assert not wrong, "\n".join(map(str, wrong))
    for listed in ("/alert-routes", "/alert-mutes", "/alerts", "/alert-messages"):
        assert client.get(f"/v1{listed}").status_code == 200


def test_a_field_that_nobody_knows_is_not_repeated_at_length(client: TestClient, store: Store) -> None:
    answer = send(client, store, "/alert-mutes", json.dumps({**MUTE, "x" * 500_000: 1}).encode())

    assert answer.status_code == 400
    assert len(answer.content) < 2_000


@pytest.mark.parametrize("path", INPUTS)
@pytest.mark.parametrize("body", BODIES)
def test_a_body_that_is_no_document_is_refused(client: TestClient, store: Store, path: str, body: str) -> None:
    answer = send(client, store, path, BODIES[body].encode("utf-8", "surrogateescape"))

    assert answer.status_code in {400, 413, 422}, answer.text[:200]


@pytest.mark.parametrize("path", INPUTS)
def test_card_numbers_are_refused_wherever_they_stand(client: TestClient, store: Store, path: str) -> None:
    for at in places(INPUTS[path]):
        answer = send(client, store, path, with_value(INPUTS[path], at, f"card {CARD}"))

        assert answer.status_code == 400, at
        assert CARD not in answer.text


@pytest.mark.parametrize(
    "recipient",
    [
        "ada@shop.example\r\nRCPT TO:<eve@evil.example>",
        "ada@shop.example,eve@evil.example",
        "Ada <ada@shop.example>",
        '"a@b"@shop.example',
        "ada@shop.example>",
        "ada@[127.0.0.1]",
        "ada@shop.example\n",
        "-oQ/tmp@localhost",
        "@shop.example",
    ],
)
def test_a_recipient_is_one_address(client: TestClient, store: Store, recipient: str) -> None:
    """And no second command, header, name or argument."""
    answer = send(client, store, "/alert-routes", with_value(ROUTE, ("recipients", 0), recipient))

    assert (answer.status_code, query(store, "SELECT count(*) FROM alert_route")) == (400, [(0,)])
