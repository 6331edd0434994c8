"""Actions of a system that knows keys, and of one that nothing is known of: the hub does what the manifest declares."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pytest

from crossdock.core.errors import BadRequest, Conflict, IntegrationPaused, NotFound, Terminal
from crossdock.db.database import Store
from crossdock.http.client import HttpClient
from crossdock.integrations import manifests as manifests_module
from crossdock.integrations import repository
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Action, ActionKind, Done, Ended, Failed, Idempotency, Refused, Unknown
from crossdock.integrations.actions.ports import WriteAction, WriteRequest
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

CHARGE = WriteAction(
    request=lambda _, given: WriteRequest("POST", "/charges", {"amount_minor": given["amount_minor"]}),
    output_of=lambda response: {"charge": number_of(response)},
)


def get_balance(client: Any, _: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its answer is that of a charge, and not a balance."""
    return {"charge": client.http.get("/balance", {}, lambda response: response.body.decode())}


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
        "get_balance": action(ActionKind.READ, "get_balance"),
    },
)


@dataclass(frozen=True)
class _Client:
    http: HttpClient


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
    connector.CHARGE, connector.get_balance = CHARGE, get_balance  # type: ignore[attr-defined]
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
        with pytest.raises(BadRequest, match=r"/input/order: is not known; .*/input/amount_minor: must have minimum 1"):
            acme.perform(amount_minor=0, order="4711")
        assert len(acme.server.requests) == 0

    def test_a_paused_integration(self, acme: Acme) -> None:
        integration_service.pause(acme.store, "acme", actor="airflow:otto")

        with pytest.raises(IntegrationPaused, match="paused by airflow:otto"):
            acme.perform()
        assert len(acme.server.requests) == 0

    def test_another_input_with_the_key(self, acme: Acme) -> None:
        acme.perform()

        with pytest.raises(Conflict):
            acme.perform(amount_minor=1)
        assert len(acme.server.charges) == 1

    def test_an_unknown_action(self, acme: Acme) -> None:
        with pytest.raises(NotFound, match=r"Acme has no action 'refund'\. Actions: charge, post, get_balance"):
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
    assert '/charge: must have type "integer"' in ended.message


def test_an_answer_that_is_not_the_declared_output_leaves_a_write_unknown(
    acme: Acme, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the system did, it did not say."""
    text = WriteAction(request=CHARGE.request, output_of=lambda response: {"charge": str(number_of(response))})
    monkeypatch.setattr(sys.modules["acme_actions"], "CHARGE", text)

    ended = acme.perform("post")

    assert isinstance(ended, Unknown)
    assert "is not what post answers" in ended.message
