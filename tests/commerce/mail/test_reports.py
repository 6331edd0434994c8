"""What mail systems report of mails, in any order: it resolves what is unknown, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, permutations
from typing import Any

import pytest

from crossdock.commerce.mail import repository, service, subscribers
from crossdock.commerce.mail.events import MAIL_REPORTED, MailFact, MailFactKind
from crossdock.commerce.mail.model import MailRecord, MailState, effect_key
from crossdock.core.errors import BadEvent
from crossdock.db.database import Store
from crossdock.events import store as event_store
from crossdock.events.model import NewEvent
from crossdock.integrations.attempts import repository as attempt_log
from crossdock.integrations.attempts.model import Outcome
from tests.commerce.mail.test_service import ORDER, OTTO, World
from tests.contracts.mailers import Clients, SendGridMailer, SmtpMailer
from tests.shop import query

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
SENDGRID = "sendgrid_eu"
_numbers = count()


@pytest.fixture
def world(store: Store) -> Iterator[World]:
    """SendGrid first, then a server."""
    with SendGridMailer().bench() as one, SmtpMailer().bench() as other:
        yield World(store, one, other)


def fact(happened: MailFactKind, **other: Any) -> MailFact:
    fields = {"mailer": SENDGRID, "business_key": ORDER.business_key, "kind": ORDER.kind, "occurred_at": NOON, **other}
    return MailFact(happened=happened, **fields)


def report(store: Store, *facts: MailFact) -> None:
    """Store the events of *facts*, and have the subscriber apply them."""
    for said in facts:
        event = MAIL_REPORTED.event(
            said, source="/integrations/x", subject="mail/1", time=NOON, event_id=f"evt_{next(_numbers)}"
        )
        apply(store, event)


def apply(store: Store, event: NewEvent) -> None:
    with store.transaction() as work:
        at = event_store.receive(work, event)
        assert at is not None
        subscribers.apply(work, [event_store.get(work, (at.epoch, at.position))])


def found(world: World) -> MailRecord:
    with world.store.transaction() as work:
        record = repository.find(work, ORDER.business_key, ORDER.kind)
    assert record is not None
    return record


def attempts(world: World) -> list[tuple[Any, ...]]:
    return query(world.store, "SELECT integration, outcome, resolution FROM attempt ORDER BY attempt_id")


@pytest.mark.parametrize("happened", MailFactKind)
def test_whatever_happened_to_an_unknown_mail_it_was_accepted(world: World, happened: MailFactKind) -> None:
    """Also one that bounced: a second one would be a second mail, and bounce as well."""
    world.meet({"reset": "after"})
    world.send()

    report(world.store, fact(happened, provider_id="m-1"))

    assert (found(world).state, found(world).provider_id) == (MailState.SENT, "m-1")
    assert (found(world).reason is not None) == happened.is_problem
    assert attempts(world) == [(SENDGRID, "done", "webhook")]
    assert (world.send().state, world.mails) == (MailState.SENT, (1, 0))
    assert query(world.store, "SELECT message FROM mail") == [(None,)]


def test_the_order_of_facts_does_not_matter_and_each_may_come_again(world: World) -> None:
    world.send()
    accepted = found(world).provider_id
    kinds = (MailFactKind.ACCEPTED, MailFactKind.BOUNCED, MailFactKind.DELIVERED)
    said = [fact(kind, provider_id=accepted, code="5.1.1" if kind is MailFactKind.BOUNCED else None) for kind in kinds]

    ends = set()
    for order in permutations(said):
        query(world.store, "UPDATE mail SET reason = NULL RETURNING 1")
        report(world.store, *order, *order)
        ends.add((found(world).state, found(world).reason))

    assert ends == {(MailState.SENT, f"{SENDGRID}: bounced (5.1.1)")}


def test_a_mail_that_the_second_mailer_sent_says_that_it_bounced(store: Store) -> None:
    """Why the first did not take it is of less use then."""
    with SmtpMailer().bench() as server, SendGridMailer().bench() as sendgrid:
        world = World(store, server, sendgrid)
        world.meet("refuse_us")
        assert (world.send().state, world.mails) == (MailState.SENT, (0, 1))
        assert "535" in str(found(world).reason)

        report(world.store, fact(MailFactKind.DROPPED))

    assert found(world).reason == f"{SENDGRID}: dropped"


@pytest.mark.parametrize(
    "other",
    [{"mailer": "our_server"}, {"business_key": "order-4712"}, {"kind": "shipping_notice"}],
    ids=str,
)
def test_what_is_said_of_another_mail_resolves_nothing(world: World, other: dict[str, str]) -> None:
    world.meet({"reset": "before"})
    world.send()

    report(world.store, fact(MailFactKind.DELIVERED, **other))

    assert found(world).state is MailState.UNKNOWN
    assert attempts(world) == [(SENDGRID, "unknown", None)]


def test_another_installations_mail_with_the_same_key_says_nothing_of_ours(world: World) -> None:
    """Two may send over one account: the ID of the acceptance says whose it is."""
    world.send()

    report(world.store, fact(MailFactKind.BOUNCED, provider_id="of another"))

    assert found(world).reason is None


def test_a_fact_that_comes_before_the_answer_is_not_undone_by_it(world: World) -> None:
    """The event may be faster than the answer, and the answer may be lost afterwards."""
    with world.store.transaction() as work:
        repository.add(work, ORDER)
        claimed = repository.claim(work, ORDER.business_key, ORDER.kind, life=timedelta(minutes=15))
        assert claimed is not None
        assert repository.ask(work, claimed, SENDGRID, life=timedelta(minutes=15))
    report(world.store, fact(MailFactKind.DELIVERED))

    with world.store.transaction() as work:
        repository.end(work, claimed, MailState.UNKNOWN, mailer=SENDGRID, reason="no answer")

    assert (found(world).state, found(world).reason) == (MailState.SENT, None)


def test_an_attempt_that_is_open_is_done_and_its_own_end_does_not_outweigh_that(world: World) -> None:
    world.meet({"reset": "after"})
    world.send()
    key = effect_key(ORDER.business_key, ORDER.kind)
    query(world.store, "UPDATE attempt SET outcome = 'open', open_until = now() + interval '1 hour' RETURNING 1")
    with world.store.transaction() as work:
        calling = attempt_log.find(work, SENDGRID, key)
    assert calling is not None

    report(world.store, fact(MailFactKind.ACCEPTED))
    with world.store.transaction() as work:
        attempt_log.end(work, calling, Outcome.UNKNOWN)

    assert attempts(world) == [(SENDGRID, "done", "webhook")]


def test_a_person_who_was_wrong_is_corrected_before_a_second_mail(world: World) -> None:
    world.meet({"reset": "after"})
    lost = world.send()
    world.resolve(Outcome.FAILED)

    report(world.store, fact(MailFactKind.DELIVERED))

    assert world.resume(lost).state is MailState.SENT
    assert world.mails == (1, 0)


def test_what_belongs_to_a_sent_mail_follows_at_the_next_call(world: World) -> None:
    """No caller waits while the event comes."""
    world.meet({"reset": "after"})
    world.send()
    report(world.store, fact(MailFactKind.DELIVERED))
    seen: list[MailRecord] = []

    clients, names = Clients(world.first, world.second), [world.first.name]
    service.send(world.store, clients, ORDER, by=names, actor=OTTO, on_sent=lambda _work, record: seen.append(record))

    assert [record.state for record in seen] == [MailState.SENT]


def test_data_that_are_no_fact_are_a_bad_event(store: Store) -> None:
    event = NewEvent(
        source="/x", type=MAIL_REPORTED.name, subject="mail/1", time=NOON, partition_key="1", data="{}", event_id="e"
    )
    with pytest.raises(BadEvent):
        apply(store, event)
