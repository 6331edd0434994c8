"""What Slack's refusals mean, and what its connection test finds without a message."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from crossdock.connectors.slack_webhook.blocks import payload_of
from crossdock.connectors.slack_webhook.client import SlackWebhook
from crossdock.connectors.slack_webhook.connection_test import SlackConnectionTest
from crossdock.core.errors import Declined, OutcomeUnknown, SystemRefused, SystemUnavailable
from crossdock.http.connection import Connection
from crossdock.http.model import Limits
from crossdock.maintenance.alerting.model import Occasion
from crossdock.sandbox.slack_webhook.workspace import FakeSlack
from tests.contracts.alert_channels import SAMPLE, sample
from tests.http.raw_server import RawServer, answer

ONCE = Limits(timeout_s=30.0, attempts=1, longest_wait_s=0.05)


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack() as opened:
        yield opened


def checked(url: str) -> str:
    extra = {"allowed_networks": ["127.0.0.0/8"]}
    connection = Connection(connection_id="slack", conn_type="slack_webhook", password=url, extra=extra)
    return SlackConnectionTest(connection).credentials()


def test_a_webhook_that_was_removed_is_refused_in_slacks_own_word(slack: FakeSlack) -> None:
    with pytest.raises(Declined, match="HTTP 404: no_service") as caught:
        SlackWebhook(f"{slack.webhook_url}x", limits=ONCE).post({"text": "x"})
    assert caught.value.code == "no_service"


def test_a_proxys_login_page_is_not_slacks_ok() -> None:
    """Nobody has seen the message: it is sent again."""
    page = answer("<html>Sign in</html>", headers={"Content-Type": "text/html"})
    with RawServer(page) as server, pytest.raises(OutcomeUnknown, match="does not say ok"):
        SlackWebhook(f"{server.url}/services/x", limits=ONCE).post({"text": "x"})


def test_a_refusal_that_is_not_slacks_is_a_refusal_all_the_same() -> None:
    with RawServer(answer("<html>Blocked</html>", "403 Forbidden")) as server, pytest.raises(SystemRefused):
        SlackWebhook(f"{server.url}/services/x", limits=ONCE).post({"text": "x"})


class TestConnection:
    def test_a_webhook_that_slack_knows_is_found_without_a_message(self, slack: FakeSlack) -> None:
        assert checked(slack.webhook_url) == "Slack knows the webhook"
        assert slack.inbox == []

    def test_a_webhook_that_was_removed_is_found(self, slack: FakeSlack) -> None:
        with pytest.raises(Declined, match="no_service"):
            checked(f"{slack.webhook_url}x")

    def test_a_system_that_takes_anything_is_not_slack(self) -> None:
        with RawServer(answer("ok")) as server, pytest.raises(SystemUnavailable, match="which Slack does not"):
            checked(f"{server.url}/services/x")


def test_no_message_is_longer_than_slack_takes() -> None:
    payload = payload_of(sample(occasion=Occasion.DIGEST, causes=SAMPLE.causes * 1_000))

    assert len(payload["blocks"]) <= 50
    assert len(json.dumps(payload, ensure_ascii=False)) < 40_000
