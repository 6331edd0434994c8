"""The attempt log over REST: what nobody knows can be found, and a person can say what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest

from crossdock.db.database import Store
from crossdock.integrations.attempts import repository
from crossdock.integrations.attempts.model import Attempt, Outcome, Write
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.shop import query


@pytest.fixture
def store(hub: Hub) -> Iterator[Store]:
    with hub.store() as opened:
        yield opened


def attempt(store: Store, outcome: Outcome | None) -> Attempt:
    """Log a call to an integration of its own; None for one that may still be running."""
    key = str(uuid.uuid4())
    write = Write(integration=f"acme_{key[:8]}", action="charge", key=key, method="POST", path="/charges")
    with store.transaction() as work:
        begun, _ = repository.begin(work, write, longest=timedelta(minutes=5), asks_person=True)
        if outcome is not None:
            repository.end(work, begun, outcome)
    return begun


def listed(hub: Hub, of: Attempt, state: str = "unresolved") -> list[str]:
    answer = hub.call("GET", "/v1/attempts", "vera", params={"state": state, "integration": of.integration})
    return [found["outcome"] for found in answer.json()["attempts"]]


def test_the_list_has_what_nobody_knows_and_nothing_that_may_still_be_running(hub: Hub, store: Store) -> None:
    unknown, running, done = (attempt(store, outcome) for outcome in (Outcome.UNKNOWN, None, Outcome.DONE))

    assert [listed(hub, each) for each in (unknown, running, done)] == [["unknown"], [], []]
    assert [listed(hub, each, "all") for each in (unknown, running, done)] == [["unknown"], ["open"], ["done"]]


def test_what_nobody_knows_is_decided_in_the_list_of_all_that_waits_for_a_person(hub: Hub, store: Store) -> None:
    begun = attempt(store, Outcome.UNKNOWN)
    about = {"about": f"{begun.integration}/{begun.key}"}
    (asked,) = hub.call("GET", "/v1/decisions", "vera", params=about).json()["decisions"]
    of, body = f"/v1/decisions/{asked['decision_id']}/decide", {"choice": "done", "reason": "it is there"}

    assert_problem(hub.call("POST", of, "uma", json=body), 403, "forbidden")
    assert hub.call("POST", of, "otto", json=body).json()["choice"] == "done"
    assert listed(hub, begun, "all") == ["done"]
    again = hub.call(
        "POST", f"/v1/attempts/{begun.attempt_id}/resolve", "otto", json={"outcome": "done", "reason": "r"}
    )
    assert_problem(again, 409, "conflict")


def test_pages_have_each_attempt_once(hub: Hub, store: Store) -> None:
    mine = {attempt(store, Outcome.UNKNOWN).attempt_id for _ in range(3)}
    found: list[int] = []
    cursor = None
    while cursor is not None or not found:
        page = hub.call("GET", "/v1/attempts", params={"limit": 2, "cursor": cursor}).json()
        found += [each["attempt_id"] for each in page["attempts"]]
        cursor = page["next_cursor"]
    assert mine <= set(found)
    assert len(found) == len(set(found))


def test_a_person_resolves_what_nobody_knew_once(hub: Hub, store: Store) -> None:
    unknown = attempt(store, Outcome.UNKNOWN)
    of = f"/v1/attempts/{unknown.attempt_id}"
    said = {"outcome": "done", "reason": "the order is there"}

    assert_problem(hub.call("POST", f"{of}/resolve", "dora", json=said), 403, "forbidden")
    answer = hub.call("POST", f"{of}/resolve", "otto", json=said)
    assert (answer.status_code, answer.json()["outcome"], answer.json()["resolution"]) == (200, "done", "person")
    assert_problem(hub.call("POST", f"{of}/resolve", "otto", json={**said, "outcome": "failed"}), 409, "conflict")
    assert hub.call("GET", of, "vera").json()["outcome"] == "done"
    entries = query(store, "SELECT actor, detail FROM audit_entry WHERE subject = %s", f"attempt/{unknown.attempt_id}")
    assert [(actor, detail["outcome"]) for actor, detail in entries] == [("airflow:otto", "done")]


def test_a_call_that_may_still_be_running_is_resolved_by_nobody(hub: Hub, store: Store) -> None:
    of = f"/v1/attempts/{attempt(store, None).attempt_id}"

    answer = hub.call("POST", f"{of}/resolve", json={"outcome": "failed", "reason": "it looks so"})
    assert_problem(answer, 409, "conflict")
    assert hub.call("GET", of).json()["outcome"] == "open"
