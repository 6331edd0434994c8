"""Deliveries of each kind of sender by the real route: what they mean, how they are answered, and what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crossdock.app import on_webhook_received, personal_data
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.events.webhooks_in import public_keys
from tests.events.webhooks_in import senders
from tests.events.webhooks_in.senders import SENDERS, TEXT, TOPIC, Sender, Sent
from tests.events.webhooks_in.test_webhooks import WebhookClient, client, message, now
from tests.events.worlds import delivery, eventually
from tests.published import published_over_http
from tests.shop import query
from tests.streams import define_shop

__all__ = ["client"]

RECORD = {"dataset": "inventory", "key_path": "data.sku"}


@pytest.fixture(autouse=True)
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Google's and SNS's own hosts: each document is that of its sender."""
    documents = {url: body for sender in SENDERS for url, body in sender.published.items()}
    monkeypatch.setattr(public_keys.PublicKeys, "read", lambda _, url, **__: documents[url])


def configure(client: WebhookClient, sender: Sender, **extra: Any) -> None:
    client.extra, client.password = {**sender.rules, **extra}, " ".join(sender.keys)


def post(client: WebhookClient, sent: Sent) -> Any:
    return client.post(sent.body, sent.headers, query=sent.query)


def kept(store: Store) -> list[Any]:
    return query(store, "SELECT type, event_id, data FROM event ORDER BY position")


JSON_SENDERS = [
    sender for sender in SENDERS if sender.rules["scheme"] not in {"adyen", "sendgrid"} and "form" not in sender.name
]


@pytest.mark.parametrize("sender", JSON_SENDERS, ids=lambda sender: sender.name)
def test_a_delivery_of_each_sender_has_its_record_fetched_once(
    client: WebhookClient, store: Store, sender: Sender
) -> None:
    configure(client, sender, **RECORD)
    answers = [post(client, sender.sign(0, now())) for _ in range(2)]

    assert {answer.status_code for answer in answers} <= {200, 202, 204}
    assert answers[0].content == answers[1].content
    assert query(store, "SELECT partition_key FROM event") == [("commercetools.inventory/CHAIR",)]


@pytest.mark.parametrize("sender", SENDERS, ids=lambda sender: sender.name)
def test_a_refusal_says_why_and_no_key(client: WebhookClient, store: Store, sender: Sender) -> None:
    """Its sender shows the answer to its developer."""
    configure(client, sender, **RECORD)
    sent = sender.sign(0, now())
    answer = client.post(sent.body.replace(b"1", b"2"), [(name, "wrong") for name, _ in sent.headers])

    assert answer.status_code == 401
    assert answer.json()["detail"].startswith("Invalid webhook signature: ")
    assert len(answer.json()["detail"]) > len("Invalid webhook signature: ") + 10
    assert not any(key and key in answer.text for key in sender.keys)
    ((reason, times),) = query(store, "SELECT reason, times FROM refused_webhook")
    assert (answer.json()["detail"].removeprefix("Invalid webhook signature: "), times) == (reason, 1)


def test_what_the_connection_lacks_is_not_told_to_strangers(client: WebhookClient, store: Store) -> None:
    client.extra, client.password = {"scheme": "square", **RECORD}, "secret"
    answer = client.post(b"{}", [("x-square-hmacsha256-signature", "x")])

    assert answer.status_code == 401
    assert answer.json()["detail"] == "Invalid webhook signature: the hub's connection is not complete"
    assert query(store, "SELECT reason FROM refused_webhook") == [
        ("the connection does not say `url`, which the sender signs",)
    ]


@pytest.fixture
def vendor(client: WebhookClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WebhookClient:
    """The connector's manifest says what messages mean."""
    monkeypatch.setattr(settings(), "definitions_url", define_shop(tmp_path / "definitions"))
    return client


PRODUCT = message("ProductPublished", "product", "p-1")


def as_pubsub(body: bytes, at: float) -> Sent:
    wrapped = {"message": {"data": senders.b64(body), "messageId": "m-1"}, "subscription": "s"}
    return Sent(json.dumps(wrapped).encode(), [("Authorization", f"Bearer {senders.token(0, at)}")])


def as_sns(body: bytes, at: float) -> Sent:
    document = senders.sns_document(at, "2", Message=body.decode())
    return Sent(json.dumps(document).encode(), [("Content-Type", "text/plain; charset=UTF-8")])


def as_event_grid(body: bytes, _: float) -> Sent:
    event = {"id": "e-1", "eventType": "com.commercetools.product", "subject": "product/p-1", "data": json.loads(body)}
    return Sent(json.dumps([event]).encode(), [("Authorization", TEXT[0])])


def as_cloud_event(body: bytes, at: float) -> Sent:
    event = {"specversion": "1.0", "id": "c-1", "type": "com.commercetools.product.message", "data": json.loads(body)}
    return as_pubsub(json.dumps(event).encode(), at)


@pytest.mark.parametrize(
    ("scheme", "forwarded"),
    [
        ("google_pubsub wrapped", as_pubsub),
        ("google_pubsub wrapped", as_cloud_event),
        ("aws_sns 2", as_sns),
        ("azure_event_grid", as_event_grid),
    ],
)
def test_a_subscription_of_the_platform_is_understood_over_each_queue(
    vendor: WebhookClient, store: Store, scheme: str, forwarded: Any
) -> None:
    (sender,) = (sender for sender in SENDERS if sender.name == scheme)
    configure(vendor, sender)
    answer = post(vendor, forwarded(PRODUCT, now()))

    assert (answer.status_code, answer.json()["taken"]) == (202, 1)
    ((event_type, event_id, data),) = kept(store)
    assert (event_type, event_id) == ("crossdock.webhook.received", "id-of-ProductPublished")
    assert (data["dataset"], data["key"], data["by_id"]) == ("products", "p-1", True)


class TestHandshakes:
    """A sender tries an address before it sends to it. A person sees in the events that it did."""

    def test_slack_and_event_grid_get_what_they_ask_for(self, client: WebhookClient, store: Store) -> None:
        body = b'{"type": "url_verification", "challenge": "c-1"}'
        at = f"{now():.0f}"
        signature = "v0=" + senders.mac(TEXT[0], f"v0:{at}:".encode() + body).hex()
        client.extra, client.password = {"scheme": "slack", **RECORD}, TEXT[0]
        answer = client.post(body, [("X-Slack-Signature", signature), ("X-Slack-Request-Timestamp", at)])
        assert (answer.status_code, answer.json()) == (200, {"challenge": "c-1"})

        event = {
            "id": "d-1",
            "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
            "data": {"validationCode": "512d38b6"},
        }
        client.extra = {"scheme": "azure_event_grid", **RECORD}
        answer = client.post(json.dumps([event]).encode(), [("Authorization", TEXT[0])])
        assert (answer.status_code, answer.json()) == (200, {"validationResponse": "512d38b6"})
        assert [(kind, data["kind"]) for kind, _, data in kept(store)] == [
            ("crossdock.webhook.handshake", "url_verification"),
            ("crossdock.webhook.handshake", "SubscriptionValidation"),
        ]

    def test_a_subscription_of_sns_is_confirmed_once_by_a_visit(
        self, client: WebhookClient, store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from tests.events.webhooks_in.test_webhooks import fetching_by  # noqa: PLC0415  its subscribers

        url = f"https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37"
        changes = {"Type": "SubscriptionConfirmation", "SubscribeURL": url, "Token": "2336412f37"}
        document = senders.sns_document(now(), "1", **changes)
        visited: list[str] = []

        class SnsHost(on_webhook_received.HttpClient):
            """SNS's own host, whose name leads to us."""

            def __init__(self, system: str, base_url: str, **given: Any) -> None:
                visited.append(base_url)
                super().__init__(system, sns.removesuffix("/keys"), **given)

        (sender,) = (sender for sender in SENDERS if sender.name == "aws_sns 1")
        configure(client, sender, **RECORD)
        with published_over_http(b"<ConfirmSubscriptionResponse/>") as sns:
            monkeypatch.setattr(on_webhook_received, "HttpClient", SnsHost)
            sent = Sent(json.dumps(document).encode(), [("Content-Type", "text/plain; charset=UTF-8")])
            for _ in range(2):
                assert post(client, sent).status_code == 202
            with delivery(hub_dsn, fetching_by(None)):  # type: ignore[arg-type]  it fetches nothing
                eventually(lambda: len(visited) == 1)
                eventually(
                    lambda: query(store, "SELECT count(*) FROM event_inbox WHERE subscriber = 'webhook_subscriptions'"),
                    [(1,)],
                )
        assert visited == ["https://sns.eu-central-1.amazonaws.com"]


def test_the_secret_in_an_address_is_in_no_log() -> None:
    from crossdock.api.logged_requests import hide_in_log  # noqa: PLC0415  one test

    scope: dict[str, Any] = {"path": "/hub/v1/webhooks/shop_eu", "query_string": b"code=short&other=1"}
    hide_in_log(scope)
    assert scope["query_string"] == b"code=%2A%2A%2A&other=%2A%2A%2A"


def test_the_address_that_confirms_a_subscription_is_masked_in_lists() -> None:
    """It holds the token of the sender."""
    assert "confirm_url" in (personal_data.fields_of_event("crossdock.webhook.handshake") or ())
