"""Deployments and executions over HTTP: only what was tested is deployed, and every execution can be followed to its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from crossdock.api.access import ACTS_AS
from crossdock.core.roles import Role
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.workflows import service as engine
from tests.api.test_idempotency import new_key
from tests.api.test_workflows import add_integration, api, post
from tests.shop import query
from tests.workflows.declared.systems import Systems, answers, flows_of, go_on
from tests.workflows.declared.test_executions import FAILED, UNKNOWN
from tests.workflows.declared.test_trial import parsed

__all__ = ["api"]  # a fixture

DEFINITION = """
schema: crossdock.workflow/1
id: look_up
version: 1
title: Look a customer up
integrations: {crm: hubspot}
params:
  email: {type: string, maxLength: 254, default: ada@example.com}
  note: {type: string, default: "-"}
do:
  - {id: find, call: crm.find_customer, with: {key: params.email}, retry: {limit: 1, delay: 1s}}
"""
ID = "look_up"
ASKS = DEFINITION.replace(
    "do:", "do:\n  - {id: ask, decide: {question: 'Now?', options: ['yes', 'no'], default: 'no'}, timeout: 1d}"
)


@pytest.fixture(autouse=True)
def _all_roles(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who may do all of it; who may do what, the matrix of the routes says. No Airflow: executions need no run."""
    monkeypatch.setattr(settings(), "definitions_url", f"file://{tmp_path}")
    add_integration(store, "crm", "hubspot", tested=True)
    monkeypatch.setitem(ACTS_AS, Role.DEVELOPER, frozenset(Role))


def put(api: TestClient, path: str, body: Any) -> Any:
    return api.put(path, json=body)


def deployed(api: TestClient, definition: str = DEFINITION) -> None:
    assert post(api, "/v1/workflows", {"definition": definition}).status_code == 201
    assert post(api, f"/v1/workflows/{ID}/test", {}).json()["state"] == "COMPLETED"
    assert put(api, f"/v1/workflows/{ID}/deploy", {}).status_code == 200


def executed(api: TestClient, **params: Any) -> Any:
    return post(api, f"/v1/workflows/{ID}/execute", {"params": params})


class TestDeploy:
    def test_what_was_not_tested_is_not_deployed_and_the_answer_says_what_to_do(self, api: TestClient) -> None:
        post(api, "/v1/workflows", {"definition": DEFINITION})

        refused = put(api, f"/v1/workflows/{ID}/deploy", {})

        assert refused.status_code == 409
        assert "Version 1 of look_up has not been tested" in refused.json()["detail"]
        assert refused.json()["hint"] == {
            "id": "test_workflow",
            "subject": ID,
            "message": "Test it",
            "request": "POST /hub/v1/workflows/look_up/test",
        }

    def test_a_test_run_that_fails_is_no_test(self, api: TestClient) -> None:
        post(api, "/v1/workflows", {"definition": DEFINITION})
        failed = {"answers": {"find": [{"status": "refused"}]}}
        assert post(api, f"/v1/workflows/{ID}/test", failed).json()["state"] == "FAILED"

        assert put(api, f"/v1/workflows/{ID}/deploy", {}).status_code == 409

    def test_it_is_active_and_its_dag_is_named(self, api: TestClient, store: Store, tmp_path: Path) -> None:
        deployed(api)

        found = put(api, f"/v1/workflows/{ID}/deploy", {}).json()
        assert api.get("/v1/workflows").json()["workflows"][0]["deployed"] == 1
        assert (found["state"], found["version"], found["dag_id"]) == ("ACTIVE", 1, "workflow_look_up")
        assert query(store, "SELECT act FROM audit_entry WHERE act = 'workflow.deploy'") == [("workflow.deploy",)]
        (snapshot,) = tmp_path.glob("workflows-*.json")
        assert '"workflow_id":"look_up"' in snapshot.read_text()

    def test_what_the_hub_does_not_take_any_more_is_not_deployed(self, api: TestClient, store: Store) -> None:
        post(api, "/v1/workflows", {"definition": DEFINITION})
        post(api, f"/v1/workflows/{ID}/test", {})
        query(store, "UPDATE integration SET test_passed = false WHERE integration_id = 'crm' RETURNING 1")

        refused = put(api, f"/v1/workflows/{ID}/deploy", {})
        assert refused.status_code == 409
        assert "the connection of crm has not passed a test" in refused.json()["detail"]

    @pytest.mark.parametrize(
        ("triggers", "expected"),
        [
            ('[{cron: "0 3 * * *"}, {cron: "0 4 * * *"}]', "/triggers/1: a DAG has one schedule"),
        ],
    )
    def test_what_could_not_be_started_is_not_deployed(self, api: TestClient, triggers: str, expected: str) -> None:
        definition = DEFINITION.replace("do:", f"triggers: {triggers}\ndo:")
        assert post(api, "/v1/workflows", {"definition": definition}).status_code == 201
        post(api, f"/v1/workflows/{ID}/test", {})

        refused = put(api, f"/v1/workflows/{ID}/deploy", {})
        assert refused.status_code == 409
        assert refused.json()["detail"].startswith(expected)

    def test_a_webhook_of_another_that_is_deployed_starts_no_second_workflow(
        self, api: TestClient, store: Store
    ) -> None:
        """Its newest version has the webhook no more; the one that is deployed has it."""
        with_webhook = DEFINITION.replace("do:", "triggers: [{webhook: pay}]\ndo:")
        deployed(api, with_webhook)
        without = DEFINITION.replace("version: 1", "version: 2")
        post(api, "/v1/workflows", {"definition": without})
        post(api, "/v1/workflows", {"definition": with_webhook.replace("id: look_up", "id: second")})
        assert post(api, "/v1/workflows/second/test", {}).json()["state"] == "COMPLETED"

        refused = put(api, "/v1/workflows/second/deploy", {})
        assert refused.status_code == 409
        assert refused.json()["detail"].startswith("The webhook pay starts look_up, which is deployed")
        assert query(store, "SELECT workflow_id FROM workflow_deployment") == [("look_up",)]
        api.delete(f"/v1/workflows/{ID}/deploy")
        assert put(api, "/v1/workflows/second/deploy", {}).status_code == 200

    def test_what_is_not_deployed_is_not_executed(self, api: TestClient) -> None:
        deployed(api)
        assert api.delete(f"/v1/workflows/{ID}/deploy").status_code == 204

        refused = executed(api)
        assert refused.status_code == 409
        assert "No version of look_up is deployed" in refused.json()["detail"]
        assert executed_of(api, "nobody").status_code == 404


def executed_of(api: TestClient, workflow_id: str) -> Any:
    return post(api, f"/v1/workflows/{workflow_id}/execute", {})


class TestExecute:
    def test_it_is_accepted_with_its_id_and_where_to_look(self, api: TestClient) -> None:
        deployed(api)

        started = executed(api)

        assert started.status_code == 202
        execution_id = started.json()["execution_id"]
        assert started.headers["Location"] == f"/hub/v1/executions/{execution_id}/status"
        status = api.get(f"/v1/executions/{execution_id}/status").json()
        assert (status["state"], [(step["name"], step["state"]) for step in status["steps"]]) == (
            "RUNNING",
            [("find", "PENDING")],
        )

    def test_the_same_key_is_the_same_execution(self, api: TestClient) -> None:
        deployed(api)
        key = new_key()

        first, second = (post(api, f"/v1/workflows/{ID}/execute", {}, key).json() for _ in range(2))

        assert first == second
        assert len(api.get("/v1/executions").json()["executions"]) == 1

    @pytest.mark.parametrize(
        ("params", "expected"), [({"nobody": 1}, "/nobody: is not a param"), ({"email": 3}, "/email: ")]
    )
    def test_a_wrong_param_is_named(self, api: TestClient, params: dict[str, Any], expected: str) -> None:
        deployed(api)

        refused = executed(api, **params)

        assert refused.status_code == 400
        assert refused.json()["detail"].startswith(expected)

    def test_an_execution_keeps_the_version_with_which_it_began(self, api: TestClient) -> None:
        deployed(api)
        first = executed(api).json()["execution_id"]
        deployed(api, DEFINITION.replace("version: 1", "version: 2").replace("id: find", "id: seek"))
        second = executed(api).json()["execution_id"]

        found = {each["execution_id"]: each["version"] for each in api.get("/v1/executions").json()["executions"]}
        assert found == {first: 1, second: 2}
        assert api.get(f"/v1/executions/{first}/status").json()["steps"][0]["name"] == "find"

    def test_the_list_has_pages_and_shows_one_workflow(self, api: TestClient) -> None:
        deployed(api)
        ids = [executed(api).json()["execution_id"] for _ in range(3)]

        page = api.get("/v1/executions", params={"workflow_id": ID, "limit": 2}).json()
        rest = api.get("/v1/executions", params={"limit": 2, "cursor": page["next_cursor"]}).json()

        assert [each["execution_id"] for each in (*page["executions"], *rest["executions"])] == ids[::-1]
        assert rest["next_cursor"] is None
        assert api.get("/v1/executions", params={"workflow_id": "nobody"}).status_code == 404

    @pytest.mark.parametrize("path", ["status", "cancel", "retry"])
    def test_an_execution_that_is_not_there_is_404(self, api: TestClient, path: str) -> None:
        at = f"/v1/executions/exe_{'0' * 32}/{path}"
        answer = api.get(at) if path == "status" else post(api, at, {"reason": "-"})
        assert answer.status_code == 404


class TestFailed:
    def failed(self, api: TestClient, store: Store) -> tuple[str, Any]:
        """An execution whose one step failed twice."""
        deployed(api)
        execution_id = executed(api).json()["execution_id"]
        flows = flows_of(Systems(answers(find=[FAILED, FAILED])), parsed(DEFINITION))
        go_on(store, flows, execution_id)
        return execution_id, flows

    def test_it_says_which_step_how_often_it_was_tried_and_why(self, api: TestClient, store: Store) -> None:
        execution_id, _ = self.failed(api, store)

        status = api.get(f"/v1/executions/{execution_id}/status").json()
        (find,) = status["steps"]
        assert (status["state"], find["state"], find["retries"], find["message"]) == ("FAILED", "FAILED", 1, "because")
        assert status["reason"] == "find: because (tried 2 times)"

    def test_what_a_person_has_to_decide_is_asked_by_its_id_and_goes_on_at_once(
        self, api: TestClient, store: Store
    ) -> None:
        """The run of its DAG has failed by then: nobody took it up for five minutes."""
        deployed(api)
        execution_id = executed(api).json()["execution_id"]
        flows = flows_of(Systems(answers(find=[UNKNOWN, UNKNOWN])), parsed(DEFINITION))
        go_on(store, flows, execution_id)
        query(store, "UPDATE execution SET driver = 'dag' RETURNING 1")

        (asked,) = api.get(f"/v1/executions/{execution_id}/status").json()["asks"]
        listed = api.get("/v1/decisions", params={"about": execution_id}).json()["decisions"]
        assert [each["decision_id"] for each in listed] == [asked["decision_id"]]
        path = f"/v1/decisions/{asked['decision_id']}/decide"
        assert post(api, path, {"choice": "retry", "reason": "it is back"}).status_code == 200

        assert query(store, "SELECT driver, next_at <= clock_timestamp() FROM execution") == [("events", True)]
        assert api.get(f"/v1/executions/{execution_id}/status").json()["asks"] == []

    def test_retried_it_begins_anew_once_with_the_version_that_is_asked_for(
        self, api: TestClient, store: Store
    ) -> None:
        execution_id, _ = self.failed(api, store)
        deployed(api, DEFINITION.replace("version: 1", "version: 2"))
        path = f"/v1/executions/{execution_id}/retry"

        anew = post(api, path, {"reason": "it is back", "version": "deployed"}).json()
        again = post(api, path, {"reason": "it is back"}).json()

        assert (anew["version"], again["execution_id"]) == (2, anew["execution_id"])
        assert anew["execution_id"] != execution_id
        assert api.get(f"/v1/executions/{execution_id}/status").json()["retried_as"] == anew["execution_id"]

    def test_a_cancelled_one_is_neither_failed_nor_completed(self, api: TestClient, store: Store) -> None:
        deployed(api)
        execution_id = executed(api).json()["execution_id"]
        flows = flows_of(Systems(), parsed(DEFINITION))
        go_on(store, flows, execution_id)

        assert post(api, f"/v1/executions/{execution_id}/cancel", {"reason": "by mistake"}).status_code == 200
        engine.advance(store, flows, execution_id)
        status = api.get(f"/v1/executions/{execution_id}/status").json()
        assert (status["state"], status["cancelled_by"]) == ("CANCELLED", "airflow:dora")

    def test_why_it_was_cancelled_is_shown_to_those_who_may_read_peoples_words(
        self, api: TestClient, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """At night nobody looks through the audit trail for it; and the words may name a customer."""
        deployed(api)
        execution_id = executed(api).json()["execution_id"]
        cancelled = post(api, f"/v1/executions/{execution_id}/cancel", {"reason": "Ada called"}).json()
        polled = api.get(f"/v1/executions/{execution_id}/status").json()
        engine.advance(store, flows_of(Systems(), parsed(DEFINITION)), execution_id)
        shown = api.get(f"/v1/executions/{execution_id}/status").json()
        monkeypatch.setitem(ACTS_AS, Role.DEVELOPER, frozenset({Role.VIEWER, Role.DEVELOPER}))
        masked = api.get(f"/v1/executions/{execution_id}/status").json()

        assert [each["reason_given"] for each in (cancelled, polled, masked)] == ["***"] * 3
        assert shown["reason_given"] == "Ada called"
        assert query(store, "SELECT count(*) FROM audit_entry WHERE act = 'personal_data.reveal'") == [(1,)]

    def test_a_question_is_shown_however_many_were_decided_before(self, api: TestClient, store: Store) -> None:
        """`execute --wait` would never stop at it."""
        deployed(api, ASKS)
        execution_id = executed(api).json()["execution_id"]
        query(
            store,
            "INSERT INTO decision (kind, subject, about, question, choices, role, opened_at, choice, decided_by, decided_at)"
            " SELECT 'workflow', n::text, %s, 'Before?', ARRAY['yes'], 'user', now(), 'yes', 'airflow:ada', now()"
            " FROM generate_series(1, 101) AS n RETURNING 1",
            execution_id,
        )
        engine.advance(store, flows_of(Systems(), parsed(ASKS)), execution_id)
        status = api.get(f"/v1/executions/{execution_id}/status").json()

        assert [each["question"] for each in status["asks"]] == ["Look a customer up: Now?"]
        assert len(status["decided"]) == 100

    def test_what_people_decided_about_it_stays_with_it(self, api: TestClient, store: Store) -> None:
        deployed(api, ASKS)
        execution_id = executed(api).json()["execution_id"]
        engine.advance(store, flows_of(Systems(), parsed(ASKS)), execution_id)
        (asked,) = api.get(f"/v1/executions/{execution_id}/status").json()["asks"]
        decided = post(api, f"/v1/decisions/{asked['decision_id']}/decide", {"choice": "yes", "reason": "fine"})
        status = api.get(f"/v1/executions/{execution_id}/status").json()

        assert decided.status_code == 200
        assert status["asks"] == []
        (found,) = status["decided"]
        assert (found["question"], found["choice"], found["decided_by"]) == (
            "Look a customer up: Now?",
            "yes",
            "airflow:dora",
        )
