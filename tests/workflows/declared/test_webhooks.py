"""A signed request to the webhook of a workflow starts one execution, over HTTP and by delivery."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests as http

from crossdock.core.errors import NotFound
from crossdock.db.database import Store
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in.service import Receiver, connection_of, receiver_from
from crossdock.workflows import repository as engine
from crossdock.workflows.declared import repository as versions
from crossdock.workflows.declared.events import WORKFLOW_REQUESTED
from crossdock.workflows.declared.triggers import WORKFLOW_TRIGGERS, WorkflowTriggers, event_types
from crossdock.workflows.declared.webhooks import meaning_of, webhook_in
from tests.events.webhooks_in.test_webhooks import KEY, OLD_KEY, WebhookClient, now, served, standard
from tests.events.worlds import delivery, eventually
from tests.shop import query
from tests.workflows.declared.systems import Systems, flows_of
from tests.workflows.declared.test_trial import parsed

HOW_TO = Path(__file__).parents[3] / "docs/how-to/declare-a-workflow.md"
RESTOCK = parsed(
    """
schema: crossdock.workflow/1
id: order_more
version: 1
title: T
params: {sku: {type: string, minLength: 3}}
triggers: [{webhook: restock, with: {sku: event.data.sku}}]
do:
  - {id: keep, set: {sku: params.sku}}
"""
)
BODY = b'{"sku": "RING-17"}'


class Client(WebhookClient):
    """The webhooks of workflows, of which all have one key."""

    rules: Mapping[str, Any] = {}

    def _find(self, integration: str) -> Receiver:
        webhook = webhook_in(integration)
        if webhook is None:
            raise NotFound("no such")
        return receiver_from(integration, KEY, self.rules, (), meaning_of(webhook))

    def send(self, body: bytes = BODY, *, key: str = KEY, delivery_id: str = "msg_1", webhook: str = "restock") -> int:
        headers = standard(body, key=key, at=now(), delivery_id=delivery_id)
        return self.post(body, headers, f"workflows/{webhook}").status_code


@pytest.fixture
def client(hub_dsn: str) -> Iterator[Client]:
    with served(Client(hub_dsn)) as opened:
        yield opened


@pytest.fixture
def deployed(store: Store) -> None:
    with store.transaction() as work:
        versions.add(work, RESTOCK, "-", actor="dora")
        versions.deploy(work, RESTOCK.id, 1, actor="otto")


def requests(store: Store) -> int:
    ((count,),) = query(store, "SELECT count(*) FROM event WHERE type = 'crossdock.workflow.requested'")
    return int(count)


def started(store: Store, hub_dsn: str, number: int) -> list[tuple[str, object]]:
    """Deliver what is stored; give who started each execution, and with which SKU, once there are *number*."""
    apply = WorkflowTriggers(flows_of(Systems(), RESTOCK)).apply
    subscriber = Subscriber(types=(WORKFLOW_REQUESTED.name,), apply=apply, newer_replaces_older=False)
    with delivery(hub_dsn, {WORKFLOW_TRIGGERS: subscriber}):
        eventually(lambda: query(store, "SELECT count(*) FROM execution"), [(number,)])
    with store.transaction() as work:
        found = engine.of_flows(work, None, before=None, limit=10)
    return sorted((each.created_by, each.input["sku"]) for each in found)


@pytest.mark.usefixtures("deployed")
def test_a_signed_request_starts_one_execution_and_sent_again_none(client: Client, store: Store, hub_dsn: str) -> None:
    assert [client.send(), client.send(), client.send(b'{"sku": "RING-18"}', delivery_id="msg_2")] == [202, 202, 202]

    assert requests(store) == 2
    assert started(store, hub_dsn, 2) == [("webhook", "RING-17"), ("webhook", "RING-18")]


@pytest.mark.usefixtures("deployed")
def test_one_that_is_not_signed_by_the_sender_is_refused_and_stored_nowhere(client: Client, store: Store) -> None:
    assert client.send(key=OLD_KEY) == 401

    assert requests(store) == 0
    assert query(store, "SELECT integration, times FROM refused_webhook") == [("workflows/restock", 1)]


@pytest.mark.usefixtures("deployed")
def test_a_webhook_that_no_deployed_workflow_has_is_not_found(client: Client, store: Store) -> None:
    assert client.send(webhook="other") == 404

    with store.transaction() as work:
        versions.undeploy(work, RESTOCK.id)
    assert client.send() == 404
    assert requests(store) == 0


@pytest.mark.usefixtures("deployed")
def test_params_that_the_workflow_does_not_take_are_accounted_for(client: Client, store: Store, hub_dsn: str) -> None:
    assert client.send(b'{"sku": "x"}') == 202
    assert client.send(delivery_id="msg_2") == 202

    assert started(store, hub_dsn, 1) == [("webhook", "RING-17")]
    ((data,),) = query(store, "SELECT data::text FROM event WHERE type = 'crossdock.workflow.not_started'")
    assert json.loads(data)["params"] == {"sku": "x"}


@pytest.mark.usefixtures("deployed")
@pytest.mark.skipif(
    not (shutil.which("openssl") and shutil.which("curl")), reason="the documented commands are not there"
)
def test_what_the_documentation_says_signs_a_request(client: Client, store: Store) -> None:
    (commands,) = re.findall(r"```\n(body=.+?)```", HOW_TO.read_text(), re.DOTALL)
    script = f"SECRET={KEY}\n" + commands.replace("$AIRFLOW/hub", f"http://127.0.0.1:{client.port}")

    ran = subprocess.run(
        [str(shutil.which("bash")), "-eu", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )

    assert "202 Accepted" in ran.stdout
    assert requests(store) == 1


def test_a_sender_of_cloudevents_is_permitted_to_deliver(client: Client) -> None:
    """Azure Event Grid delivers nothing before."""
    client.rules = {"scheme": "azure_event_grid", "token_parameter": "code"}
    url = f"http://127.0.0.1:{client.port}/v1/webhooks/workflows/restock"
    asked = {"WebHook-Request-Origin": "eventgrid.azure.net"}

    permitted = http.options(f"{url}?code={KEY}", headers=asked, timeout=30)
    assert (permitted.status_code, permitted.headers["WebHook-Allowed-Origin"]) == (200, "eventgrid.azure.net")
    assert http.options(f"{url}?code=guess", headers=asked, timeout=30).status_code == 401


def test_its_key_is_in_a_connection_of_its_own() -> None:
    assert connection_of("workflows/restock").endswith("workflows_restock_webhook")
    assert event_types(RESTOCK) == {WORKFLOW_REQUESTED.name}
