"""At most one mail for each business key and kind, whichever mailer takes it and whatever happens in between."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from crossdock.commerce.mail import service
from crossdock.commerce.mail.model import Content, Mail, Mailbox, MailRecord, MailState, effect_key
from crossdock.core.errors import Conflict, NotFound, Transient
from crossdock.db.database import Store
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions.model import InputInvalid
from crossdock.integrations.attempts import repository as attempt_log
from crossdock.integrations.attempts import service as attempts
from crossdock.integrations.attempts.model import Outcome
from crossdock.maintenance import retention_repository
from tests.chaos import children
from tests.contracts.mailers import FAULTS, Bench, Clients, SendGridMailer, SmtpMailer, register
from tests.shop import query

OTTO = "airflow:otto"
ORDER = Mail(
    business_key="order-4711",
    kind="order_confirmation",
    sender=Mailbox("orders@shop.example", "The Shop"),
    to=Mailbox("ada@customer.example"),
    content=Content("Your order", "Thank you."),
)
#: The fault at the first mailer → the state of the mail, and how many mails each mailer has accepted in the end.
OUTCOMES: dict[str, tuple[Any, MailState, tuple[int, int]]] = {
    "none": ("ok", MailState.SENT, (1, 0)),
    "busy": ("busy", MailState.SENT, (0, 1)),
    "refused": ("refuse_us", MailState.SENT, (0, 1)),
    **{
        name: (fault, MailState.UNKNOWN, (int(name.endswith("_after")), 0))
        for name, fault in FAULTS.items()
        if name != "wrong_type"
    },
}
#: One of each class in the gate.
GATE = {"none", "busy", "refused", "timeout_after", "reset_before", "html_502_after"}


class World:
    """Two mailers, in both orders."""

    def __init__(self, store: Store, first: Bench, second: Bench) -> None:
        self.store, self.first, self.second = store, first, second
        register(store, first, second)

    def send(self, mail: Mail = ORDER, *, store: Store | None = None, by: Any = None) -> MailRecord:
        names = [self.first.name, self.second.name] if by is None else by
        return service.send(store or self.store, Clients(self.first, self.second), mail, by=names, actor=OTTO)

    def resume(self, mail: MailRecord) -> MailRecord:
        clients = Clients(self.first, self.second)
        names = [self.first.name, self.second.name]
        return service.resume(self.store, clients, mail.mail_id, by=names, actor=OTTO)

    def meet(self, fault: Any) -> None:
        if isinstance(fault, str) and fault != "ok":
            getattr(self.first, fault)()
        else:
            self.first.fault(fault)

    @property
    def mails(self) -> tuple[int, int]:
        return len(self.first.outbox()), len(self.second.outbox())

    def resolve(self, outcome: Any) -> None:
        with self.store.transaction() as work:
            found = attempt_log.find(work, self.first.name, effect_key(ORDER.business_key, ORDER.kind))
        assert found is not None
        attempts.resolve_by_person(self.store, found.attempt_id, outcome, "looked it up", actor=OTTO)

    def let_the_claim_run_out(self) -> None:
        with self.store.transaction() as work:
            work.execute(b"UPDATE mail SET claimed_until = clock_timestamp() - interval '1 second'")


@pytest.fixture(
    params=[(SmtpMailer, SendGridMailer), (SendGridMailer, SmtpMailer)], ids=["smtp_first", "sendgrid_first"]
)
def world(request: pytest.FixtureRequest, store: Store) -> Iterator[World]:
    first, second = request.param
    with first().bench() as one, second().bench() as other:
        yield World(store, one, other)


@pytest.fixture
def smtp_first(store: Store) -> Iterator[World]:
    with SmtpMailer().bench() as one, SendGridMailer().bench() as other:
        yield World(store, one, other)


class TestFailOver:
    @pytest.mark.parametrize(
        "name", [pytest.param(name, marks=() if name in GATE else pytest.mark.deep) for name in OUTCOMES]
    )
    def test_the_next_mailer_is_asked_only_if_the_first_certainly_did_not_accept_it(
        self, world: World, name: str
    ) -> None:
        """Counted at both receivers, after a second call too."""
        fault, state, mails = OUTCOMES[name]
        world.meet(fault)

        first, again = world.send(), world.send()

        assert (first.state, again.state) == (state, state)
        assert world.mails == mails

    @pytest.mark.deep
    @pytest.mark.parametrize("pair", list(itertools.product(FAULTS, repeat=2)), ids="-".join)
    def test_no_pair_of_faults_makes_two_mails(self, world: World, pair: tuple[str, str]) -> None:
        for fault in pair:
            world.first.fault(FAULTS[fault])
            world.second.fault(FAULTS[fault])
            world.send()
        world.send()

        assert sum(world.mails) <= 1

    def test_the_first_is_not_asked_again_while_the_second_may_have_the_mail(self, world: World) -> None:
        """It refused, and works again now: that says nothing of what the second did."""
        world.first.busy()
        world.second.fault({"reset": "after"})

        states = [world.send().state for _ in range(3)]

        assert states == [MailState.UNKNOWN] * 3
        assert world.mails == (0, 1)

    def test_a_recipient_that_does_not_exist_is_not_tried_at_another_mailer(self, smtp_first: World) -> None:
        """It would not exist there either, and a mailer that sends to nobody loses its reputation."""
        mail = msgspec.structs.replace(ORDER, to=Mailbox("unknown@customer.example"))

        found = smtp_first.send(mail)

        assert (found.state, smtp_first.mails) == (MailState.REFUSED, (0, 0))
        assert "550" in str(found.reason)

    def test_a_server_that_does_not_relay_to_somebody_lets_the_next_try(self, smtp_first: World) -> None:
        mail = msgspec.structs.replace(ORDER, to=Mailbox("foreign@customer.example"))

        assert (smtp_first.send(mail).state, smtp_first.mails) == (MailState.SENT, (0, 1))

    def test_the_mailer_that_is_paused_or_gone_is_passed_over(self, world: World) -> None:
        integration_service.pause(world.store, world.first.name, actor=OTTO)

        assert (world.send().state, world.mails) == (MailState.SENT, (0, 1))


class TestAtMostOne:
    def test_a_mail_is_sent_once_for_its_key_and_kind(self, world: World) -> None:
        other_kind = msgspec.structs.replace(ORDER, kind="shipping_notice")
        other_order = msgspec.structs.replace(ORDER, business_key="order-4712")

        states = [world.send(mail).state for mail in (ORDER, ORDER, other_kind, other_order)]

        assert states == [MailState.SENT] * 4
        assert world.mails == (3, 0)

    def test_another_text_for_the_same_mail_is_not_sent(self, world: World) -> None:
        """A template that was changed meanwhile is no reason for a second mail, nor for a conflict."""
        world.first.busy()
        world.second.busy()
        assert world.send().state is MailState.FAILED

        changed = msgspec.structs.replace(ORDER, content=Content("Another", "text"))
        assert world.send(changed).state is MailState.SENT
        assert [mail["subject"] for mail in world.first.outbox()] == ["Your order"]

    @pytest.mark.parametrize(("outcome", "mails"), [(Outcome.DONE, 0), (Outcome.FAILED, 1)])
    def test_an_unknown_mail_goes_on_once_a_person_has_resolved_its_attempt(
        self, world: World, outcome: Any, mails: int
    ) -> None:
        world.meet({"reset": "before"})
        lost = world.send()
        assert world.resume(lost).state is MailState.UNKNOWN

        world.resolve(outcome)

        assert world.resume(lost).state is MailState.SENT
        assert world.mails == (mails, 0)

    def test_an_unknown_mail_stays_so_while_its_mailer_cannot_be_asked(self, world: World) -> None:
        """Paused is no proof that it did not accept the mail."""
        world.meet({"reset": "after"})
        world.send()
        integration_service.pause(world.store, world.first.name, actor=OTTO)

        assert (world.send().state, world.mails) == (MailState.UNKNOWN, (1, 0))

    def test_an_unknown_mail_stays_so_when_the_order_of_mailers_is_another(self, world: World) -> None:
        world.meet({"reset": "after"})
        world.send()

        assert world.send(by=[world.second.name]).state is MailState.UNKNOWN
        assert world.mails == (1, 0)

    def test_only_one_process_sends_a_mail(self, world: World) -> None:
        """Two would ask two mailers."""
        with world.store.transaction() as work:
            service.repository.add(work, ORDER)
            assert service.repository.claim(work, ORDER.business_key, ORDER.kind, life=service._CLAIM_LIFE)

        with pytest.raises(Transient, match="Another process"):
            world.send()
        assert world.mails == (0, 0)

    def test_a_process_that_slept_does_not_ask_the_next_mailer(self, world: World) -> None:
        """Its claim was taken over: whoever has it asks."""
        world.first.busy()
        with world.store.transaction() as work:
            service.repository.add(work, ORDER)
            slept = service.repository.claim(work, ORDER.business_key, ORDER.kind, life=service._CLAIM_LIFE)
        assert slept is not None
        world.let_the_claim_run_out()
        integration_service.pause(world.store, world.second.name, actor=OTTO)
        world.send()
        integration_service.resume(world.store, world.second.name, on_resumed=lambda _: None, actor=OTTO)
        world.first.busy()

        key = effect_key(ORDER.business_key, ORDER.kind)
        clients, names = Clients(world.first, world.second), [world.first.name, world.second.name]
        service._ask_in_turn(world.store, clients, slept, key, lambda _work, _record: None, by=names, actor=OTTO)
        assert world.mails == (0, 0)

    @pytest.mark.crash
    @pytest.mark.parametrize(
        ("killed", "state", "mails"),
        [
            ("mail.claimed", MailState.SENT, (1, 0)),
            ("mail.asked", MailState.SENT, (1, 0)),
            ("send.begun", MailState.UNKNOWN, (0, 0)),
            ("send.answered", MailState.UNKNOWN, (1, 0)),
            ("mail.answered", MailState.SENT, (1, 0)),
        ],
    )
    def test_a_killed_process_leaves_no_second_mail(
        self, smtp_first: World, hub_dsn: str, killed: str, state: MailState, mails: tuple[int, int]
    ) -> None:
        """Where no call can have been made, the mail is sent; else it stays unknown for a person."""
        world = smtp_first
        assert children.run(lambda: world.send(store=Store(hub_dsn)), crash_at=killed) == children.KILLED
        with pytest.raises(Transient):
            world.send()
        world.let_the_claim_run_out()

        assert world.send().state is state
        assert world.mails == mails

    @pytest.mark.crash
    def test_after_a_kill_no_other_mailer_is_asked(self, smtp_first: World, hub_dsn: str) -> None:
        """The process may not be dead but asleep, just before its call."""
        world = smtp_first
        assert children.run(lambda: world.send(store=Store(hub_dsn)), crash_at="mail.asked") == children.KILLED
        world.let_the_claim_run_out()
        world.first.busy()

        assert (world.send().state, world.mails) == (MailState.FAILED, (0, 0))
        assert (world.send().state, world.mails) == (MailState.SENT, (1, 0))


class TestRefusedBeforeTheCall:
    @pytest.mark.parametrize(
        "change",
        [
            {"content": Content("a\r\nBcc: x@y.example", "text")},
            {"to": Mailbox("ada@customer.example", "Ada\nBcc: x@y.example")},
            {"to": Mailbox("ada")},
            {"content": Content("a", "x" * 100_001)},
        ],
        ids=["subject", "name", "address", "size"],
    )
    def test_a_mail_that_is_not_valid_has_no_row(self, world: World, change: dict[str, Any]) -> None:
        with pytest.raises(InputInvalid, match="Invalid input for send_mail: /input/"):
            world.send(msgspec.structs.replace(ORDER, **change))
        assert query(world.store, "SELECT count(*) FROM mail") == [(0,)]

    def test_no_mailer(self, world: World) -> None:
        with pytest.raises(Conflict, match="No integration sends mails"):
            world.send(by=[])

    def test_a_mail_that_is_not_there(self, world: World) -> None:
        with pytest.raises(NotFound, match="There is no mail 4711"):
            service.resume(world.store, Clients(), 4711, by=["x"], actor=OTTO)


class TestOrder:
    def test_mailers_are_asked_by_their_ids_unless_an_order_is_configured(self, world: World) -> None:
        assert service.mailers(world.store) == ["our_server", "sendgrid_eu"]
        assert service.mailers(world.store, ["sendgrid_eu"]) == ["sendgrid_eu"]

    def test_an_integration_that_sends_no_mails_is_refused(self, world: World) -> None:
        with pytest.raises(NotFound, match="'shop' is not an integration that sends mails"):
            service.mailers(world.store, ["shop"])


def test_what_was_sent_is_not_kept_and_a_reason_hides_the_recipient(smtp_first: World) -> None:
    """The text of a mail is personal, and of no use once it is sent."""
    smtp_first.send()
    smtp_first.first.fault({"status": 550})
    mail = msgspec.structs.replace(ORDER, business_key="order-2", to=Mailbox("unknown@customer.example"))
    smtp_first.send(mail)

    assert query(smtp_first.store, "SELECT message FROM mail WHERE state = 'sent'") == [(None,)]
    assert "unknown@" not in str(query(smtp_first.store, "SELECT reason FROM mail"))


def test_whom_a_mail_went_to_is_forgotten_and_the_mail_is_still_not_sent_again(smtp_first: World) -> None:
    """Retention deletes what is personal; the row is what prevents a second mail."""
    refused = msgspec.structs.replace(ORDER, business_key="order-2", to=Mailbox("unknown@customer.example"))
    smtp_first.send()
    smtp_first.send(refused)
    with smtp_first.store.transaction() as work:
        assert retention_repository.forget_mails(work, datetime.now(UTC) + timedelta(hours=1), limit=10) == 2
        assert retention_repository.forget_mails(work, datetime.now(UTC) + timedelta(hours=1), limit=10) == 0

    states = [smtp_first.send(mail).state for mail in (ORDER, refused)]

    assert states == [MailState.SENT, MailState.REFUSED]
    assert smtp_first.mails == (1, 0)
    assert query(smtp_first.store, "SELECT recipient, message FROM mail") == [(None, None)] * 2


class TestWhatNobodySentInTime:
    """It has an address and a text: what is kept for somebody who never comes is kept for nothing."""

    @staticmethod
    def forget(world: World) -> int:
        with world.store.transaction() as work:
            return retention_repository.forget_mails(work, datetime.now(UTC) + timedelta(hours=1), limit=10)

    def test_a_mail_that_no_mailer_accepted_ends_as_refused(self, world: World) -> None:
        world.first.busy()
        world.second.busy()
        failed = world.send()

        assert self.forget(world) == 1
        assert (world.send().state, world.resume(failed).state) == (MailState.REFUSED, MailState.REFUSED)
        assert world.mails == (0, 0)
        assert query(world.store, "SELECT recipient, message FROM mail") == [(None, None)]

    def test_a_mail_that_is_unknown_waits_for_its_person(self, world: World) -> None:
        """Who finds that it was not accepted still wants to send it."""
        world.meet({"reset": "before"})
        lost = world.send()

        assert self.forget(world) == 0

        world.resolve(Outcome.FAILED)
        assert world.resume(lost).state is MailState.SENT

    @pytest.mark.parametrize(
        ("outcome", "state"), [(Outcome.DONE, MailState.SENT), (Outcome.FAILED, MailState.REFUSED)]
    )
    def test_one_that_was_resolved_and_not_resumed_ends_as_its_attempt(
        self, world: World, outcome: Any, state: MailState
    ) -> None:
        world.meet({"reset": "after"})
        world.send()
        world.resolve(outcome)

        assert self.forget(world) == 1
        assert (world.send().state, world.mails) == (state, (1, 0))
