"""What every mailer promises about sending, whatever its system does. A rule here is a rule for all of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.core.errors import Conflict
from crossdock.db.database import Store
from crossdock.http.connection import Connection
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended, Failed, InputInvalid, Refused, RefusedBy, Unknown
from crossdock.integrations.attempts import repository
from crossdock.integrations.attempts import service as attempts
from crossdock.integrations.attempts.model import Outcome
from crossdock.integrations.connection_test import check_connection
from crossdock.integrations.manifests import capability_contract, manifests
from crossdock.integrations.model import Check, CheckOutcome
from tests.chaos import children
from tests.contracts.mailers import FAULTS, MAILERS, Bench, Clients, Mailer, register

ACTION = "send_mail"
SAMPLE: dict[str, Any] = capability_contract("crossdock.commerce.mail:mailer.json")["actions"][ACTION]["sample"]
each_fault = pytest.mark.parametrize("fault", [pytest.param(name, id=f"{ACTION}-{name}") for name in FAULTS])


class World:
    """A mailer that the hub knows."""

    def __init__(self, bench: Bench, store: Store) -> None:
        self.bench, self.store = bench, store
        register(store, bench)

    def send(self, key: str = "effect-1", *, store: Store | None = None, **given: Any) -> Ended:
        return service.perform(
            store or self.store,
            Clients(self.bench),
            self.bench.name,
            ACTION,
            {**SAMPLE, **given},
            key=key,
            actor="airflow:otto",
        )

    def attempt(self) -> Any:
        with self.store.transaction() as work:
            return repository.find(work, self.bench.name, "effect-1")

    def resolve(self, outcome: Any) -> None:
        attempts.resolve_by_person(self.store, self.attempt().attempt_id, outcome, "looked it up", actor="airflow:otto")


@pytest.fixture(params=MAILERS, ids=lambda mailer: mailer.name)
def mailer(request: pytest.FixtureRequest) -> Mailer:
    chosen: Mailer = request.param
    return chosen


@pytest.fixture
def world(mailer: Mailer, store: Store) -> Iterator[World]:
    with mailer.bench() as bench:
        yield World(bench, store)


def test_a_connector_that_provides_a_mailer_is_in_this_suite() -> None:
    able = {kind for kind, manifest in manifests().items() if "mailer" in manifest.provides}

    assert able == {mailer.kind for mailer in MAILERS}


class TestSending:
    def test_a_mail_is_accepted_once_and_has_an_id(self, world: World) -> None:
        ended = world.send()

        assert isinstance(ended, Done)
        assert ended.output is not None
        assert ended.output["id"]
        assert world.bench.outbox() == [
            {
                "to": SAMPLE["to"]["address"],
                **{name: SAMPLE[name] for name in ("subject", "text", "html")},
            }
        ]
        assert world.attempt().outcome is Outcome.DONE

    def test_a_repetition_sends_nothing(self, world: World) -> None:
        world.send()

        assert isinstance(world.send(), Done)
        assert len(world.bench.outbox()) == 1

    def test_another_mail_with_the_key_is_a_conflict(self, world: World) -> None:
        world.send()

        with pytest.raises(Conflict, match="use a key of its own"):
            world.send(subject="Another")
        assert len(world.bench.outbox()) == 1

    def test_a_mail_without_html_and_with_any_letters_arrives_as_it_is(self, world: World) -> None:
        given = {name: value for name, value in SAMPLE.items() if name != "html"}
        text = "Grüße\n.\n..\n你好 👩🏽‍🚀 " + "x" * 2_000

        service.perform(
            world.store,
            Clients(world.bench),
            world.bench.name,
            ACTION,
            {**given, "text": text, "subject": "Größe ✔", "to": {"address": "ada@bücher.example", "name": "Žofie"}},
            key="effect-1",
            actor="airflow:otto",
        )

        (mail,) = world.bench.outbox()
        assert mail == {"to": "ada@xn--bcher-kva.example", "subject": "Größe ✔", "text": text, "html": ""}

    @pytest.mark.parametrize(
        "given",
        [{"subject": "a\r\nBcc: x@y.example"}, {"to": {"address": "ada@customer.example\nx"}}, {"text": ""}],
        ids=str,
    )
    def test_what_would_add_a_header_is_refused_before_the_call(self, world: World, given: Any) -> None:
        with pytest.raises(InputInvalid):
            world.send(**given)
        assert world.bench.outbox() == []


class TestFaults:
    @each_fault
    def test_a_mail_is_sent_at_most_once_and_never_again_while_nobody_knows(self, world: World, fault: str) -> None:
        world.bench.fault(FAULTS[fault])

        first = world.send()
        mails = len(world.bench.outbox())
        again = world.send()

        kind, sent = (Done, 1) if self.is_accepted_all_the_same(world, fault) else (Unknown, fault.endswith("_after"))
        assert (type(first), type(again), mails) == (kind, kind, sent)
        assert len(world.bench.outbox()) == mails
        assert world.attempt().outcome == (Outcome.DONE if kind is Done else Outcome.UNKNOWN)

    @staticmethod
    def is_accepted_all_the_same(world: World, fault: str) -> bool:
        """SendGrid accepts with a status and a header: its answer has no content whose type could be wrong."""
        return fault == "wrong_type" and world.bench.kind == "sendgrid"

    @pytest.mark.parametrize(("outcome", "kind", "mails"), [(Outcome.DONE, Done, 0), (Outcome.FAILED, Done, 1)])
    def test_a_person_resolves_what_nobody_knows(self, world: World, outcome: Any, kind: type, mails: int) -> None:
        world.bench.fault({"reset": "before"})
        world.send()
        world.resolve(outcome)

        assert isinstance(world.send(), kind)
        assert len(world.bench.outbox()) == mails

    @pytest.mark.parametrize("fault", [pytest.param("status_429", id=f"{ACTION}-status_429")])
    def test_a_system_that_is_busy_has_accepted_nothing_and_another_may_be_asked(
        self, world: World, fault: str
    ) -> None:
        assert fault not in FAULTS
        world.bench.busy()

        ended = world.send()

        assert isinstance(ended, Failed)
        assert (world.bench.outbox(), world.attempt().outcome) == ([], Outcome.FAILED)
        assert isinstance(world.send(), Done)
        assert len(world.bench.outbox()) == 1

    def test_a_refusal_of_our_account_lets_another_be_asked(self, world: World) -> None:
        world.bench.refuse_us()

        ended = world.send()

        assert isinstance(ended, Refused)
        assert (ended.by, ended.try_other, world.bench.outbox()) == (RefusedBy.US, True, [])

    @pytest.mark.crash
    @pytest.mark.parametrize(
        ("killed", "mails"),
        [
            pytest.param("send.begun", 0, id=f"{ACTION}-killed_before"),
            pytest.param("send.answered", 1, id=f"{ACTION}-killed_after"),
        ],
    )
    def test_what_a_killed_process_left_is_not_sent_again(
        self, world: World, hub_dsn: str, killed: str, mails: int
    ) -> None:
        assert children.run(lambda: world.send(store=Store(hub_dsn)), crash_at=killed) == children.KILLED

        assert isinstance(world.send(), Unknown)
        assert len(world.bench.outbox()) == mails


class TestConnection:
    def checks(self, world: World, **changed: Any) -> dict[str, CheckOutcome]:
        return {name: check.outcome for name, check in self.found(world, **changed).items()}

    def found(self, world: World, **changed: Any) -> dict[str, Check]:
        document = {**world.bench.connection(), **changed}
        extra = json.loads(document.pop("extra"))
        connection = Connection(connection_id="tested", conn_type=world.bench.kind, extra=extra, **document)
        return {check.name: check for check in check_connection(manifests()[world.bench.kind], connection)}

    def test_a_right_connection_passes_and_sends_no_mail(self, world: World) -> None:
        found = self.checks(world)

        assert CheckOutcome.FAILED not in found.values()
        assert (found["address"], found["credentials"]) == (CheckOutcome.OK, CheckOutcome.OK)
        assert world.bench.outbox() == []

    def test_a_wrong_password_is_found(self, world: World) -> None:
        found = self.found(world, password="guessed")["credentials"]

        assert found.outcome is CheckOutcome.FAILED
        assert "refused" in found.message

    def test_an_address_in_our_own_network_is_refused(self, world: World) -> None:
        assert self.checks(world, extra="{}")["address"] is CheckOutcome.FAILED
