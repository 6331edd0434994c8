"""Actions of a system that knows keys, and of one that nothing is known of: the hub does what the manifest declares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from crossdock.core.errors import BadRequest, Conflict, Declined, IntegrationPaused, NotFound, OutcomeUnknown, Terminal
from crossdock.db.database import Store
from crossdock.http.client import HttpClient
from crossdock.http.model import Limits
from crossdock.http.response import HttpResponse
from crossdock.integrations import manifests as manifests_module
from crossdock.integrations import repository
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import (
    Action,
    ActionKind,
    Done,
    Ended,
    Failed,
    Idempotency,
    LastKnown,
    Refused,
    RefusedBy,
    Unknown,
)
from crossdock.integrations.actions.ports import WriteAction, WriteCall, WriteRequest
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome, Resolution
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from tests.http.charging_server import ChargingServer
from tests.http.raw_server import QUICK
from tests.http.test_send import number_of
from tests.shop import query

INPUT = {
    "type": "object",
    "additionalProperties": False,
    "required": ["amount_minor"],
    "properties": {"amount_minor": {"type": "integer", "minimum": 1}},
}
OUTPUT = {"type": "object", "required": ["charge"], "properties": {"charge": {"type": "integer"}}}
A_DAY = Idempotency(window_s=86_400, replays="all", key_max_length=64, scope="account")


def decline_of(response: HttpResponse) -> Declined | None:
    """It answers 200 and says no."""
    if b"declined" not in response.body:
        return None
    return Declined("acme", response.status, "no funds", code="no_funds", try_other=True)


CHARGE = WriteAction(
    request=lambda _, given: WriteRequest("POST", "/charges", {"amount_minor": given["amount_minor"]}),
    output_of=lambda response: {"charge": number_of(response)},
    decline_of=decline_of,
)


def post_letter(client: Any, given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A call that is no HTTP request: an amount of 1 arrives, 2 is refused, 3 is not said, 4 is answered with nonsense."""
    client.letters.append(key)
    match given["amount_minor"]:
        case 2:
            raise Declined("acme", 550, "no such street", code="5.1.1")
        case 3:
            raise OutcomeUnknown("acme", "letter", "the postman left")
        case 4:
            return {"charge": "nonsense"}
    return {"charge": len(client.letters)}


LETTER = WriteCall(call=post_letter, limits_of=lambda _: Limits())


def get_balance(client: Any, _: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its answer is that of a charge, and not a balance."""
    return {"charge": client.http.get("/balance", {}, lambda response: response.body.decode())}


def get_number(client: Any, _: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"charge": client.http.get("/number", {}, number_of)}


def action(kind: ActionKind = ActionKind.WRITE, run: str = "CHARGE", **fields: Any) -> Action:
    return Action(
        title="Charge",
        description="Charges.",
        kind=kind,
        input=INPUT,
        output=OUTPUT,
        sample={"amount_minor": 1},
        run=f"acme_actions:{run}",
        **fields,
    )


ACME = Manifest(
    kind="acme",
    title="Acme",
    description="A payment service.",
    settings={"properties": {}},
    credentials={"properties": {}, "required": []},
    provides={},
    actions={
        "charge": action(idempotency=A_DAY, unknown="replay"),
        "post": action(idempotency="none", unknown="person"),
        "letter": action(run="LETTER", idempotency="none", unknown="person"),
        "get_balance": action(ActionKind.READ, "get_balance"),
        "get_number": action(ActionKind.READ, "get_number", fallback=LastKnown(last_known_s=3600)),
    },
)


@dataclass(frozen=True)
class _Client:
    http: HttpClient
    letters: list[str] = field(default_factory=list)


class Acme:
    """The system as an integration of the hub."""

    def __init__(self, store: Store, server: ChargingServer) -> None:
        self.store, self.server = store, server

    def perform(self, name: str = "charge", key: str = "order-4711", **given: Any) -> Ended:
        return service.perform(
            self.store, self._client, "acme", name, given or {"amount_minor": 4200}, key=key, actor="workflow:orders"
        )

    @contextmanager
    def _client(self, integration: Integration, manifest: Manifest) -> Iterator[_Client]:
        assert (integration.integration_id, manifest) == ("acme", ACME)
        yield _Client(self.server.client())


@pytest.fixture
def server() -> Iterator[ChargingServer]:
    with ChargingServer() as opened:
        yield opened


@pytest.fixture
def acme(store: Store, server: ChargingServer, monkeypatch: pytest.MonkeyPatch) -> Acme:
    connector = ModuleType("acme_actions")
    for name, value in {
        "CHARGE": CHARGE,
        "LETTER": LETTER,
        "get_balance": get_balance,
        "get_number": get_number,
    }.items():
        setattr(connector, name, value)
    monkeypatch.setitem(sys.modules, "acme_actions", connector)
    monkeypatch.setattr(manifests_module, "manifests", lambda: {"acme": ACME})
    with store.transaction() as work:
        repository.add(
            work,
            integration_id="acme",
            kind="acme",
            name="Acme",
            settings={},
            connection_id="acme",
            actor="cli:up",
            with_credentials=False,
            tested=False,
        )
    return Acme(store, server)


class TestDecisions:
    """A system that decided against a request: that is its outcome, whatever came before."""

    @pytest.fixture
    def server(self) -> Iterator[ChargingServer]:
        with ChargingServer(funds_minor=100) as opened:
            yield opened

    def outcome(self, acme: Acme) -> tuple[Outcome, Resolution | None]:
        with acme.store.transaction() as work:
            found = attempts.find(work, "acme", "order-4711")
        assert found is not None
        return found.outcome, found.resolution

    def test_a_decision_is_a_refusal_with_its_reason_and_says_whether_another_may_be_asked(self, acme: Acme) -> None:
        ended = acme.perform()

        assert isinstance(ended, Refused)
        assert (ended.by, ended.code, ended.try_other) == (RefusedBy.DECISION, "no_funds", True)
        assert self.outcome(acme) == (Outcome.REFUSED, None)

    @pytest.mark.parametrize("fault", [{"reset": "after"}, {"bad_gateway": "after"}], ids=str)
    def test_a_decision_that_the_system_replays_settles_a_lost_answer(self, acme: Acme, fault: Any) -> None:
        acme.server.faults.put("*", [fault])

        assert isinstance(acme.perform(), Refused)
        assert self.outcome(acme) == (Outcome.REFUSED, None)

    def test_a_decision_settles_what_an_earlier_call_left_unknown(self, acme: Acme) -> None:
        acme.server.faults.put("*", [{"reset": "after"}] * QUICK.attempts)
        assert isinstance(acme.perform(), Unknown)

        assert isinstance(acme.perform(), Refused)
        assert self.outcome(acme) == (Outcome.REFUSED, Resolution.REPLAYED_KEY)

    @pytest.mark.parametrize(
        ("status", "try_other"), [(401, True), (403, True), (404, True), (400, False), (422, False)]
    )
    def test_a_refusal_of_our_account_lets_another_system_be_asked_and_one_of_our_request_does_not(
        self, acme: Acme, status: int, try_other: bool
    ) -> None:
        acme.server.faults.put("*", [{"status": status}])

        ended = acme.perform()

        assert isinstance(ended, Refused)
        assert (ended.by, ended.try_other) == (RefusedBy.US, try_other)

    def test_no_other_system_is_asked_for_an_unknown_effect(self) -> None:
        assert not Unknown("it may have come").try_other
        assert Failed("it did not come").try_other


class TestSystemWithoutHttp:
    """The connector's client makes the call; the hub has logged it."""

    @pytest.mark.parametrize(
        ("amount", "kind", "outcome"),
        [
            (1, Done, Outcome.DONE),
            (2, Refused, Outcome.REFUSED),
            (3, Unknown, Outcome.UNKNOWN),
            (4, Unknown, Outcome.UNKNOWN),
        ],
    )
    def test_a_call_ends_as_its_client_says(self, acme: Acme, amount: int, kind: type, outcome: Outcome) -> None:
        assert isinstance(acme.perform("letter", amount_minor=amount), kind)
        with acme.store.transaction() as work:
            found = attempts.find(work, "acme", "order-4711")
        assert found is not None
        assert found.outcome == outcome

    @pytest.mark.parametrize("amount", [1, 3])
    def test_what_may_have_arrived_is_not_called_again(self, acme: Acme, amount: int) -> None:
        first, again = (acme.perform("letter", amount_minor=amount) for _ in range(2))

        assert isinstance(again, Done if amount == 1 else Unknown)
        assert again != first or amount == 3
        assert query(acme.store, "SELECT count(*) FROM attempt") == [(1,)]


class TestFallback:
    """A read whose system does not answer gives what it said last, with its age, if its action says so."""

    def down(self, acme: Acme) -> None:
        acme.server.faults.put("*", [{"status": 503}] * QUICK.attempts)

    def test_the_last_known_output_comes_with_its_age(self, acme: Acme) -> None:
        known = acme.perform("get_number")
        assert known == Done({"charge": 1})
        self.down(acme)

        ended = acme.perform("get_number")

        assert isinstance(ended, Done)
        assert ended.output == {"charge": 1}
        assert ended.age_s is not None
        assert 0 <= ended.age_s < 3600

    def test_what_is_too_old_or_of_another_input_is_not_given(self, acme: Acme) -> None:
        acme.perform("get_number")
        self.down(acme)
        assert isinstance(acme.perform("get_number", amount_minor=7), Failed)
        with acme.store.transaction() as work:
            work.execute(b"UPDATE last_known_read SET read_at = read_at - interval '2 hours'")
        self.down(acme)
        assert isinstance(acme.perform("get_number"), Failed)

    def test_a_refusal_is_an_answer_and_no_reason_to_fall_back(self, acme: Acme) -> None:
        acme.perform("get_number")
        acme.server.faults.put("*", [{"status": 404}])
        assert isinstance(acme.perform("get_number"), Refused)

    def test_a_read_that_stops_has_no_fallback(self, acme: Acme) -> None:
        acme.perform("get_balance")
        self.down(acme)
        assert isinstance(acme.perform("get_balance"), Failed)
        assert query(acme.store, "SELECT count(*) FROM last_known_read") == [(0,)]


class TestSystemWithKeys:
    def test_a_repetition_gets_the_answer_that_the_system_replays(self, acme: Acme) -> None:
        assert [acme.perform() for _ in range(2)] == [Done({"charge": 1})] * 2
        assert len(acme.server.charges) == 1

    @pytest.mark.parametrize("fault", [{"reset": "after"}, {"bad_gateway": "after"}, {"status": 429}], ids=str)
    def test_a_lost_answer_is_resolved_within_the_call(self, acme: Acme, fault: Any) -> None:
        acme.server.faults.put("*", [fault])

        assert acme.perform() == Done({"charge": 1})
        assert len(acme.server.charges) == 1

    def test_an_outcome_that_stays_unknown_is_resolved_by_the_next_call(self, acme: Acme) -> None:
        acme.server.faults.put("*", [{"reset": "after"}] * QUICK.attempts)

        assert isinstance(acme.perform(), Unknown)
        assert acme.perform() == Done({"charge": 1})
        assert query(acme.store, "SELECT outcome, resolution FROM attempt") == [("done", "replayed_key")]


class TestSystemWithoutKeys:
    def test_a_lost_answer_waits_for_a_person_and_nothing_is_sent_again(self, acme: Acme) -> None:
        acme.server.faults.put("*", [{"reset": "after"}])

        ended = [acme.perform("post") for _ in range(2)]

        assert all(isinstance(each, Unknown) and "Look it up in the system" in each.message for each in ended)
        assert len(acme.server.requests) == 1

    def test_what_was_done_is_done_though_its_answer_is_gone(self, acme: Acme) -> None:
        assert [acme.perform("post"), acme.perform("post")] == [Done({"charge": 1}), Done(None)]
        assert len(acme.server.charges) == 1


class TestRefusedBeforeTheCall:
    def test_an_invalid_input(self, acme: Acme) -> None:
        with pytest.raises(BadRequest, match=r"/input/order: is not known; .*/input/amount_minor: must be at least 1"):
            acme.perform(amount_minor=0, order="4711")
        assert len(acme.server.requests) == 0

    def test_a_paused_integration(self, acme: Acme) -> None:
        integration_service.pause(acme.store, "acme", actor="airflow:otto")

        with pytest.raises(IntegrationPaused, match="paused by airflow:otto"):
            acme.perform()
        assert len(acme.server.requests) == 0

    def test_another_input_with_the_key(self, acme: Acme) -> None:
        acme.perform()

        with pytest.raises(Conflict, match=r"was used for another 'charge' request\. Nothing was sent"):
            acme.perform(amount_minor=1)
        assert len(acme.server.charges) == 1

    def test_an_unknown_action(self, acme: Acme) -> None:
        with pytest.raises(
            NotFound, match=r"Acme has no action 'refund'\. Actions: charge, post, letter, get_balance, get_number"
        ):
            acme.perform("refund")

    def test_a_call_inside_a_transaction(self, acme: Acme) -> None:
        """The attempt would be committed after the call, or rolled back with the caller's work."""
        with acme.store.transaction(), pytest.raises(Terminal, match="Commit first"):
            acme.perform()
        assert len(acme.server.requests) == 0


def test_a_refusal_is_a_value(acme: Acme) -> None:
    acme.server.faults.put("*", [{"status": 403}])
    ended = acme.perform()

    assert isinstance(ended, Refused)
    assert ended.status == 403


def test_an_answer_that_is_not_the_declared_output_is_a_failure_of_a_read(acme: Acme) -> None:
    """A workflow's next step would otherwise fail on it, and blame its own input."""
    ended = acme.perform("get_balance")

    assert isinstance(ended, Failed)
    assert ended.message.startswith("acme answered get_balance with an invalid document: /charge: must be of the type")


def test_an_answer_that_is_not_the_declared_output_leaves_a_write_unknown(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system did, it did not say."""
    text = WriteAction(request=CHARGE.request, output_of=lambda response: {"charge": str(number_of(response))})
    monkeypatch.setattr(sys.modules["acme_actions"], "CHARGE", text)

    ended = acme.perform("post")

    assert isinstance(ended, Unknown)
    assert "is not what post answers" in ended.message
