"""Actions over the real API, to the sandbox over HTTP: one effect for each key, whatever happens in between."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jsonschema
import pytest
import requests
from fastapi.testclient import TestClient

from crossdock.api.actions import open_clients
from crossdock.api.app import create_app
from crossdock.api.dependencies import open_store
from crossdock.connectors.commercetools import Commercetools
from crossdock.db.database import Store
from crossdock.integrations import service as integration_service
from crossdock.integrations.actions.ports import Client, OpenClient
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.api.test_idempotency import AsOtto, new_key, post
from tests.chaos import children
from tests.events.worlds import eventually
from tests.shop import QUICK, query

_numbers = itertools.count()
#: A time-out is waited for.
CALLS = {"limits": {"timeout_s": 1.0, "connect_timeout_s": 0.5, "attempts": 2, "longest_wait_s": 0.1}}
ACTION = "set_inventory_quantity"


class WatchedRetailer(FakeRetailer):
    """Calls `watch` while it has a request that writes."""

    watch: Callable[[], None] = staticmethod(lambda: None)

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        if request.method == "POST" and route == "inventory":
            self.watch()
        return super().respond(request, route, fault)


@pytest.fixture
def retailer() -> Iterator[WatchedRetailer]:
    with WatchedRetailer(seed=3, inventory=20, products=5, orders=5, customers=2, flaws=0) as opened:
        yield opened


class Shop:
    """The retailer as an integration of the hub, with one inventory entry that the tests change."""

    def __init__(self, hub: Hub, retailer: FakeRetailer) -> None:
        self.hub, self.retailer, self.id = hub, retailer, f"acting_{next(_numbers)}"
        extra = {
            "project": retailer.project,
            "scope": f"manage_project:{retailer.project}",
            "allowed_networks": ["127.0.0.0/8"],
            "calls": CALLS,
        }
        connection = {
            "connection_id": self.id,
            "conn_type": "commercetools",
            "host": retailer.url,
            "login": retailer.client_id,
            "password": retailer.client_secret,
            "extra": json.dumps(extra),
        }
        hub.airflow("POST", "/connections", json=connection).raise_for_status()
        hub.call("POST", "/v1/integrations", json={"id": self.id, "kind": "commercetools"}).raise_for_status()
        retailer.requests.clear()
        self.before = next(iter(retailer.state.collection("inventory").rows())).document
        quantity = self.before["quantityOnStock"] + 7
        self.given = {"key": self.before["key"], "version": self.before["version"], "quantity": quantity}

    def act(self, key: str, given: Any = None, *, action: str = ACTION, name: str = "otto") -> requests.Response:
        return post(self.hub, self.path(action), {"input": given or self.given}, key, name)

    def path(self, action: str = ACTION) -> str:
        return f"/v1/integrations/{self.id}/actions/{action}"

    def fault(self, *script: Any) -> None:
        self.retailer.faults.put("inventory", list(script))

    @property
    def now(self) -> dict[str, Any]:
        return self.retailer.state.get("inventory", self.before["id"]).document

    @property
    def effects(self) -> int:
        return int(self.now["version"] - self.before["version"])

    @property
    def sent(self) -> int:
        return sum(entry.method == "POST" and "oauth" not in entry.path for entry in self.retailer.requests)


@pytest.fixture
def shop(hub: Hub, retailer: WatchedRetailer) -> Shop:
    return Shop(hub, retailer)


def test_each_action_is_listed_with_what_a_form_needs(hub: Hub, shop: Shop) -> None:
    listed = hub.call("GET", f"/v1/integrations/{shop.id}/actions", "vera").json()
    kind = hub.call("GET", "/v1/kinds/commercetools", "vera").json()

    assert listed["quality"] == kind["quality"] != None  # noqa: E711  null is a claim that is not made
    actions = {action["name"]: action for action in listed["actions"]}
    assert (actions[ACTION]["kind"], actions[ACTION]["unknown"]) == ("write", "read:get_inventory_entry")
    for action in actions.values():
        jsonschema.validate(action["sample"], action["input"])


def test_read_then_write_and_the_same_request_again(hub: Hub, shop: Shop) -> None:
    """A person reads, decides by what was read, and writes; the connection breaks, and the client sends again."""
    read = shop.act(new_key(), {"sku": shop.before["sku"]}, action="get_inventory", name="dora").json()
    (entry,) = (entry for entry in read["output"]["entries"] if entry["key"] == shop.before["key"])
    given, key = {"key": entry["key"], "version": entry["version"], "quantity": 4711}, new_key()

    first, again = shop.act(key, given), shop.act(key, given)

    assert (first.status_code, first.json()["output"]["quantity_on_stock"]) == (200, 4711)
    assert first.content == again.content
    assert (shop.now["quantityOnStock"], shop.effects, shop.sent) == (4711, 1, 1)
    with hub.store() as store:
        audited = query(store, "SELECT actor, detail->>'outcome' FROM audit_entry WHERE subject = %s AND act = %s",
                        f"integration/{shop.id}", "integration.act")  # fmt: skip
    assert audited == [("airflow:otto", "done")]


@pytest.mark.parametrize(
    "fault",
    [
        {"timeout": "before"},
        {"timeout": "after"},
        {"reset": "before"},
        {"reset": "after"},
        {"bad_gateway": "before"},
        {"bad_gateway": "after"},
        {"status": 429, "retry_after": 0},
    ],
    ids=str,
)
def test_a_fault_costs_neither_the_effect_nor_a_second_one(shop: Shop, fault: Any) -> None:
    shop.fault(fault)
    key = new_key()

    first, again = shop.act(key), shop.act(key)

    assert (first.status_code, first.json()["output"]["quantity_on_stock"]) == (200, shop.given["quantity"]), first.text
    assert again.content == first.content
    assert (shop.effects, shop.now["quantityOnStock"]) == (1, shop.given["quantity"])


def test_an_unknown_outcome_is_an_error_that_the_same_key_resolves(hub: Hub, shop: Shop) -> None:
    """It is not kept as the answer of the key: then nobody could ever learn what became of it."""
    shop.fault({"reset": "after"}, {"status": 503}, {"status": 503})
    key = new_key()
    unknown = shop.act(key)

    assert_problem(unknown, 502, "outcome-unknown")
    assert "Repeat the call with the same key" in unknown.json()["detail"]
    assert shop.act(key).status_code == 200
    assert (shop.effects, shop.sent) == (1, 1)
    with hub.store() as store:
        found = query(store, "SELECT outcome, resolution FROM attempt WHERE integration = %s", shop.id)
    assert found == [("done", "get")]


def test_a_refusal_says_what_the_system_said_and_may_be_sent_again(shop: Shop) -> None:
    shop.fault({"status": 403})
    key = new_key()
    refused = shop.act(key)

    assert_problem(refused, 422, "refused-by-system")
    assert refused.json()["system_status"] == 403
    assert shop.act(key).status_code == 200
    assert shop.effects == 1


def test_a_system_that_is_down_is_unavailable(shop: Shop) -> None:
    shop.fault({"status": 429}, {"status": 429})

    down = shop.act(new_key())

    assert_problem(down, 503, "unavailable")
    assert int(down.headers["Retry-After"]) > 0
    assert shop.effects == 0


def test_no_transaction_is_open_during_the_call(hub: Hub, shop: Shop, retailer: WatchedRetailer) -> None:
    """It would hold back every consumer of events for as long as the other system takes."""
    seen: list[Any] = []

    def look() -> None:
        with hub.store() as store:
            seen.append(
                query(
                    store,
                    "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND state LIKE %s",
                    "idle in transaction%",
                )
            )

    retailer.watch = look  # type: ignore[method-assign]

    assert shop.act(new_key()).status_code == 200
    assert seen == [[]]


def test_another_input_with_the_key_is_refused(shop: Shop) -> None:
    """Also when nothing was kept of the first: the attempt remembers what its key is for."""
    key, other = new_key(), shop.given | {"quantity": 1}
    shop.fault({"status": 403})
    shop.act(key)
    after_refusal = shop.act(key, other)
    shop.act(key)
    after_effect = shop.act(key, other)

    for answer in (after_refusal, after_effect):
        assert_problem(answer, 422, "idempotency-key-reused")
        assert key in answer.json()["detail"]
    assert shop.effects == 1


def test_the_key_of_one_caller_is_not_that_of_another(shop: Shop) -> None:
    """The second one's version is outdated then."""
    key = new_key()

    assert shop.act(key).status_code == 200
    assert_problem(shop.act(key, name="admin"), 422, "refused-by-system")


def test_a_developer_may_read_and_an_operator_write(shop: Shop) -> None:
    read = shop.act(new_key(), {"key": shop.before["key"]}, action="get_inventory_entry", name="dora")
    written = shop.act(new_key(), name="dora")

    assert read.status_code == 200
    assert_problem(written, 403, "forbidden")
    assert "dora needs the operator role" in written.json()["detail"]
    assert shop.effects == 0


def test_an_invalid_input_names_each_place_and_nothing_is_sent(shop: Shop) -> None:
    answer = shop.act(new_key(), {"key": "ring", "quantity": "many", "colour": "red"})

    assert_problem(answer, 422, "input-invalid")
    pointers = {error["pointer"] for error in answer.json()["errors"]}
    assert pointers == {"/input/version", "/input/quantity", "/input/colour"}
    assert "many" not in answer.text
    assert shop.sent == 0


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"key": "ring\n"}, "/input/key"),
        ({"version": 3.0}, "/input/version"),
        ({"quantity": True}, "/input/quantity"),
    ],
)
def test_an_input_is_what_its_schema_says_to_the_last_character(shop: Shop, change: Any, pointer: str) -> None:
    """Python's `$` lets a line feed pass, and JSON Schema 3.0 for an integer: it would be sent so."""
    answer = shop.act(new_key(), shop.given | change)

    assert_problem(answer, 422, "input-invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
    assert shop.sent == 0


def test_a_paused_integration_performs_nothing(hub: Hub, shop: Shop) -> None:
    hub.call("POST", f"/v1/integrations/{shop.id}/pause", "otto").raise_for_status()

    paused = shop.act(new_key())

    assert_problem(paused, 409, "integration-paused")
    assert paused.json()["hint"]["request"] == f"POST /hub/v1/integrations/{shop.id}/resume"
    assert shop.sent == 0


def test_an_unknown_action_lists_the_existing_ones(shop: Shop) -> None:
    answer = shop.act(new_key(), action="paint_it_red")

    assert_problem(answer, 404, "not-found")
    assert ACTION in answer.json()["detail"]


def opener(retailer: FakeRetailer) -> Callable[[], OpenClient]:
    """What opens clients in this process, which has no Airflow to find connections in."""

    @contextmanager
    def opened(integration: Integration, _: Manifest) -> Iterator[Client]:
        yield Commercetools.signed_in(
            retailer.url,
            retailer.project,
            name=integration.integration_id,
            client_id=retailer.client_id,
            secret=retailer.client_secret,
            scope=f"manage_project:{retailer.project}",
            limits=QUICK,
        )

    return lambda: opened


def sent_in_process(dsn: str, retailer: FakeRetailer, given: Any, key: str) -> tuple[int, Any]:
    """The real app, in this process."""

    def opened() -> Iterator[Store]:
        with Store(dsn) as store:
            yield store

    app = create_app()
    app.dependency_overrides |= {open_store: opened, open_clients: opener(retailer)}
    path = f"/v1/integrations/killed_shop/actions/{ACTION}"
    answer = TestClient(AsOtto(app)).post(path, json={"input": given}, headers={"Idempotency-Key": key})
    return answer.status_code, answer.json()


@pytest.mark.crash
@pytest.mark.parametrize(
    ("crash_at", "effects", "kept"),
    [
        ("send.begun", 0, 0),
        ("send.answered", 1, 0),
        ("idempotency.before_commit", 1, 0),
        ("idempotency.after_commit", 1, 1),
    ],
)
def test_a_server_killed_between_attempt_and_answer_leaves_what_the_same_key_resolves(
    store: Store, hub_dsn: str, retailer: WatchedRetailer, *, crash_at: str, effects: int, kept: int
) -> None:
    """The client got no answer, and sends the same again: one effect, and one answer."""
    extra = json.dumps({"project": retailer.project})
    document = {"connection_id": "killed_shop", "conn_type": "commercetools", "host": retailer.url, "extra": extra}
    integration_service.register(store, [document], actor="cli:up")
    row = next(iter(retailer.state.collection("inventory").rows())).document
    given, key = {"key": row["key"], "version": row["version"], "quantity": 4711}, new_key()

    killed = children.run(lambda: sent_in_process(hub_dsn, retailer, given, key), crash_at=crash_at)
    after_crash = retailer.state.get("inventory", row["id"]).document["version"] - row["version"]
    answers = query(store, "SELECT 1 FROM idempotency_key")
    found: list[tuple[int, Any]] = []

    def answered() -> bool:
        """As a client: again while the server has not noticed the death of the first one's process."""
        found[:] = [sent_in_process(hub_dsn, retailer, given, key)]
        return found[0][0] != 409

    eventually(answered)

    assert (killed, after_crash, len(answers)) == (children.KILLED, effects, kept)
    ((status, answer),) = found
    assert (status, answer["output"]["quantity_on_stock"]) == (200, 4711)
    now = retailer.state.get("inventory", row["id"]).document
    assert (now["version"], now["quantityOnStock"]) == (row["version"] + 1, 4711)
    assert query(store, "SELECT outcome FROM attempt") == [("done",)]
