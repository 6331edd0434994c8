"""Actions of a declared system: validated before they run, sent once for each effect, and called by workflows like any other."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from psycopg.types.json import Jsonb

from crossdock.app.workflow_catalog import WorkflowCatalog
from crossdock.app.workflows import Performing
from crossdock.connectors.declarative import factory, files, last_valid
from crossdock.connectors.declarative.action_answer import AnswerInvalid, output_of, schema_of
from crossdock.connectors.declarative.actions import DeclaredClient
from crossdock.connectors.declarative.files import InvalidDeclaration
from crossdock.connectors.declarative.model import AnswerField, Declaration, DeclaredAction
from crossdock.connectors.declarative.streams import declared_stream
from crossdock.core.errors import BadRequest
from crossdock.core.settings import settings
from crossdock.db.database import Store
from crossdock.http.breaker import BreakerState, Phase
from crossdock.http.client import HttpClient
from crossdock.http.connection import Connection
from crossdock.http.shared_safeguards import SharedSafeguards
from crossdock.integrations import repository
from crossdock.integrations import service as integrations
from crossdock.integrations.actions import service
from crossdock.integrations.actions.model import Done, Ended, Failed, Refused, RefusedBy, Unknown
from crossdock.integrations.manifests import Manifest, manifest_of
from crossdock.integrations.model import Integration
from crossdock.workflows import service as engine
from crossdock.workflows.declared import trial
from crossdock.workflows.declared.effects import Effects
from crossdock.workflows.declared.flow import DeclaredFlow
from crossdock.workflows.declared.model import Rule, Workflow
from crossdock.workflows.declared.validator import validate
from crossdock.workflows.model import ExecutionState
from tests.connectors.declarative.worlds import HERE, serving
from tests.shop import query
from tests.workflows.declared.systems import Flows, begun, go_on, let_time_pass, states

PROJECT = Path(__file__).parents[3]
EXAMPLE = PROJECT / "dags/integrations/examples/warehouse_rest.yaml"
HOW_TO = PROJECT / "docs/how-to/declare-an-integration.md"
NAME = "warehouse_rest"
#: An answer that comes later is too late.
TIMEOUT_S = 0.4
HUB = WorkflowCatalog()


@dataclass
class Warehouse:
    """The API: it has one effect for each key, and does what `trouble` says before it answers."""

    stock: int = 5
    reservations: dict[str, dict[str, Any]] = field(default_factory=dict)
    shipments: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    #: Method, path, headers and body of each request.
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    #: `slow`: the effect is there, its answer comes too late. A status: that answer, and no effect.
    trouble: list[str | int] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, asked: Any, request: Any) -> Any:
        with self.lock:
            self.requests.append((request.command, request.path, dict(request.headers), asked))
            trouble = self.trouble.pop(0) if self.trouble else None
            if isinstance(trouble, int):
                return trouble, {}, {"error": {"code": "busy"}}
            key = request.headers.get("Idempotency-Key")
            reply = self.answers[key] if key in self.answers else self.effect(asked, request)
            if key:
                self.answers[key] = reply
        if trouble == "slow":
            time.sleep(2 * TIMEOUT_S)
        return reply

    def effect(self, asked: Any, request: Any) -> Any:
        steps = request.path.strip("/").split("/")
        match request.command, steps:
            case "POST", ["reservations"]:
                quantity = asked["lines"][0]["quantity"]
                if quantity > self.stock:
                    return 409, {}, {"error": {"code": "out_of_stock", "message": f"only {self.stock} left"}}
                self.stock -= quantity
                found = {"id": f"R/{len(self.reservations) + 1}", "quantity": quantity, "state": "open"}
                self.reservations[found["id"]] = found
                return 201, {}, found
            case "POST", ["reservations", reservation_id, "release"]:
                found = self.reservations[reservation_id.replace("%2F", "/")]
                self.stock += found["quantity"]
                found["state"] = "released"
                return found
            case "PUT", ["shipments", reference]:
                self.shipments[reference] = {"id": f"S-{len(self.shipments) + 1}", **asked}
                return self.shipments[reference]
            case "GET", ["shipments", reference] if reference in self.shipments:
                return self.shipments[reference]
        return 404, {}, {"message": "nothing here"}


@dataclass
class Hub:
    """The warehouse as an integration of a hub."""

    store: Store
    url: str
    warehouse: Warehouse
    shares_its_breaker: bool = False

    @property
    def open_client(self) -> Any:
        return self._client

    @contextmanager
    def _client(self, integration: Integration, manifest: Manifest) -> Iterator[DeclaredClient]:
        connection = Connection(
            connection_id=NAME,
            conn_type="declared",
            host=self.url,
            password="s3cret",
            extra=HERE,
        )
        with SharedSafeguards(self.store, NAME) as shared:
            share = shared.safeguards if self.shares_its_breaker else None
            yield manifest.provided("client")(integration.integration_id, connection, share)

    def perform(self, action: str, key: str = "k-1", **given: Any) -> Ended:
        return service.perform(self.store, self._client, NAME, action, given, key=key, actor="test")

    def flows(self, workflow: Workflow) -> Flows:
        flow = DeclaredFlow(workflow, Effects(Performing(lambda: self), HUB))
        return Flows({flow.name: flow})


@pytest.fixture
def declared_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example in a folder of its own, with short limits."""
    monkeypatch.setenv("HUB_DECLARATIONS", str(tmp_path))
    monkeypatch.setattr(settings(), "definitions_url", f"file://{tmp_path}/definitions")
    document = yaml.safe_load(EXAMPLE.read_text()) | {"limits": {"timeout_s": TIMEOUT_S, "attempts": 3}}
    path = tmp_path / f"{NAME}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.fixture
def hub(store: Store, declared_here: Path) -> Iterator[Hub]:
    assert declared_here.is_file()
    with store.transaction() as work:
        repository.add(
            work,
            integration_id=NAME,
            kind="declared",
            name="Warehouse",
            settings={},
            connection_id=NAME,
            actor="cli:up",
            with_credentials=True,
            tested=True,
        )
    warehouse = Warehouse()
    with serving(warehouse.answer) as url:
        yield Hub(store, url, warehouse)


RESERVE = {"reference": "order 1", "sku": "RING-17", "quantity": 2}


class TestCalls:
    def test_a_write_is_sent_as_declared_and_gives_what_is_mapped(self, hub: Hub) -> None:
        ended = hub.perform("reserve", **RESERVE)

        assert ended == Done({"reservation_id": "R/1", "reserved_until": None})
        ((method, path, headers, body),) = hub.warehouse.requests
        assert (method, path) == ("POST", "/reservations")
        assert body == {"reference": "order 1", "lines": [{"sku": "RING-17", "quantity": 2}]}
        assert headers["Accept-Version"] == "2026-01"
        assert headers["Idempotency-Key"] == "k-1"
        assert headers["Authorization"] == "Bearer s3cret"

    def test_a_param_stays_in_its_place_in_the_path(self, hub: Hub) -> None:
        hub.perform("reserve", **RESERVE)

        assert hub.perform("release", key="k-2", reservation_id="R/1") == Done({"state": "released"})
        assert hub.warehouse.requests[-1][1] == "/reservations/R%2F1/release"

    @pytest.mark.parametrize("step", [".", ".."])
    def test_a_param_cannot_leave_its_place(self, hub: Hub, step: str) -> None:
        with pytest.raises(BadRequest, match="reservation_id must name one step of the path"):
            hub.perform("release", reservation_id=step)
        assert hub.warehouse.requests == []

    def test_a_decision_is_a_decline_with_the_systems_word(self, hub: Hub) -> None:
        ended = hub.perform("reserve", **RESERVE | {"quantity": 6})

        assert isinstance(ended, Refused)
        assert (ended.by, ended.status, ended.code) == (RefusedBy.DECISION, 409, "out_of_stock")
        assert ended.message.endswith("only 5 left (out_of_stock)")
        assert len(hub.warehouse.requests) == 1

    def test_the_systems_word_is_one_line_that_can_be_kept_and_has_no_secret(self, hub: Hub) -> None:
        word = {"error": {"code": "\ud800\ns3cret" + "x" * 200}}
        hub.warehouse.effect = lambda *_: (409, {}, word)  # type: ignore[method-assign]

        ended = hub.perform("reserve", **RESERVE)
        assert isinstance(ended, Refused)
        assert ended.code is not None
        assert ended.code.startswith("\\ud800\\n[hidden]xxx")
        assert len(ended.code) == 100

    def test_another_refusal_is_no_decision(self, hub: Hub) -> None:
        hub.warehouse.trouble = [400]

        ended = hub.perform("reserve", **RESERVE)
        assert isinstance(ended, Refused)
        assert ended.by is RefusedBy.US

    def test_a_status_that_asks_to_try_again_is_retried_also_without_a_key(self, hub: Hub, declared_here: Path) -> None:
        changed(declared_here, "ship", retries=[423])
        changed(declared_here, "get_shipment", retries=[423])
        hub.warehouse.trouble = [423, 423]

        assert hub.perform("ship", reference="order-1", reservation_id="R-1") == Done({"shipment_id": "S-1"})
        assert [request[0] for request in hub.warehouse.requests] == ["PUT"] * 3
        hub.warehouse.trouble = [423]
        assert hub.perform("get_shipment", reference="order-1") == Done({"shipment_id": "S-1", "reservation_id": "R-1"})

    @pytest.mark.parametrize("action", ["ship", "get_shipment"])
    def test_the_wait_that_such_an_answer_asks_for_is_kept(self, hub: Hub, declared_here: Path, action: str) -> None:
        changed(declared_here, action, retries=[423])
        hub.warehouse.effect = lambda *_: (423, {"Retry-After": "77"}, {})  # type: ignore[method-assign]
        params = {"reference": "order-1"} | ({"reservation_id": "R-1"} if action == "ship" else {})

        ended = hub.perform(action, **params)
        assert isinstance(ended, Failed)
        assert ended.retry_in_s == 77
        assert len(hub.warehouse.requests) == 1

    def test_what_came_too_late_had_one_effect_and_its_key_resolves_it(self, hub: Hub) -> None:
        hub.warehouse.trouble = ["slow"]

        assert hub.perform("reserve", **RESERVE) == Done({"reservation_id": "R/1", "reserved_until": None})
        assert (len(hub.warehouse.requests), hub.warehouse.stock) == (2, 3)

    def test_without_a_key_a_lost_answer_is_not_sent_again_but_looked_up(self, hub: Hub) -> None:
        hub.warehouse.trouble = ["slow"]

        ended = hub.perform("ship", reference="order-1", reservation_id="R-1")
        assert ended == Done({"shipment_id": "S-1"})
        assert [request[0] for request in hub.warehouse.requests] == ["PUT", "GET"]

    def test_a_lookup_that_cannot_be_asked_for_shows_nothing_and_refuses_nothing(
        self, hub: Hub, declared_here: Path
    ) -> None:
        limited = {"reference": {"type": "string", "maxLength": 3}}
        by_reservation = {"action": "get_shipment", "with": {"reference": "reservation_id"}, "done": "`true`"}
        changed(declared_here, "get_shipment", params=limited, sample={"params": {"reference": "R-1"}})
        changed(declared_here, "ship", lookup=by_reservation)
        hub.warehouse.trouble = ["slow", "slow"]

        # Too long for the schema of the lookup, and no step of its path.
        for reservation_id in ("R-100", ".."):
            ended = hub.perform("ship", key=f"k{reservation_id}", reference="order-1", reservation_id=reservation_id)
            assert isinstance(ended, Unknown)
        assert [request[0] for request in hub.warehouse.requests] == ["PUT"] * 2

    def test_what_the_lookup_does_not_show_stays_unknown_for_a_person(self, hub: Hub) -> None:
        hub.warehouse.trouble = [502]

        ended = hub.perform("ship", reference="order-1", reservation_id="R-1")
        assert isinstance(ended, Unknown)
        assert query(hub.store, "SELECT outcome FROM attempt") == [("unknown",)]

    def test_an_answer_to_a_write_that_lacks_a_value_leaves_its_outcome_unknown(
        self, hub: Hub, declared_here: Path
    ) -> None:
        changed(declared_here, "reserve", answer={"reservation_id": {"path": "number"}}, sample={"params": RESERVE})

        ended = hub.perform("reserve", **RESERVE)
        assert isinstance(ended, Unknown)
        assert "has no value at number, for reservation_id" in ended.message

    def test_a_read_of_a_system_that_is_busy_failed_without_effect(self, hub: Hub) -> None:
        hub.warehouse.trouble = [503] * 3

        assert isinstance(hub.perform("get_shipment", reference="order-1"), Failed)

    @pytest.mark.parametrize(
        ("answer", "output"),
        [({"a": [1, 2.5]}, {"a": [1, 2.5]}), ([1], {"answer": [1]}), (b"", {})],
        ids=["an object", "a list", "nothing"],
    )
    def test_without_a_mapping_the_answer_is_put_out_as_it_is(
        self, declared_here: Path, answer: Any, output: Any
    ) -> None:
        document = yaml.safe_load(declared_here.read_text())
        del document["actions"]["release"]["answer"]
        declared_here.write_text(yaml.safe_dump(document))
        with serving(lambda *_: answer) as url:
            connection = Connection(
                connection_id=NAME,
                conn_type="declared",
                host=url,
                password="s3cret",
                extra=HERE,
            )
            client = factory.client_of(NAME, connection, None)
            write = manifest_of("declared").of_integration(NAME).run_of("release")
            request = write.request(client, {"reservation_id": "R"})
            assert sent(client.http, request, write) == output


def steps_of(store: Store, execution_id: str) -> list[Any]:
    return query(store, f"SELECT step, state FROM execution_step WHERE execution_id = '{execution_id}'")


@pytest.mark.parametrize(
    ("field", "found", "type_", "output"),
    [
        ({"empty": "null"}, {"a": " "}, ["string", "null"], {"a": None}),
        ({"empty": "null"}, {}, ["string", "null"], None),
        ({"empty": "null", "missing": "null"}, {}, ["string", "null"], {"a": None}),
        ({"empty": "null", "missing": "reject"}, {"a": ""}, "string", None),
        ({"empty": "null", "missing": "reject"}, {}, "string", None),
        ({"missing": "null"}, {}, ["string", "null"], {"a": None}),
        ({}, {"a": ""}, "string", {"a": ""}),
        # A number that no workflow could keep, at a place that is not read.
        ({}, {"a": "x", "b": Decimal("1e999")}, "string", {"a": "x"}),
    ],
)
def test_a_value_of_an_answer_that_is_empty_or_missing_is_what_its_field_says(
    field: dict[str, Any], found: Any, type_: Any, output: Any
) -> None:
    action = DeclaredAction(title="A", method="GET", path="/a", answer={"a": AnswerField(path="a", **field)})

    assert schema_of(action, None)["properties"]["a"]["type"] == type_
    if output is None:
        with pytest.raises(AnswerInvalid, match="has no value at a"):
            output_of(action, found, "")
    else:
        assert output_of(action, found, "") == output


def sent(http: HttpClient, request: Any, write: Any) -> Any:
    return http.send(request.method, request.path, request.body, write.output_of, idempotency_key="k")


def changed(path: Path, action: str, /, **parts: Any) -> None:
    document = yaml.safe_load(path.read_text())
    document["actions"][action] |= parts
    path.write_text(yaml.safe_dump(document, sort_keys=False))


def documented_workflow() -> str:
    """The workflow of the how-to."""
    (found,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
        if block.startswith("schema: crossdock.workflow")
    ]
    return str(found)


def workflow_of(text: str) -> Workflow:
    found = validate(text, HUB)
    assert [str(finding) for finding in found.findings] == []
    assert found.workflow is not None
    return found.workflow


ORDERED = {"reference": "order-1", "sku": "RING-17", "quantity": 2}


class TestWorkflows:
    """A workflow calls the actions of a file as those of any connector."""

    @pytest.mark.usefixtures("declared_here")
    def test_the_documented_workflow_is_tested_on_the_samples(self) -> None:
        found = trial.run(workflow_of(documented_workflow()), HUB, ORDERED, {})

        assert str(found.state) == "COMPLETED"
        outputs = {step.step: step.output for step in found.steps}
        assert outputs["reserve"]["reservation_id"] == "R-1"

    def test_an_execution_completes_with_one_effect_although_an_answer_was_lost(self, hub: Hub) -> None:
        hub.warehouse.trouble = ["slow"]
        flows = hub.flows(workflow_of(documented_workflow()))
        execution_id = begun(hub.store, next(iter(flows.values())), **ORDERED)

        assert go_on(hub.store, flows, execution_id).state is ExecutionState.COMPLETED
        assert (hub.warehouse.stock, list(hub.warehouse.shipments)) == (3, ["order-1"])

    @pytest.mark.parametrize("change", ["the request", "the params", "no action", "paused"])
    def test_an_unknown_outcome_stays_unknown_whatever_becomes_of_the_file(
        self, hub: Hub, declared_here: Path, change: str
    ) -> None:
        """It would pass for a refusal without effect, and not be undone."""
        flows = hub.flows(workflow_of(documented_workflow()))
        execution_id = begun(hub.store, next(iter(flows.values())), **ORDERED)
        hub.warehouse.trouble = ["slow"] * 3
        engine.advance(hub.store, flows, execution_id)
        assert steps_of(hub.store, execution_id) == [("reserve", "unknown")]

        match change:
            case "the request":
                changed(declared_here, "reserve", body={"other": "reference"})
            case "the params":
                params = {"reference": {"type": "string", "maxLength": 3}}
                changed(
                    declared_here, "reserve", params=params, optional=[], body={}, sample={"params": {"reference": "o"}}
                )
            case "no action":
                document = yaml.safe_load(declared_here.read_text())
                del document["actions"]["reserve"]
                declared_here.write_text(yaml.safe_dump(document))
            case "paused":
                integrations.pause(hub.store, NAME, actor="cli:ada")
        let_time_pass(hub.store, execution_id)
        engine.advance(hub.store, flows, execution_id)

        assert steps_of(hub.store, execution_id) == [("reserve", "unknown")]

    def test_a_call_that_the_circuit_breaker_stops_is_no_try_of_the_step(self, hub: Hub) -> None:
        """In an outage, the tries that were not made used up the step's retries, and it was a dead letter a minute later."""
        hub.shares_its_breaker = True
        flows = hub.flows(workflow_of(documented_workflow()))
        execution_id = begun(hub.store, next(iter(flows.values())), **ORDERED)
        # Opened so often that it stays open for its longest time, which is longer than this test.
        state = BreakerState(phase=Phase.OPEN, since=time.time(), openings=9)
        query(
            hub.store,
            "INSERT INTO breaker (integration, state) VALUES (%s, %s) RETURNING 1",
            NAME,
            Jsonb(msgspec.to_builtins(state)),
        )
        for _ in range(12):
            engine.advance(hub.store, flows, execution_id)
            assert steps_of(hub.store, execution_id) == [("reserve", "failed")]
            let_time_pass(hub.store, execution_id)
        query(hub.store, "DELETE FROM breaker RETURNING 1")

        assert go_on(hub.store, flows, execution_id).state is ExecutionState.COMPLETED

    def test_a_later_failure_undoes_it_by_the_action_of_the_file(self, hub: Hub) -> None:
        flows = hub.flows(workflow_of(documented_workflow()))
        execution_id = begun(hub.store, next(iter(flows.values())), **ORDERED)
        hub.warehouse.effect = refusing(hub.warehouse, "PUT")  # type: ignore[method-assign]

        assert go_on(hub.store, flows, execution_id).state is ExecutionState.UNDONE
        assert (hub.warehouse.stock, hub.warehouse.reservations["R/1"]["state"]) == (5, "released")

    def test_a_decline_ends_it_without_effect(self, hub: Hub) -> None:
        flows = hub.flows(workflow_of(documented_workflow()))
        execution_id = begun(hub.store, next(iter(flows.values())), **ORDERED | {"quantity": 6})

        ended = go_on(hub.store, flows, execution_id)
        assert ended.state is ExecutionState.UNDONE
        assert states(hub.store, flows, execution_id)["reserve"] == "FAILED"
        assert hub.warehouse.reservations == {}

    @pytest.mark.usefixtures("declared_here")
    def test_a_wrong_call_is_a_mistake_of_the_workflow(self) -> None:
        text = documented_workflow()
        wrong = {
            text.replace("warehouse_rest.ship", "warehouse_rest.send"): Rule.UNKNOWN_ACTION,
            text.replace("quantity: params.quantity", "quantity: params.sku"): Rule.MAPPING_TYPE,
            text.replace("output.reservation_id", "output.number"): Rule.MAPPING_FIELD,
        }
        for each, rule in wrong.items():
            assert each != text
            assert rule in [finding.rule for finding in validate(each, HUB).findings]


def test_a_file_that_never_was_valid_has_no_actions_and_the_workflow_says_where_to_look(declared_here: Path) -> None:
    """One with a mistake keeps those of its last valid version, as its sync does."""
    changed(declared_here, "reserve", declines=[401])
    (finding, *_) = validate(documented_workflow(), HUB).findings
    assert finding.rule is Rule.UNKNOWN_ACTION
    assert "They are in the file warehouse_rest.yaml beside the DAGs" in finding.message

    changed(declared_here, "reserve", declines=[409])
    assert validate(documented_workflow(), HUB).findings == ()
    changed(declared_here, "reserve", declines=[401])
    assert validate(documented_workflow(), HUB).findings == ()


def refusing(warehouse: Warehouse, method: str) -> Any:
    effect = warehouse.effect
    return lambda asked, request: (400, {}, {"message": "no"}) if request.command == method else effect(asked, request)


def of_object(schema: dict[str, Any], value: Any) -> dict[str, Any]:
    """The parts of an action with one param: an object of *schema*, *value* in the sample."""
    return {"params": {"sku": schema}, "optional": [], "body": {}, "sample": {"params": {"sku": value}}}


#: What is wrong → the parts of `reserve` that are replaced, the place, and a part of the message.
WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a placeholder that is no param": (
        {"path": "/r/{number}"},
        "/path",
        "{number} is not a param; params: reference, sku",
    ),
    "an optional one": ({"path": "/r/{note}"}, "/path", "cannot be optional"),
    "one that is a list": (
        {"path": "/r/{sku}", "params": {"sku": {"type": "array"}}, "optional": [], "body": {}},
        "/params/sku",
        "string or integer",
    ),
    "a brace": ({"path": "/r/{sku"}, "/path", "has a brace"),
    "a param that does not exist": ({"body": {"x": "skuu"}}, "/body/x", "skuu does not exist"),
    "a text without quotes": ({"headers": {"X-A": "2026-01"}}, "/headers/X-A", "A fixed text has quotes of its own"),
    "a function that does not exist": (
        {"body": {"x": "minus(quantity, quantity)"}},
        "/body/x",
        "has no function minus()",
    ),
    "the sum of a text": ({"body": {"x": "add(sku, quantity)"}}, "/body/x", "argument 1 of add() must be number"),
    "a schema that is none": ({"params": {"sku": {"type": "text"}}}, "/params/sku", "is not a JSON Schema"),
    "a schema with a date": (
        {"params": {"sku": {"const": date(2026, 11, 21)}}},
        "/params/sku",
        "a date goes into quotes",
    ),
    "a schema with a number that is too long": ({"params": {"sku": {"minimum": 10**30}}}, "/params/sku", "64 bits"),
    "a pattern that is none": ({"params": {"sku": {"pattern": "("}}}, "/params/sku", "is not a JSON Schema (pattern)"),
    "an object without fields": (
        of_object({"type": "object", "additionalProperties": False}, {"x": 1}),
        "/sample/params/sku/x",
        "is not known; known fields: none",
    ),
    "a field that no value has": (
        of_object({"properties": {"x": False, "z": True}}, {"x": 1}),
        "/sample/params/sku",
        "has a part that must be left out",
    ),
    "a field that no value has, read": (
        of_object({"properties": {"x": False, "z": True}}, {}) | {"body": {"x": "sku.x", "z": "sku.z"}},
        "/body/x",
        "sku.x does not exist; sku has z",
    ),
    "a name of no pattern": (
        of_object({"patternProperties": {"^x_": {}}, "additionalProperties": False}, {"x_1": 1, "y": 1}),
        "/sample/params/sku/y",
        "is not known; known fields: ^x_",
    ),
    "a name of no pattern, read": (
        of_object({"properties": {}, "patternProperties": {"^x_": {}}}, {}) | {"body": {"x": "sku.x_1", "y": "sku.y"}},
        "/body/y",
        "sku.y does not exist",
    ),
    "a reference": ({"params": {"sku": {"$ref": "http://evil.example/x"}}}, "/params/sku", "no $ref"),
    "an optional that is no param": ({"optional": ["nota"]}, "/optional/0", "nota is not a param"),
    "a header of the hub": (
        {"headers": {"authorization": "sku"}},
        "/headers/authorization",
        "credentials are in the integration's connection",
    ),
    "the header of the key": (
        {"headers": {"idempotency-key": "sku"}},
        "/headers/idempotency-key",
        "which the hub makes",
    ),
    "a header by which the client asks": (
        {"headers": {"Accept-Encoding": "sku"}},
        "/headers/Accept-Encoding",
        "written by the hub",
    ),
    "a key in a header of the hub": (
        {"key": {"header": "Content-Type", "window_s": 60, "in_use": 425}},
        "/key/header",
        "a key has a header of its own",
    ),
    "an expression as a value": ({"body": {"x": "&sku"}}, "/body/x", "has an & where no value can come of it"),
    "credentials as a decision": ({"declines": [401]}, "/declines/0", "refuses the credentials"),
    "a retry as a decision": ({"declines": [429]}, "/declines/0", "asks to try again"),
    "a key at work as a decision": (
        {"key": {"header": "Idempotency-Key", "window_s": 60}},
        "/declines/0",
        "Declare another status as key.in_use",
    ),
    "credentials that are tried again": ({"retries": [403]}, "/retries/0", "may lock the account"),
    "what is always tried again": ({"retries": [429]}, "/retries/0", "always asks to try again"),
    "a decision that is tried again": ({"retries": [422]}, "/retries/0", "is in declines too"),
    "a lookup that does not exist": (
        {"lookup": {"action": "release", "done": "`true`"}},
        "/lookup/action",
        "is not a GET of this file; there are: get_shipment",
    ),
    "a lookup without a param": (
        {"lookup": {"action": "get_shipment", "done": "`true`"}},
        "/lookup/with",
        "lacks reference",
    ),
    "a lookup of other values": (
        {"lookup": {"action": "get_shipment", "with": {"reference": "reference"}, "done": "`true`"}},
        "/lookup/action",
        "does not give reserved_until",
    ),
    "a GET with a body": ({"method": "GET"}, "/body", "a GET has none"),
    "a sample that is no valid call": (
        {"sample": {"params": {"reference": "a", "sku": "b", "quantity": 0}}},
        "/sample/params/quantity",
        "must be at least 1",
    ),
    "a sample whose answer is another": (
        {"sample": {"params": RESERVE, "answer": {"number": 1}}},
        "/answer/reservation_id",
        "has no value at id, for reservation_id",
    ),
    "another host": ({"path": "//evil.example/x"}, "/path", "does not match"),
    "a whole address": ({"path": "https://evil.example/x"}, "/path", "does not match"),
    "an unknown field": ({"verb": "POST"}, "/verb", "is not known; known fields: title"),
    "a path that is none": ({"answer": {"id": {"path": "["}}}, "/answer/id/path", "is not a JMESPath expression"),
    "a format of a text": (
        {"answer": {"id": {"path": "id", "format": "epoch_s"}}},
        "/answer/id/type",
        "must be instant",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_of_an_action_has_its_line_and_says_what_was_expected(name: str, tmp_path: Path) -> None:
    parts, place, message = WRONG[name]
    path = tmp_path / f"{NAME}.yaml"
    path.write_text(EXAMPLE.read_text())
    declared_stream(path)
    changed(path, "reserve", **parts)

    with pytest.raises(InvalidDeclaration) as refused:
        declared_stream(path)
    found = {each.pointer: each for each in refused.value.mistakes}
    assert f"/actions/reserve{place}" in found, str(refused.value)
    assert not {f"/actions/reserve{right}" for right in ("/sample/params/sku/x_1", "/body/z")} & set(found)
    assert message in str(refused.value)
    lines = path.read_text().splitlines()
    assert found[f"/actions/reserve{place}"].line > lines.index("  reserve:")


#: What is wrong → the parts of the lookup of `ship`, the place, and a part of the message.
WRONG_LOOKUP: dict[str, tuple[dict[str, Any], str, str]] = {
    "a value that is missing": (
        {"done": "output.number == params.reservation_id"},
        "/done",
        "output.number does not exist; output has reservation_id, shipment_id",
    ),
    "a param that is missing": ({"done": "params.number == output.reservation_id"}, "/done", "params.number"),
    "an effect that the samples do not show": (
        {"done": "output.shipment_id == params.reservation_id"},
        "/done",
        "is not true for the sample and the sample of get_shipment",
    ),
    "a param that may be left out": (
        {"with": {"reference": "note"}},
        "/with/reference",
        "is missing, filled from the sample without its optional params",
    ),
    "a value of another type": (
        {"with": {"reference": "length(reference)"}},
        "/with/reference",
        "must be of the type string",
    ),
    "no step of a path": ({"with": {"reference": "'..'"}}, "/with", "must name one step of the path"),
}


def with_note(path: Path, **lookup: Any) -> None:
    """Give `ship` an optional param, and other parts of its lookup."""
    ship = yaml.safe_load(path.read_text())["actions"]["ship"]
    sample = {**ship["sample"], "params": {**ship["sample"]["params"], "note": "order-1"}}
    params = {**ship["params"], "note": {"type": "string"}}
    changed(path, "ship", params=params, optional=["note"], sample=sample, lookup={**ship["lookup"], **lookup})


@pytest.mark.parametrize("name", WRONG_LOOKUP)
def test_a_lookup_is_proved_by_the_samples(name: str, tmp_path: Path) -> None:
    parts, place, message = WRONG_LOOKUP[name]
    path = tmp_path / f"{NAME}.yaml"
    path.write_text(EXAMPLE.read_text())
    with_note(path, **{"with": {"reference": "note || reference"}})
    declared_stream(path)
    with_note(path, **parts)

    with pytest.raises(InvalidDeclaration) as refused:
        declared_stream(path)
    found = {each.pointer: each.message for each in refused.value.mistakes}
    assert message in found.get(f"/actions/ship/lookup{place}", str(refused.value))
    assert f"/actions/ship/lookup{place}" in found


@pytest.mark.parametrize(
    ("part", "name"), [("params", "reference"), ("answer", "reservation_id")], ids=["a param", "a value"]
)
def test_what_may_follow_from_another_mistake_is_not_said_of_a_lookup(tmp_path: Path, part: str, name: str) -> None:
    path = tmp_path / f"{NAME}.yaml"
    path.write_text(EXAMPLE.read_text())
    read = yaml.safe_load(path.read_text())["actions"]["get_shipment"]
    changed(path, "get_shipment", **{part: {**read[part], name: 5}})

    with pytest.raises(InvalidDeclaration) as refused:
        declared_stream(path)
    assert [each.pointer for each in refused.value.mistakes] == [f"/actions/get_shipment/{part}/{name}"]


def test_no_header_takes_the_place_of_the_credentials(tmp_path: Path) -> None:
    path = tmp_path / f"{NAME}.yaml"
    document = yaml.safe_load(EXAMPLE.read_text()) | {"auth": {"kind": "api_key", "header": "X-Shop-Key"}}
    path.write_text(yaml.safe_dump(document))
    declared_stream(path)
    key = {"header": "x-shop-key", "window_s": 60, "in_use": 425}
    changed(path, "reserve", headers={"x-shop-key": "sku"}, key=key)

    with pytest.raises(InvalidDeclaration) as refused:
        declared_stream(path)
    found = {each.pointer for each in refused.value.mistakes}
    assert found == {"/actions/reserve/headers/x-shop-key", "/actions/reserve/key/header"}


def test_a_key_that_nobody_says_is_known_for_how_long_resolves_nothing(hub: Hub, declared_here: Path) -> None:
    changed(declared_here, "reserve", key={"header": "Idempotency-Key", "window_s": 0, "in_use": 425})
    hub.warehouse.trouble = ["slow"]

    ended = hub.perform("reserve", **RESERVE)
    assert isinstance(ended, Unknown)
    assert ended.message.endswith("Look it up in the system")
    assert service.manifest_for(hub.store, NAME).actions["reserve"].unknown == "person"


def test_a_read_without_content_gives_an_empty_answer(hub: Hub, declared_here: Path) -> None:
    document = yaml.safe_load(declared_here.read_text())
    del document["actions"]["get_shipment"]["answer"], document["actions"]["get_shipment"]["sample"]["answer"]
    declared_here.write_text(yaml.safe_dump(document))
    hub.warehouse.effect = lambda *_: (204, {"Content-Type": ""}, b"")  # type: ignore[method-assign]

    assert hub.perform("get_shipment", reference="order-1") == Done({})


def test_checks_that_fail_are_a_mistake_of_their_file_and_its_last_valid_version_runs_on(
    declared_here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(_: Declaration) -> Iterator[tuple[str, str]]:
        yield "/title", "is wrong"
        raise KeyError("properties")

    with pytest.raises(InvalidDeclaration, match=r"/title: is wrong") as refused:
        files.read(declared_here, failing)
    assert "cannot be checked: KeyError" in str(refused.value)
    assert "Traceback" in caplog.text
    assert last_valid.read(declared_here, failing) is None
    declared = last_valid.read(declared_here, lambda _: ())
    assert declared is not None
    changed(declared_here, "reserve", title="Reserve")
    assert last_valid.read(declared_here, failing) == declared


def test_no_mapping_of_a_request_leaves_a_line_feed_in_a_header(hub: Hub, declared_here: Path) -> None:
    changed(declared_here, "reserve", headers={"X-Note": "note"})

    with pytest.raises(BadRequest, match="X-Note must be up to 1000 printable ASCII characters"):
        hub.perform("reserve", **RESERVE, note="a\r\nHost: evil.example")
    assert hub.warehouse.requests == []


def test_the_manifest_of_the_integration_has_the_actions_of_its_file(hub: Hub) -> None:
    found = service.manifest_for(hub.store, NAME)

    assert list(found.actions) == ["reserve", "release", "ship", "get_shipment"]
    assert [found.actions[name].unknown for name in found.actions] == ["replay", "replay", "read:get_shipment", None]
    assert found.actions["reserve"].output["properties"]["reserved_until"]["type"] == ["string", "null"]
    assert manifest_of("declared").actions == {}
    assert json.loads(msgspec.json.encode(found.actions["reserve"]))["sample"]["sku"] == "RING-17"
