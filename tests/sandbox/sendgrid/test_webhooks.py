"""The simulated SendGrid's webhook, over its control API."""

from __future__ import annotations

import pytest

from crossdock.sandbox.engine.test_client import TestClient
from crossdock.sandbox.sendgrid.mail_system import FakeMailSystem


def test_its_key_is_shown_and_its_url_can_be_set() -> None:
    with FakeMailSystem() as system:
        client = TestClient(system.port)
        found = client.call("PUT", "_sandbox/webhook", body={"url": "http://127.0.0.1:1/x"}).json

        assert found == {"url": "http://127.0.0.1:1/x", "public_key": system.webhooks.public_key}
        assert client.call("PUT", "_sandbox/webhook", body={"url": None}).json["url"] is None


@pytest.mark.parametrize("body", [{"url": "ftp://x"}, {"url": 1}, []], ids=str)
def test_another_url_is_refused(body: object) -> None:
    with FakeMailSystem() as system:
        assert TestClient(system.port).call("PUT", "_sandbox/webhook", body=body).status == 400
