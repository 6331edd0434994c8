"""Credentials that say when they end: an alert comes before the first refused call."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossdock.http.connection import Connection
from crossdock.integrations.secret_expiry import expiries
from tests.tls import Tls

THEN = datetime(2027, 1, 2, tzinfo=UTC)


def connection(password: str | None = None, **extra: Any) -> Connection:
    return Connection(connection_id="crm", conn_type="http", password=password, extra=extra)


def jwt(claims: object) -> str:
    parts = (json.dumps(part).encode() for part in ({"alg": "HS256"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + ".c2ln"


def test_a_web_token_ends_at_its_exp() -> None:
    """As a password, or as any field of the extra."""
    token = jwt({"exp": int(THEN.timestamp()), "sub": "hub"})

    assert expiries(connection(token, api_key=token)) == {"password": THEN, "api_key": THEN}


def test_a_date_beside_the_credentials_is_believed() -> None:
    """A person wrote it, where a key does not say so itself; without a zone it is UTC."""
    assert expiries(connection("secret", expires_at="2027-01-02")) == {"expires_at": THEN}
    assert expiries(connection("secret", expires_at="2027-01-02T01:00:00+01:00")) == {"expires_at": THEN}


def test_a_client_certificate_ends_at_its_not_after(tls: Tls) -> None:
    found = expiries(connection(cert_file=tls.ca_file, ca_file=tls.ca_file))

    assert set(found) == {"cert_file"}, "the other is the server's"
    assert found["cert_file"] > datetime.now(UTC)


@pytest.mark.parametrize(
    "text",
    ["secret", "a.b.c", "shop.example.com", jwt({"sub": "hub"}), jwt([1]), jwt({"exp": "soon"}), jwt({"exp": 1e300})],
)
def test_what_does_not_say_when_it_ends_is_left_alone(text: str, tmp_path: Path) -> None:
    found = expiries(
        connection(text, cert_file=str(tmp_path / "gone"), expires_at="next year", port=7, nested={"a": 1})
    )

    assert found == {}
