"""Decisions over REST: one list of what waits for a person, decided once, by who may."""

from __future__ import annotations

from crossdock.core.roles import Role
from crossdock.observability import decisions
from crossdock.observability.decisions import DecisionKind
from tests.api.conftest import Hub
from tests.api.test_orders import place
from tests.shop import query

_WAITS = """
WITH waits AS (UPDATE execution SET waits_for = 'authorise_payment:act', next_at = NULL WHERE subject = %s RETURNING execution_id)
INSERT INTO execution_step (execution_id, step, direction, state, key, tries)
SELECT execution_id, 'authorise_payment', 'act', 'unknown', 'k', 4 FROM waits RETURNING execution_id
"""


def waiting(hub: Hub) -> tuple[str, str]:
    """An order that waits for a person, and the path of the decision."""
    order_id = place(hub).json()["order_id"]
    with hub.store() as store:
        ((execution_id,),) = query(store, _WAITS, order_id)
        with store.transaction() as work:
            decisions.ask(
                work,
                DecisionKind.STEP,
                execution_id,
                about=order_id,
                question="Nobody knows what became of authorise_payment",
                choices=("retry", "done", "refused", "failed", "cancel"),
                role=Role.OPERATOR,
            )
    ((found,),) = [hub.call("GET", f"/v1/decisions?about={order_id}", "vera").json()["decisions"]]
    return order_id, f"/v1/decisions/{found['decision_id']}"


def test_an_operator_decides_once_and_everybody_sees_who_and_when(hub: Hub) -> None:
    order_id, path = waiting(hub)
    body = {"choice": "failed", "reason": "Ada says so"}
    may = {name: hub.call("GET", path, name).json()["you_may"] for name in ("vera", "uma", "dora", "otto", "admin")}

    assert may == {"vera": False, "uma": False, "dora": False, "otto": True, "admin": True}
    assert hub.call("POST", f"{path}/decide", "uma", json=body).status_code == 403
    assert hub.call("POST", f"{path}/decide", "otto", json={**body, "choice": "perhaps"}).status_code == 400
    assert hub.call("POST", f"{path}/decide", "otto", json=body).json()["choice"] == "failed"
    assert hub.call("POST", f"{path}/decide", "otto", json=body).status_code == 409
    seen = hub.call("GET", path, "vera")
    assert (seen.json()["decided_by"], seen.json()["choice"]) == ("airflow:otto", "failed")
    assert "Ada" not in seen.text
    assert hub.call("GET", f"/v1/decisions?about={order_id}", "vera").json()["decisions"] == []
    order = hub.call("GET", f"/v1/orders/{order_id}", "vera").json()
    assert order["waits_for"] is None


def test_each_sees_what_is_theirs_to_decide(hub: Hub) -> None:
    order_id, _ = waiting(hub)
    found = {
        name: len(hub.call("GET", f"/v1/decisions?about={order_id}&mine=true", name).json()["decisions"])
        for name in ("vera", "uma", "otto", "admin")
    }

    assert found == {"vera": 0, "uma": 0, "otto": 1, "admin": 1}
    hub.call("POST", f"/v1/orders/{order_id}/resolve", "otto", json={"outcome": "failed", "reason": "r"})
    (decided,) = hub.call("GET", f"/v1/decisions?about={order_id}&state=decided", "vera").json()["decisions"]
    assert decided["choice"] == "failed"


def test_a_decision_that_is_not_there_is_not_found(hub: Hub) -> None:
    assert hub.call("GET", "/v1/decisions/4711", "vera").status_code == 404


def test_only_a_payments_call_takes_a_reference(hub: Hub) -> None:
    """With another decision it would be lost: the caller would believe that it is kept."""
    _, path = waiting(hub)
    body = {"choice": "done", "reason": "seen there", "ref": "pi_1"}
    refused = hub.call("POST", f"{path}/decide", "otto", json=body)

    assert refused.status_code == 400
    assert "takes no reference" in refused.json()["detail"]


def of_a_workflow(hub: Hub, about: str = "exe_1", **shows: object) -> str:
    """A question of a workflow, and its path."""
    with hub.store() as store, store.transaction() as work:
        decisions.ask(
            work,
            DecisionKind.WORKFLOW,
            f"{about}/ask",
            about=about,
            question="Change a price?",
            choices=("change", "refuse"),
            role=Role.USER,
            shows=shows,
        )
        (found,) = decisions.find(work, about=about)
    return f"/v1/decisions/{found.decision_id}"


def test_a_question_shows_its_values_and_an_operator_sees_who_they_are_about(hub: Hub) -> None:
    customer = {"last_name": "Lovelace", "points": 3}
    shows = {"sku": "RING-17", "new": 2500, "to": "ada@example.com", "customer": customer, "id": "b@example.com"}
    path = of_a_workflow(hub, **shows)
    masked = {**shows, "to": "***", "customer": {"last_name": "***", "points": 3}, "id": "***"}

    assert hub.call("GET", path, "uma").json()["shows"] == masked
    assert hub.call("GET", path, "otto").json()["shows"] == shows
    for name in ("uma", "otto"):
        (listed,) = hub.call("GET", "/v1/decisions?about=exe_1", name).json()["decisions"]
        assert listed["shows"] == masked
    with hub.store() as store:
        recorded = query(
            store, "SELECT actor, act, detail FROM audit_entry WHERE subject = %s", path.removeprefix("/v1/")
        )
    assert recorded == [("airflow:otto", "personal_data.reveal", {"fields": ["customer", "id", "to"]})]


def test_values_about_nobody_are_shown_to_all_and_nothing_is_recorded(hub: Hub) -> None:
    path = of_a_workflow(hub, "exe_2", sku="RING-17", new=2500)

    assert hub.call("GET", path, "otto").json()["shows"] == {"sku": "RING-17", "new": 2500}
    assert hub.call("GET", path, "vera").json()["shows"] == {"sku": "RING-17", "new": 2500}
    with hub.store() as store:
        assert query(store, "SELECT 1 FROM audit_entry WHERE subject = %s", path.removeprefix("/v1/")) == []
