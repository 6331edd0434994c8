"""SendGrid's events: what each says of a mail of the hub, and that nothing else of them is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import jsonschema
import msgspec
import pytest

from crossdock.app.event_types import event_types
from crossdock.commerce.mail import service, subscribers
from crossdock.commerce.mail.events import MAIL_REPORTED, MailFact
from crossdock.commerce.mail.model import Content, Mail, Mailbox, MailRecord, MailState
from crossdock.connectors.sendgrid.webhooks import WEBHOOK
from crossdock.core.errors import BadRequest
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import NewEvent
from crossdock.events.webhooks_in.ports import Delivery, IsEvent
from crossdock.events.webhooks_in.rules import WebhookRules
from crossdock.events.webhooks_in.service import Receiver
from crossdock.sandbox.sendgrid.webhooks import events_of
from tests.contracts.mailers import Clients, SendGridMailer, register
from tests.events.webhooks_in.test_webhooks import WebhookClient, served
from tests.events.worlds import eventually
from tests.shop import query

MAILER = "sendgrid_eu"
ORDER = Mail(
    business_key="order-4711",
    kind="order_confirmation",
    sender=Mailbox("orders@shop.example"),
    to=Mailbox("ada@customer.example"),
    content=Content("Your order", "Thank you."),
)
#: One of each type, of one mail.
MAIL = {"message_id": "LRzXl_NHStOGhQ4kofSm_A", "categories": ["order_confirmation"]}
ARGS = {"reference": "r-1", "business_key": "order-4711", "kind": "order_confirmation"}


def said(recipient: str, **args: str) -> list[dict[str, Any]]:
    """The events of a mail to *recipient*."""
    personalization = {"to": [{"email": f"{recipient}@customer.example"}], "custom_args": {**ARGS, **args}}
    return events_of({**MAIL, "personalizations": [personalization]})


def meant(document: Any) -> list[NewEvent]:
    delivery = Delivery(MAILER, "d-1", datetime.now(UTC), document)
    (name,) = WEBHOOK.types_of(delivery)
    meaning = WEBHOOK.meanings[name]
    assert isinstance(meaning, IsEvent)
    return list(meaning.events(delivery))


def facts(document: Any) -> list[MailFact]:
    return [msgspec.json.decode(event.data, type=MailFact) for event in meant(document)]


class TestAnEvent:
    @pytest.mark.parametrize(
        ("recipient", "happened"),
        [
            ("ada", ["accepted", "delivered"]),
            ("bounce", ["accepted", "bounced"]),
            ("dropped", ["dropped"]),
            ("deferred", ["accepted", "deferred", "delivered"]),
            ("spam", ["accepted", "delivered", "reported_as_spam"]),
        ],
    )
    def test_says_what_became_of_which_mail(self, recipient: str, happened: list[str]) -> None:
        found = facts(said(recipient))

        assert [fact.happened.value for fact in found] == happened
        assert {(fact.mailer, fact.business_key, fact.kind) for fact in found} == {
            (MAILER, "order-4711", "order_confirmation")
        }

    def test_has_the_id_of_the_acceptance_and_a_bounces_code(self) -> None:
        accepted, bounced = facts(said("bounce"))

        assert accepted.provider_id == bounced.provider_id == MAIL["message_id"]
        assert (accepted.code, bounced.code) == (None, "5.1.1")

    def test_has_the_form_of_its_type_and_the_vendors_id(self) -> None:
        document = said("ada")
        for event, source in zip(meant(document), document, strict=True):
            jsonschema.validate(json.loads(event.data), event_types().schema(MAIL_REPORTED.name, 1))
            assert (event.event_id, event.partition_key) == (source["sg_event_id"], "order-4711")

    def test_has_no_address(self) -> None:
        """The vendor repeats it in several fields, and in what the recipient's server said."""
        document = said("bounce") + said("deferred")

        assert "customer.example" in json.dumps(document)
        assert "customer.example" not in "".join(event.data for event in meant(document))


class TestWhatIsNotOfTheHub:
    @pytest.mark.parametrize(
        "other",
        [
            {"event": "delivered", "email": "a@b.example", "timestamp": 1, "sg_event_id": "x"},
            {"event": "open", "useragent": "x", "ip": "192.0.2.1", **ARGS},
            {"event": "delivered", **ARGS, "business_key": 4711},
            {"event": "delivered", **ARGS, "kind": "half \ud83d"},
            {"event": ["delivered"], **ARGS},
            {"event": "delivered", **ARGS, "business_key": "x" * 300},
            "text",
        ],
        ids=["of another sender", "engagement", "a number", "unprintable", "a list", "too long", "text"],
    )
    def test_has_no_event_and_does_not_hinder_the_others(self, other: Any) -> None:
        assert len(facts([other, *said("ada")])) == 2

    @pytest.mark.parametrize("document", [{}, None, "x", 1])
    def test_a_body_that_is_no_list_is_refused(self, document: Any) -> None:
        with pytest.raises(BadRequest, match="not a list"):
            meant(document)

    @pytest.mark.parametrize(
        "change",
        [{"timestamp": "now"}, {"timestamp": -1}, {"timestamp": 10**15}, {"sg_event_id": None}, {"status": "5.1.1\n"}],
        ids=str,
    )
    def test_an_event_of_ours_that_cannot_be_read_is_refused(self, change: dict[str, Any]) -> None:
        """To leave it out would lose what it says; the vendor sends it again, and the refusal is counted."""
        with pytest.raises(BadRequest, match="no event of SendGrid"):
            meant([said("ada")[0] | change])


class Hub(WebhookClient):
    """The real route, with the key that the connection would hold."""

    def __init__(self, dsn: str, public_key: str) -> None:
        super().__init__(dsn)
        self.receiver = Receiver(MAILER, WebhookRules(scheme="sendgrid"), (public_key,), WEBHOOK)

    def _find(self, integration: str) -> Receiver:
        assert integration == MAILER
        return self.receiver


class World:
    """The mail system, whose events come to the hub over a socket."""

    def __init__(self, store: Store, dsn: str, bench: Any) -> None:
        self.store, self.bench = store, bench
        register(store, bench)
        self.hub = Hub(dsn, bench.system.webhooks.public_key)
        bench.system.webhooks.url = f"http://127.0.0.1:{self.hub.port}/v1/webhooks/{MAILER}"

    def send(self, mail: Mail = ORDER) -> MailRecord:
        return service.send(self.store, Clients(self.bench), mail, by=[MAILER], actor="airflow:otto")

    def apply(self) -> None:
        """Do what the delivery of events does."""
        with self.store.transaction() as work:
            places = work.execute(b"SELECT epoch, position FROM event ORDER BY position").fetchall()
            subscribers.apply(work, [event_store.get(work, place) for place in places])

    def stored(self) -> int:
        return int(query(self.store, "SELECT count(*) FROM event")[0][0])


@pytest.fixture
def world(store: Store, hub_dsn: str) -> Iterator[World]:
    with SendGridMailer().bench() as bench:
        opened = World(store, hub_dsn, bench)
        with served(opened.hub):
            yield opened


class TestOverASocket:
    def test_an_unknown_mail_is_known_by_its_events_and_never_sent_again(self, world: World) -> None:
        world.bench.fault({"reset": "after"})
        assert world.send().state is MailState.UNKNOWN

        eventually(world.stored, 2)
        world.apply()

        known = world.send()
        assert (known.state, known.reason) == (MailState.SENT, None)
        assert known.provider_id == world.bench.system.outbox[0]["message_id"]
        assert len(world.bench.outbox()) == 1
        assert query(world.store, "SELECT outcome, resolution FROM attempt") == [("done", "webhook")]

    def test_a_mail_that_was_not_accepted_stays_unknown(self, world: World) -> None:
        """Nobody says that it was not: its silence is no proof, and a person has to look."""
        world.bench.fault({"reset": "before"})
        world.send()
        world.apply()

        assert (world.send().state, world.stored()) == (MailState.UNKNOWN, 0)

    def test_a_forged_event_is_refused(self, world: World) -> None:
        """Otherwise anybody could say that a mail was sent, and it never would be."""
        headers = world.bench.system.webhooks.headers_of(b"[]")
        answer = world.hub.post(json.dumps(said("ada")).encode(), list(headers.items()), MAILER)

        assert (answer.status_code, world.stored()) == (401, 0)

    @pytest.mark.parametrize(("text", "status", "stored"), [("a\0b", 400, 0), (r"a\u0000b", 202, 1)])
    def test_a_nul_is_refused_before_it_is_stored(self, world: World, text: str, status: int, stored: int) -> None:
        """The database takes it in no text: the event would be a dead letter. Its spelling is a text as any other."""
        body = json.dumps([said("ada")[0] | {"sg_message_id": text}]).encode()
        answer = world.hub.post(body, list(world.bench.system.webhooks.headers_of(body).items()), MAILER)

        assert (answer.status_code, world.stored()) == (status, stored)

    def test_what_is_not_of_the_hub_is_counted_by_its_type_beside_what_is(self, world: World) -> None:
        """A repeat counts nothing again, and nothing of other people is kept."""
        others = [{"event": "open", "email": "eve@customer.example"}] * 3 + [{"event": "delivered"}, "text"]
        body = json.dumps([*others, *said("ada")]).encode()
        headers = list(world.bench.system.webhooks.headers_of(body).items())
        answers = [world.hub.post(body, headers, MAILER).json() for _ in range(2)]

        assert [(answer["taken"], answer["ignored"]) for answer in answers] == [(2, 5), (2, 5)]
        found = query(
            world.store, "SELECT data::json FROM event WHERE type = 'crossdock.webhook.ignored' ORDER BY subject"
        )
        assert [(data["message_type"], data.get("messages", 1), data["body"]) for (data,) in found] == [
            ("", 1, ""),
            ("delivered", 1, ""),
            ("open", 3, ""),
        ]
        for (data,) in found:
            jsonschema.validate(data, event_types().schema("crossdock.webhook.ignored", 1))

    def test_a_list_of_a_thousand_types_is_not_a_thousand_events(self, world: World) -> None:
        body = json.dumps([{"event": f"e{number}"} for number in range(1_000)]).encode()
        answer = world.hub.post(body, list(world.bench.system.webhooks.headers_of(body).items()), MAILER)

        assert (answer.json()["ignored"], world.stored()) == (1_000, 21)

    def test_a_mail_that_was_sent_and_bounces_says_so(self, world: World) -> None:
        world.send(msgspec.structs.replace(ORDER, to=Mailbox("bounce@customer.example")))
        eventually(world.stored, 2)
        world.apply()

        found = world.send()
        assert (found.state, found.reason) == (MailState.SENT, f"{MAILER}: bounced (5.1.1)")
