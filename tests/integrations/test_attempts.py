"""The attempt log: a call that writes leaves a row before it is sent, whatever becomes of the process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from crossdock.core.errors import (
    BadRequest,
    Conflict,
    NotFound,
    OutcomeUnknown,
    SystemRefused,
    SystemUnavailable,
    Terminal,
)
from crossdock.db.database import Store
from crossdock.http.client import HttpClient
from crossdock.http.model import KeyRules
from crossdock.integrations.attempts import repository, service
from crossdock.integrations.attempts.model import AlreadyDone, Attempt, KeyReused, Outcome, Resolution, Write
from crossdock.observability import decisions
from crossdock.observability.decisions import AlreadyDecided, Decision
from tests.chaos import children
from tests.http.charging_server import A_DAY, BODY, ChargingServer
from tests.http.raw_server import QUICK, RawServer, answer
from tests.http.test_send import number_of
from tests.shop import free_port, query

WRITE = Write(
    integration="acme", action="charge", key="order-4711", method="POST", path="/charges", body=BODY, key_rules=A_DAY
)
#: The same for a system that knows no keys.
KEYLESS = msgspec.structs.replace(WRITE, key_rules=None)
_LONG = timedelta(minutes=5)


@pytest.fixture
def server() -> Iterator[ChargingServer]:
    with ChargingServer() as opened:
        yield opened


def send(store: Store, client: HttpClient, write: Write = WRITE) -> Any:
    return service.send(store, client, write, number_of)


def only(store: Store) -> Attempt:
    """The one attempt that there is."""
    with store.transaction() as work:
        ((attempt_id,),) = work.execute(b"SELECT attempt_id FROM attempt").fetchall()
        return repository.get(work, attempt_id)


def unresolved(store: Store) -> list[Attempt]:
    with store.transaction() as work:
        return repository.unresolved(work)


def pass_time(store: Store, interval: str) -> None:
    query(
        store,
        f"UPDATE attempt SET sent_at = sent_at - interval '{interval}', open_until = open_until - interval '{interval}'"
        " RETURNING 1",
    )


def asked(store: Store) -> list[Decision]:
    with store.transaction() as work:
        return decisions.find(work)


class TestQuestion:
    """Whoever waits for no other answer asks a person, from the moment at which the call must be over."""

    def begin(self, store: Store, *, asks_person: bool = True) -> Attempt:
        with store.transaction() as work:
            return repository.begin(work, WRITE, longest=_LONG, asks_person=asks_person)[0]

    def end(self, store: Store, attempt: Attempt, outcome: Outcome) -> None:
        with store.transaction() as work:
            repository.end(work, attempt, outcome, Resolution.GET if outcome is Outcome.DONE else None)

    def test_nobody_is_asked_about_a_call_that_may_still_be_running(self, store: Store) -> None:
        self.begin(store)
        assert asked(store) == []

    def test_a_person_is_asked_about_the_call_of_a_process_that_was_killed(self, store: Store) -> None:
        attempt = self.begin(store)
        query(store, "UPDATE decision SET opened_at = opened_at - interval '5 minutes' RETURNING 1")

        (decision,) = asked(store)
        assert (decision.subject, decision.about) == (str(attempt.attempt_id), "acme/order-4711")
        assert decision.choices == ("done", "refused", "failed")

    def test_nobody_is_asked_any_more_once_it_is_known(self, store: Store) -> None:
        attempt = self.begin(store)
        self.end(store, attempt, Outcome.UNKNOWN)
        assert len(asked(store)) == 1

        self.end(store, attempt, Outcome.DONE)
        assert asked(store) == []

    def test_a_webhook_that_says_it_withdraws_the_question(self, store: Store) -> None:
        attempt = self.begin(store)
        self.end(store, attempt, Outcome.UNKNOWN)
        with store.transaction() as work:
            repository.resolve(work, attempt.attempt_id, Outcome.FAILED, Resolution.WEBHOOK)

        assert asked(store) == []

    def test_of_a_step_the_step_asks(self, store: Store) -> None:
        self.end(store, self.begin(store, asks_person=False), Outcome.UNKNOWN)
        assert asked(store) == []

    def test_of_two_people_the_second_learns_who_decided(self, store: Store) -> None:
        self.end(store, self.begin(store), Outcome.UNKNOWN)
        (decision,) = asked(store)
        service.decide(store, decision, "failed", "not there", "ada")

        assert only(store).outcome is Outcome.FAILED
        with pytest.raises(AlreadyDecided, match="by ada"):
            service.decide(store, decision, "done", "it is", "bob")

    def test_who_uses_a_key_again_says_anew_whether_a_person_is_asked(self, store: Store) -> None:
        """A step that failed is done by a person, who waits for no answer of a step."""
        self.end(store, self.begin(store, asks_person=False), Outcome.FAILED)
        self.end(store, self.begin(store), Outcome.UNKNOWN)

        assert len(asked(store)) == 1

    def test_a_key_that_is_used_again_asks_again(self, store: Store) -> None:
        self.end(store, self.begin(store), Outcome.UNKNOWN)
        service.decide(store, asked(store)[0], "failed", "not there", "ada")
        self.end(store, self.begin(store), Outcome.UNKNOWN)

        assert [decision.choice for decision in asked(store)] == [None]


class TestOutcome:
    def test_what_was_done_is_known_as_done(self, store: Store, server: ChargingServer) -> None:
        assert send(store, server.client()) == 1

        found = only(store)
        assert (found.integration, found.action, found.key) == ("acme", "charge", "order-4711")
        assert (found.outcome, found.resolution) == (Outcome.DONE, None)
        assert found.known_at is not None
        assert found.known_at >= found.sent_at
        assert unresolved(store) == []

    def test_a_refusal_is_known_as_such(self, store: Store) -> None:
        with RawServer(answer(b"{}", "402 Declined")) as server, pytest.raises(SystemRefused):
            send(store, server.client())
        assert only(store).outcome is Outcome.REFUSED

    def test_a_request_that_did_not_arrive_has_failed(self, store: Store) -> None:
        with pytest.raises(SystemUnavailable):
            send(store, HttpClient("acme", f"http://127.0.0.1:{free_port()}", limits=QUICK))
        assert only(store).outcome is Outcome.FAILED

    def test_a_lost_answer_is_unknown_and_found(self, store: Store, server: ChargingServer) -> None:
        server.faults.put("*", [{"reset": "after"}])
        with pytest.raises(OutcomeUnknown):
            send(store, server.client(), KEYLESS)

        (found,) = unresolved(store)
        assert (found.outcome, found.known_at, found.key) == (Outcome.UNKNOWN, None, "order-4711")

    def test_the_row_is_committed_before_the_request_is_sent(self, store: Store, hub_dsn: str) -> None:
        """The server looks while it has the request."""
        seen: list[Attempt] = []

        def look(connection: Any) -> None:
            with Store(hub_dsn) as other:
                seen.append(only(other))
            connection.sendall(answer(b'{"charge": 1}'))

        with RawServer(look) as server:
            send(store, server.client())
        assert [found.outcome for found in seen] == [Outcome.OPEN]

    def test_no_call_is_made_inside_a_transaction(self, store: Store, server: ChargingServer) -> None:
        """The row would be a part of that transaction: committed after the call, or rolled back with it."""
        with store.transaction(), pytest.raises(Terminal, match="Commit first"):
            send(store, server.client())
        assert len(server.requests) == 0

    def test_nothing_of_the_request_but_a_digest_is_kept(self, store: Store, server: ChargingServer) -> None:
        """Its body may be of a person."""
        write = msgspec.structs.replace(WRITE, body={"email": "ada@example.com"}, query={"token": "canary"})
        send(store, server.client(), write)

        ((row,),) = query(store, "SELECT attempt::text FROM attempt")
        assert "ada" not in row
        assert "canary" not in row

    def test_a_key_that_some_system_would_refuse_is_no_attempt(self) -> None:
        with pytest.raises(BadRequest, match="Invalid idempotency key: use 1 to 64 visible ASCII characters"):
            msgspec.structs.replace(WRITE, key="a b")


class TestRepetition:
    def test_the_answer_of_a_key_is_replayed(self, store: Store, server: ChargingServer) -> None:
        """The worker was killed after the outcome was committed, and before its answer was."""
        assert [send(store, server.client()) for _ in range(3)] == [1, 1, 1]
        assert len(server.charges) == 1
        assert only(store).outcome is Outcome.DONE

    def test_without_keys_a_call_that_was_done_is_not_made_again(self, store: Store, server: ChargingServer) -> None:
        send(store, server.client(), KEYLESS)
        with pytest.raises(AlreadyDone, match="was done on"):
            send(store, server.client(), KEYLESS)
        assert len(server.requests) == 1

    def test_another_payload_under_the_key_is_refused(self, store: Store, server: ChargingServer) -> None:
        """The key would get the answer of the other request."""
        send(store, server.client())
        for other in (
            {"body": BODY | {"amount_minor": 1}},
            {"path": "/refunds"},
            {"action": "refund"},
            {"query": {"a": 1}},
        ):
            with pytest.raises(KeyReused, match="use a key of its own"):
                send(store, server.client(), msgspec.structs.replace(WRITE, **other))
        assert len(server.requests) == 1

    def test_the_order_of_fields_is_no_other_payload(self, store: Store, server: ChargingServer) -> None:
        send(store, server.client())
        assert send(store, server.client(), msgspec.structs.replace(WRITE, body=dict(reversed(BODY.items())))) == 1

    def test_the_same_key_at_another_integration_is_another_attempt(self, store: Store, server: ChargingServer) -> None:
        send(store, server.client(), KEYLESS)
        send(store, server.client(), msgspec.structs.replace(KEYLESS, integration="acme_eu"))
        assert len(server.charges) == 2

    @pytest.mark.parametrize("write", [WRITE, KEYLESS])
    def test_what_had_no_effect_is_sent_again(self, store: Store, server: ChargingServer, write: Write) -> None:
        """Refused with 429 for longer than the retries, then with a bad credential; at last it is done."""
        server.faults.put("*", [{"status": 429}] * QUICK.attempts + [{"status": 403}])
        for kind in (SystemUnavailable, SystemRefused):
            with pytest.raises(kind):
                send(store, server.client(), write)

        assert send(store, server.client(), write) == 1
        assert (only(store).outcome, only(store).resolution) == (Outcome.DONE, None)

    def test_an_unknown_outcome_is_resolved_by_the_key(self, store: Store, server: ChargingServer) -> None:
        server.faults.put("*", [{"reset": "after"}] * QUICK.attempts)
        with pytest.raises(OutcomeUnknown):
            send(store, server.client())

        assert send(store, server.client()) == 1
        assert (only(store).outcome, only(store).resolution) == (Outcome.DONE, Resolution.REPLAYED_KEY)
        assert len(server.charges) == 1

    def test_an_unknown_outcome_without_keys_is_not_repeated(self, store: Store, server: ChargingServer) -> None:
        server.faults.put("*", [{"reset": "before"}])
        for _ in range(2):
            with pytest.raises(OutcomeUnknown):
                send(store, server.client(), KEYLESS)
        assert len(server.requests) == 1

    def test_after_the_window_of_the_key_nothing_is_repeated(self, store: Store, server: ChargingServer) -> None:
        """The window counts from the first request of all processes, not from the start of this one."""
        server.faults.put("*", [{"reset": "after"}] * QUICK.attempts)
        with pytest.raises(OutcomeUnknown):
            send(store, server.client())
        pass_time(store, "23 hours 59 minutes")

        with pytest.raises(OutcomeUnknown, match="no known outcome"):
            send(store, server.client())
        assert len(server.requests) == QUICK.attempts

    def test_the_refusal_of_a_repetition_does_not_resolve_it(self, store: Store) -> None:
        """The token expired between the two: that says nothing of the first."""
        lost = [lambda connection: connection.close()] * QUICK.attempts
        with RawServer(*lost, answer(b"{}", "401 Unauthorized")) as server:
            for _ in range(2):
                with pytest.raises(OutcomeUnknown):
                    send(store, server.client())
        assert [found.outcome for found in unresolved(store)] == [Outcome.UNKNOWN]

    def test_nor_does_it_say_what_became_of_a_killed_process(self, store: Store) -> None:
        """Its row is still open; a refusal written there would allow the call to be made a second time."""
        with store.transaction() as work:
            repository.begin(work, WRITE, longest=-_LONG)
        with RawServer(answer(b"{}", "401 Unauthorized")) as server, pytest.raises(OutcomeUnknown):
            send(store, server.client())
        assert [found.outcome for found in unresolved(store)] == [Outcome.UNKNOWN]

    def test_a_done_call_whose_answer_is_not_replayed_stays_done(self, store: Store) -> None:
        """Its caller must not take the refusal for that of the call."""
        with RawServer(answer(b'{"charge": 1}'), answer(b"{}", "401 Unauthorized")) as server:
            send(store, server.client())
            with pytest.raises(AlreadyDone):
                send(store, server.client())
        assert only(store).outcome is Outcome.DONE

    def test_a_second_worker_does_not_send_while_the_first_does(self, store: Store, hub_dsn: str) -> None:
        refused: list[Exception] = []

        def meanwhile(connection: Any) -> None:
            with Store(hub_dsn) as other, pytest.raises(OutcomeUnknown) as caught:
                send(other, server.client(), KEYLESS)
            refused.append(caught.value)
            connection.sendall(answer(b'{"charge": 1}'))

        with RawServer(meanwhile) as server:
            assert send(store, server.client(), KEYLESS) == 1
            assert (len(server.requests), len(refused)) == (1, 1)
        assert only(store).outcome is Outcome.DONE

    @pytest.mark.parametrize(
        ("first", "second", "outcome"),
        [
            (Outcome.REFUSED, Outcome.UNKNOWN, Outcome.UNKNOWN),
            (Outcome.UNKNOWN, Outcome.REFUSED, Outcome.UNKNOWN),
            (Outcome.UNKNOWN, Outcome.DONE, Outcome.DONE),
            (Outcome.DONE, Outcome.UNKNOWN, Outcome.DONE),
            (Outcome.DONE, Outcome.FAILED, Outcome.DONE),
            (Outcome.FAILED, Outcome.DONE, Outcome.DONE),
        ],
    )
    def test_two_calls_with_one_key_end_the_same_in_any_order(
        self, store: Store, first: Outcome, second: Outcome, outcome: Outcome
    ) -> None:
        """One refused and the other lost: nobody knows. One done: it is done, whatever the other met."""
        with store.transaction() as work:
            attempt, _ = repository.begin(work, WRITE, longest=_LONG)
        for ended in (first, second):
            with store.transaction() as work:
                repository.end(work, attempt, ended)

        assert only(store).outcome is outcome


@pytest.mark.crash
class TestKilled:
    @pytest.mark.parametrize("write", [WRITE, KEYLESS])
    def test_between_the_request_and_its_answer(self, store: Store, hub_dsn: str, write: Write) -> None:
        """The one moment at which neither side knows of the other: one effect, and a row that says so."""
        with ChargingServer({"timeout": "after", "hold_s": 600}) as server:
            worker = children.start(lambda: send(Store(hub_dsn), server.client(), write))
            while not server.charges:
                time.sleep(0.01)
            os.kill(worker, signal.SIGKILL)
            assert children.ended(worker) == children.KILLED

            assert (only(store).outcome, unresolved(store)) == (Outcome.OPEN, [])
            pass_time(store, "1 hour")
            assert [found.outcome for found in unresolved(store)] == [Outcome.UNKNOWN]
            if write.key_rules:
                assert send(store, server.client(), write) == 1
                assert only(store).resolution is Resolution.REPLAYED_KEY
            else:
                with pytest.raises(OutcomeUnknown):
                    send(store, server.client(), write)
            assert len(server.charges) == 1

    def test_a_row_that_is_written_after_the_call_is_found(
        self, store: Store, hub_dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The known-bad variant: the process is gone, and nobody knows that it sent anything."""

        def hasty(store: Store, client: HttpClient, write: Write, parse: Any) -> Any:
            answer = client.send(write.method, write.path, write.body, parse)
            with store.transaction() as work:
                attempt, _ = repository.begin(work, write, longest=_LONG)
                repository.end(work, attempt, Outcome.DONE)
            return answer

        monkeypatch.setattr(service, "send", hasty)
        with pytest.raises(ValueError, match="not enough values"):
            self.test_between_the_request_and_its_answer(store, hub_dsn, KEYLESS)

    @pytest.mark.parametrize(("point", "effects"), [("send.begun", 0), ("send.answered", 1)])
    def test_at_each_failpoint(
        self, store: Store, hub_dsn: str, server: ChargingServer, point: str, effects: int
    ) -> None:
        assert children.run(lambda: send(Store(hub_dsn), server.client()), crash_at=point) == children.KILLED
        assert (len(server.charges), only(store).outcome) == (effects, Outcome.OPEN)

        assert send(store, server.client()) == 1
        assert (len(server.charges), only(store).outcome) == (1, Outcome.DONE)


class TestResolve:
    @pytest.fixture
    def unknown(self, store: Store, server: ChargingServer) -> Attempt:
        server.faults.put("*", [{"reset": "before"}])
        with pytest.raises(OutcomeUnknown):
            send(store, server.client(), KEYLESS)
        return only(store)

    @pytest.mark.parametrize("resolution", Resolution)
    def test_how_it_became_known_is_kept(self, store: Store, unknown: Attempt, resolution: Resolution) -> None:
        with store.transaction() as work:
            resolved = repository.resolve(work, unknown.attempt_id, Outcome.DONE, resolution)

        assert (resolved.outcome, resolved.resolution) == (Outcome.DONE, resolution)
        assert unresolved(store) == []

    def test_what_had_no_effect_may_be_sent_again(self, store: Store, server: ChargingServer, unknown: Attempt) -> None:
        with store.transaction() as work:
            repository.resolve(work, unknown.attempt_id, Outcome.FAILED, Resolution.LIST)

        assert send(store, server.client(), KEYLESS) == 1

    def test_what_is_known_is_not_resolved_again(self, store: Store, unknown: Attempt) -> None:
        """A person and a webhook at the same time: the first counts."""
        with store.transaction() as work:
            repository.resolve(work, unknown.attempt_id, Outcome.DONE, Resolution.WEBHOOK)
        with store.transaction() as work, pytest.raises(Conflict, match="is done, not unknown"):
            repository.resolve(work, unknown.attempt_id, Outcome.FAILED, Resolution.PERSON)
        assert only(store).outcome is Outcome.DONE

    def test_a_call_that_may_still_run_is_not_resolved(self, store: Store) -> None:
        """Nobody can know yet how it ends."""
        with store.transaction() as work:
            attempt, _ = repository.begin(work, KEYLESS, longest=_LONG)
        with store.transaction() as work, pytest.raises(Conflict, match="is open, not unknown"):
            repository.resolve(work, attempt.attempt_id, Outcome.FAILED, Resolution.PERSON)

    def test_a_worker_that_slept_does_not_change_what_came_after_it(self, store: Store) -> None:
        """Resolved as failed and sent again: the late outcome is that of the first request."""
        with store.transaction() as work:
            late, _ = repository.begin(work, KEYLESS, longest=-_LONG)
        with store.transaction() as work:
            repository.resolve(work, late.attempt_id, Outcome.FAILED, Resolution.PERSON)
        with store.transaction() as work:
            _, is_new = repository.begin(work, KEYLESS, longest=_LONG)
        with store.transaction() as work:
            repository.end(work, late, Outcome.DONE)

        assert (is_new, only(store).outcome) == (True, Outcome.OPEN)

    def test_an_attempt_that_is_not_there(self, store: Store) -> None:
        with store.transaction() as work, pytest.raises(NotFound):
            repository.resolve(work, 4711, Outcome.DONE, Resolution.PERSON)


def test_a_window_that_nobody_states_is_none(store: Store, server: ChargingServer) -> None:
    """The key is sent, and helps where the system knows it; but nothing relies on that."""
    write = msgspec.structs.replace(WRITE, key_rules=KeyRules())
    server.faults.put("*", [{"reset": "after"}])
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            send(store, server.client(), write)
    assert server.received == [("order-4711", server.charges[0])]
