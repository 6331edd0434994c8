"""What Teams takes: the size of a card, and whose answer counts as its own."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from crossdock.connectors.teams_webhook.card import payload_of
from crossdock.connectors.teams_webhook.client import TeamsWebhook
from crossdock.core.errors import OutcomeUnknown, SystemRefused
from crossdock.http.model import Limits
from crossdock.maintenance.alerting.model import Occasion
from crossdock.sandbox.teams_webhook.flow import FakeTeams
from tests.contracts.alert_channels import SAMPLE, sample, with_cause
from tests.http.raw_server import RawServer, answer

ONCE = Limits(timeout_s=30.0, attempts=1, longest_wait_s=0.05)


@pytest.fixture
def teams() -> Iterator[FakeTeams]:
    with FakeTeams() as opened:
        yield opened


@pytest.mark.parametrize("sign", ["x", "ü", "👩", '"', "\x1b"])
def test_no_card_is_larger_than_teams_takes(sign: str) -> None:
    """By its bytes: an umlaut has two, an emoji four."""
    long = with_cause(message=sign * 50_000, examples=(sign * 50_000,) * 3, command=sign * 50_000)
    payload = payload_of(sample(occasion=Occasion.DIGEST, causes=long.causes * 500, hub=sign * 50_000))

    assert len(msgspec.json.encode(payload)) <= 24_000


def test_a_wrong_signature_is_refused_and_not_repeated(teams: FakeTeams) -> None:
    with pytest.raises(SystemRefused, match="HTTP 401") as caught:
        TeamsWebhook(f"{teams.webhook_url}x", limits=ONCE).post(payload_of(SAMPLE))
    assert teams.signature not in str(caught.value)


def test_a_proxys_login_page_is_not_an_acceptance() -> None:
    page = answer("<html>Sign in</html>", headers={"Content-Type": "text/html; charset=utf-8"})
    with RawServer(page) as server, pytest.raises(OutcomeUnknown, match="is a page"):
        TeamsWebhook(f"{server.url}/workflows/x", limits=ONCE).post(payload_of(SAMPLE))


@pytest.mark.parametrize("status", ["200 OK", "202 Accepted"])
@pytest.mark.parametrize("body", ["", "1", '{"status": "posted"}'])
def test_whatever_a_flow_answers_is_its_acceptance(status: str, body: str) -> None:
    """Its author may have it answer anything."""
    plain = answer(body, status, headers={"Content-Type": "text/plain"})
    with RawServer(plain) as server:
        TeamsWebhook(f"{server.url}/workflows/x", limits=ONCE).post(payload_of(SAMPLE))
