"""
The sequences of a workflow, message by message, on a real stack: defined, tested, deployed, executed, retried, and left as a dead letter.

What was sent, the mail server itself is asked.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
import psycopg
import pytest

from crossdock.client.hub import HubApi, HubRefused
from crossdock.client.sandbox import SandboxControl
from crossdock.core.errors import Conflict
from crossdock.core.ids import workflow_dag
from crossdock.core.paths import path_of
from tests.e2e.conftest import Hub
from tests.e2e.watched import Watched, eventually

pytestmark = pytest.mark.e2e

_MAIL = """
  - id: {step}
    call: mail_server.send_mail
    with:
      reference: "'{step}'"
      kind: "'test'"
      business_key: params.reference
      from: {{address: "'shop@shop.example'"}}
      to: {{address: {to}}}
      subject: "'{step}'"
      text: "'A mail of a workflow.'"
"""


def mail(step: str, to: str = "params.to", extra: str = "") -> str:
    return _MAIL.format(step=step, to=to).rstrip() + "\n" + extra


def definition(workflow_id: str, steps: str, *, version: int = 1) -> str:
    return (
        f"schema: crossdock.workflow/1\nid: {workflow_id}\nversion: {version}\ntitle: Test\n"
        "integrations: {mail_server: smtp_relay}\n"
        "params:\n  reference: {type: string, maxLength: 64}\n  to: {type: string, default: ada@customer.example}\n"
        "  also: {type: string, default: ada@customer.example}\n"
        f"do:\n{steps}"
    )


@dataclass
class Desk:
    """A stack at which workflows are defined and executed, and its mail server."""

    stack: Watched
    mails: SandboxControl

    @property
    def api(self) -> HubApi:
        return HubApi(self.stack.api)

    def deploy(self, text: str) -> dict[str, Any]:
        added = self.api.post("/workflows", {"definition": text}).document
        assert self.api.post(path_of("workflows", added["workflow_id"], "test"), {}).document["state"] == "COMPLETED"
        found: dict[str, Any] = self.api.put(path_of("workflows", added["workflow_id"], "deploy"), {}).document
        return found

    def execute(self, workflow_id: str, **params: Any) -> dict[str, Any]:
        body = {"params": {"reference": f"r-{uuid.uuid4().hex[:8]}", **params}}
        found: dict[str, Any] = self.api.post(path_of("workflows", workflow_id, "execute"), body).document
        return found

    def status(self, execution_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api.get(path_of("executions", execution_id, "status")).document
        return found

    def end_of(self, execution_id: str, *, timeout_s: float = 300) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.status(execution_id)
            return found if found["state"] != "RUNNING" else None

        return eventually(look, timeout_s=timeout_s)

    def run_of(self, started: dict[str, Any], workflow_id: str) -> tuple[str, dict[str, str]]:
        """The state of the run of its DAG at its end, and of each task."""
        dag = workflow_dag(workflow_id)

        def look() -> str | None:
            state = str(self.stack.api.dag_run(dag, started["dag_run_id"])["state"])
            return state if state in ("success", "failed") else None

        state = eventually(look, timeout_s=300)
        tasks = self.stack.api.task_instances(dag, started["dag_run_id"])
        return state, {task["task_id"]: task["state"] for task in tasks}

    def sent(self, to: str) -> list[str]:
        """The subjects of the mails to an address."""
        return [found["subject"] for found in self.mails.mails() if found["to"] == to]

    def wait_for_dag(self, workflow_id: str) -> None:
        self.stack.api.wait_for_dag(workflow_dag(workflow_id))


@pytest.fixture(scope="module")
def desk(hub: Hub) -> Iterator[Desk]:
    stack = Watched(hub, timedelta(seconds=60))
    control = SandboxControl(stack.parts["mail-server"]["url"])
    api = HubApi(stack.api)
    api.post(path_of("integrations", "mail_server", "test"), {})
    yield Desk(stack, control)
    control.heal()
    for found in api.pages("/workflows", "workflows"):
        api.delete(path_of("workflows", found["workflow_id"], "deploy"), if_match=None)


def address() -> str:
    return f"{uuid.uuid4().hex[:10]}@customer.example"


def states(status: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["state"] for step in status["steps"]}


def test_a_definition_is_refused_with_its_mistakes_or_added_tested_and_deployed(desk: Desk) -> None:
    """The seed's creation flow: 400 with the errors, 201 with the ID, test results, 200 deployed."""
    with pytest.raises(HubRefused) as refused:
        desk.api.post("/workflows", {"definition": definition("created", mail("first", to="params.nobody"))})
    assert refused.value.problem["status"] == 400
    assert [error["pointer"] for error in refused.value.problem["errors"]] == ["/do/0/with/to/address"]

    text = definition("created", mail("first"))
    desk.api.post("/workflows", {"definition": text})
    with pytest.raises(Conflict, match="has not been tested"):
        desk.api.put(path_of("workflows", "created", "deploy"), {})

    deployed = desk.deploy(text)
    assert (deployed["state"], deployed["dag_id"]) == ("ACTIVE", "workflow_created")


def test_an_integration_is_added_when_its_test_passes_and_steps_call_it_with_its_credentials(desk: Desk) -> None:
    """The seed's integration management: the credentials are checked, kept encrypted, used by a step, and its calls are counted."""
    secrets = json.loads((desk.stack.home / "secrets.json").read_text())
    key = secrets["sandbox_client_secret"]
    settings = {"url": desk.stack.parts["sendgrid"]["url"], "allowed_networks": ["127.0.0.0/8"]}
    body = {"id": "seed_mails", "kind": "sendgrid", "settings": settings}
    with pytest.raises(HubRefused) as refused:
        desk.api.post("/integrations", {**body, "credentials": {"api_key": "SG.another"}})
    assert [check["name"] for check in refused.value.problem["checks"] if check["outcome"] == "failed"] == [
        "credentials"
    ]

    added = desk.api.post("/integrations", {**body, "credentials": {"api_key": key}}).document
    assert (added["id"], added["test_passed"]) == ("seed_mails", True)
    assert key not in json.dumps(added)
    assert kept_password(desk.stack, secrets["metadata_password"], added["connection_id"]) not in (None, "", key)

    to, text = address(), definition("integrated", mail("first"))
    desk.deploy(text.replace("mail_server: smtp_relay", "mail_server: sendgrid").replace("mail_server", "seed_mails"))
    desk.wait_for_dag("integrated")
    status = desk.end_of(desk.execute("integrated", to=to)["execution_id"])

    assert status["state"] == "COMPLETED", status
    assert to in [found["to"] for found in SandboxControl(settings["url"]).mails()]
    health = eventually(lambda: counted(desk.api.get("/integrations/seed_mails/health").document), timeout_s=60)
    assert health["last_call_success_at"]


def kept_password(stack: Watched, password: str, connection_id: str) -> str | None:
    """What Airflow's own database has of the password of a connection."""
    port = stack.parts["postgres-metadata"]["port"]
    with psycopg.connect(host="127.0.0.1", port=port, user="airflow", password=password, dbname="airflow") as opened:
        row = opened.execute("SELECT password FROM connection WHERE conn_id = %s", [connection_id]).fetchone()
    return row[0] if row else None


def counted(health: dict[str, Any]) -> dict[str, Any] | None:
    return health if health["calls"]["successes"] else None


def test_it_is_executed_as_a_dag_of_its_own_and_watched_to_its_end(desk: Desk) -> None:
    """The seed's main flow: 202 with the ID, a call to another system, a condition, COMPLETED."""
    text = definition(
        "main",
        mail("first")
        + '  - id: choose\n    switch:\n      - when: params.reference.startsWith("r-")\n        do:\n          - {id: yes_step, set: {ok: true}}\n'
        + "      - do:\n          - {id: no_step, set: {ok: false}}\n"
        + mail("second"),
    )
    desk.deploy(text)
    desk.wait_for_dag("main")
    to = address()

    started = desk.execute("main", to=to)
    status = desk.end_of(started["execution_id"])

    assert (status["state"], states(status)) == (
        "COMPLETED",
        {"first": "SUCCESS", "choose": "SUCCESS", "yes_step": "SUCCESS", "second": "SUCCESS", "no_step": "SKIPPED"},
    )
    assert desk.sent(to) == ["first", "second"]
    run, tasks = desk.run_of(started, "main")
    assert run == "success"
    assert tasks == {
        **dict.fromkeys(("workflow.begin", "first", "choose", "yes_step", "second", "workflow.finish"), "success"),
        "no_step": "skipped",
    }


def test_a_step_that_fails_is_tried_again_and_counted(desk: Desk) -> None:
    """The seed's error handling: FAILED, the retry count, requeued with its delay, SUCCESS."""
    desk.deploy(definition("retried", mail("first", extra="    retry: {limit: 20, delay: 1s, backoff: constant}\n")))
    desk.wait_for_dag("retried")
    to = address()
    desk.mails.break_down("recipient", [{"status": 451}], repeat=True)

    started = desk.execute("retried", to=to)
    eventually(lambda: desk.status(started["execution_id"])["steps"][0]["retries"] or None, timeout_s=120)
    desk.mails.heal()
    status = desk.end_of(started["execution_id"])

    assert status["state"] == "COMPLETED", status
    assert status["steps"][0]["retries"] >= 1
    assert desk.sent(to) == ["first"]


def test_at_the_retry_limit_it_is_a_dead_letter_that_is_fixed_and_replayed(desk: Desk) -> None:
    """The seed's error handling: PERMANENTLY_FAILED, an alert, a dead letter. What is done stays done."""
    charged = mail("charged", to="params.to", extra="    pivot: true\n")
    bad = mail("told", to="params.also", extra="    retry: {limit: 1, delay: 1s}\n")
    desk.deploy(definition("stuck", charged + bad))
    desk.wait_for_dag("stuck")
    first, fixed = address(), address()

    started = desk.execute("stuck", to=first, also="nobody")
    status = desk.end_of(started["execution_id"])
    assert (status["state"], states(status)) == ("FAILED", {"charged": "SUCCESS", "told": "PERMANENTLY_FAILED"})
    assert desk.run_of(started, "stuck")[0] == "failed"

    def dead() -> dict[str, Any] | None:
        found = desk.api.pages("/dead-letters", "dead_letters", subscriber="failed_executions")
        return next((each for each in found if each["event"]["subject"] == started["execution_id"]), None)

    dead_letter = eventually(dead)
    assert dead_letter["event"]["data"]["step"] == "told"
    eventually(lambda: "dead_letters" in [alert["kind"] for alert in desk.api.get("/alerts").document["alerts"]])

    desk.api.patch(path_of("dead-letters", dead_letter["dead_letter_id"]), {"changes": {"params.also": fixed}})
    desk.api.post("/dead-letter-replays", {"dead_letter_ids": [dead_letter["dead_letter_id"]]})
    eventually(lambda: desk.status(started["execution_id"])["state"] == "COMPLETED" or None, timeout_s=120)
    assert (desk.sent(first), desk.sent(fixed)) == (["charged"], ["told"])
    assert eventually(lambda: dead() is None, timeout_s=60)


def test_an_execution_keeps_its_version_while_another_is_deployed(desk: Desk) -> None:
    steps = mail("first") + "  - {id: pause, wait: 4s}\n" + mail("second")
    desk.deploy(definition("kept", steps))
    desk.wait_for_dag("kept")
    to = address()

    started = desk.execute("kept", to=to)
    eventually(lambda: states(desk.status(started["execution_id"]))["pause"] == "RUNNING" or None)
    desk.deploy(definition("kept", mail("other"), version=2))

    status = desk.end_of(started["execution_id"])
    assert (status["state"], status["version"]) == ("COMPLETED", 1)
    assert desk.sent(to) == ["first", "second"]
    later = desk.end_of(desk.execute("kept", to=to)["execution_id"])
    assert (later["version"], desk.sent(to)) == (2, ["first", "second", "other"])


@pytest.mark.deep
def test_a_worker_that_is_killed_in_the_middle_sends_nothing_twice(desk: Desk) -> None:
    """`kill -9` of the process that makes the step, while the mail server takes its time: only a person can find out what it did."""
    desk.deploy(definition("killed", mail("first", extra="    retry: {limit: 1, delay: 1s}\n") + mail("second")))
    desk.wait_for_dag("killed")
    to = address()
    desk.mails.break_down("message", [{"latency_ms": 3000}], repeat=False)

    started = desk.execute("killed", to=to)
    eventually(lambda: states(desk.status(started["execution_id"]))["first"] == "RUNNING" or None)
    time.sleep(0.5)
    for process in processes_of_task(desk, started, "first"):
        process.kill()
    desk.mails.heal()

    # A killed call is taken for over after two minutes.
    status = desk.end_of(started["execution_id"], timeout_s=600)
    assert (status["state"], states(status)) == ("FAILED", {"first": "PERMANENTLY_FAILED", "second": "PENDING"})
    asked = desk.api.get("/decisions", about=started["execution_id"]).document["decisions"]
    choice = "done" if desk.sent(to) else "failed"
    body = {"choice": choice, "reason": "the mail server's own list"}
    desk.api.post(path_of("decisions", asked[0]["decision_id"], "decide"), body)
    if choice == "failed":
        return
    eventually(lambda: desk.status(started["execution_id"])["state"] == "COMPLETED" or None, timeout_s=120)
    assert desk.sent(to) == ["first", "second"]


@pytest.mark.deep
def test_a_scheduler_that_is_killed_in_the_middle_sends_nothing_twice(desk: Desk) -> None:
    """`kill -9` of the scheduler while a step waits: the stack starts it again, and the execution goes on where it was."""
    desk.deploy(definition("headless", mail("first") + "  - {id: pause, wait: 5s}\n" + mail("second")))
    desk.wait_for_dag("headless")
    to = address()

    started = desk.execute("headless", to=to)
    eventually(lambda: states(desk.status(started["execution_id"]))["pause"] == "RUNNING" or None)
    killed = desk.stack.parts["scheduler"]["pid"]
    desk.stack.kill("scheduler")

    status = desk.end_of(started["execution_id"], timeout_s=600)
    assert (status["state"], desk.sent(to)) == ("COMPLETED", ["first", "second"])
    desk.stack.look_again()
    assert desk.stack.parts["scheduler"]["pid"] != killed
    assert desk.run_of(started, "headless")[0] == "success"


def processes_of_task(desk: Desk, started: dict[str, Any], task_id: str) -> list[psutil.Process]:
    tasks = desk.stack.api.task_instances(workflow_dag("killed"), started["dag_run_id"])
    task = next(found for found in tasks if found["task_id"] == task_id)
    title = f"airflow worker -- {task['id']}"
    return [process for process in psutil.process_iter() if (words := _words(process)) and words[0].startswith(title)]


def _words(process: psutil.Process) -> list[str]:
    try:
        found: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return found
