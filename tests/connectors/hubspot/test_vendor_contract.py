"""What the hub sends to HubSpot, and what the sandbox answers, against the vendor's own OpenAPI document."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from crossdock.db.database import Store
from crossdock.integrations.actions.model import Done
from crossdock.sandbox.engine.faults import Fault
from crossdock.sandbox.engine.messages import Request, Response
from crossdock.sandbox.engine.test_client import TestClient
from crossdock.sandbox.hubspot.crm import FakeCrm
from crossdock.sync.source import Axis, Range
from tests.connectors.hubspot.account import Account
from tests.connectors.hubspot.conftest import FIRST

CONTACTS = "/crm/v3/objects/contacts"


class RecordingCrm(FakeCrm):
    """Keeps each request and its answer."""

    exchanges: list[tuple[Request, Response]]

    def respond(self, request: Request, route: str, fault: Fault) -> Response:
        response = super().respond(request, route, fault)
        self.exchanges = [*getattr(self, "exchanges", []), (request, response)]
        return response


@pytest.fixture
def crm() -> Iterator[RecordingCrm]:
    with RecordingCrm(token="t0ken", seed=3, count=5) as system:
        yield system


@pytest.fixture(scope="module")
def vendor() -> dict[str, Any]:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download hubspot-contacts-v3.json and set"
            " HUB_VENDOR_SPECS to its folder"
        )
    document: dict[str, Any] = json.loads(Path(folder, "hubspot-contacts-v3.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def contract(vendor: dict[str, Any]) -> Registry[Any]:
    return Registry().with_resource("urn:vendor", Resource(contents=vendor, specification=DRAFT202012))


def sync_all(account: Account) -> None:
    """Every page that a sync may ask for: all, what changed, and named contacts, of which one does not exist."""
    source = account.client()
    source.describe("contacts", None)
    parts = (
        Range(range_no=0, axis=Axis.ID),
        Range(range_no=0, axis=Axis.TIME, low="2026-01-05T09:00:00Z", high="2036-01-01T00:00:00Z"),
        Range(range_no=0, axis=Axis.KEYS, field="email", keys=(FIRST, "nobody@crm.example")),
        Range(range_no=0, axis=Axis.KEYS, field="id", keys=("51",)),
    )
    for part in parts:
        first = source.page("contacts", part, None, limit=2)
        if first.cursor and not first.last:
            source.page("contacts", part, first.cursor, limit=2)


def act(name: str, given: Callable[[Account], dict[str, Any]]) -> Callable[[Account], None]:
    def run(account: Account) -> None:
        assert isinstance(account.perform(name, given(account)), Done)

    return run


CALLS: dict[str, Callable[[Account], None]] = {
    "contacts": sync_all,
    "find_customer": act("find_customer", lambda _: {"key": FIRST, "attributes": ["phone"]}),
    "find_customers": act("find_customers", lambda _: {"keys": [FIRST, "nobody@crm.example"]}),
    "create_customer": act("create_customer", lambda _: {"key": "ada@crm.example", "first_name": "Ada"}),
    "update_customer": act(
        "update_customer",
        lambda account: {
            "ref": account.contact(FIRST).id,
            "version": account.contact(FIRST).updated_at,
            "changes": {"last_name": "Byron", "company_name": None},
        },
    ),
    "upsert_customers": act(
        "upsert_customers",
        lambda _: {
            "as_of": "2026-02-01T00:00:00Z",
            "customers": [{"key": "ada@crm.example", "first_name": "Ada"}, {"key": FIRST, "last_name": "Byron"}],
        },
    ),
    "get_standing": act("get_standing", lambda _: {"key": FIRST}),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_vendors_contract_has_the_request_and_its_answer(
    name: str, vendor: dict[str, Any], contract: Registry[Any], crm: RecordingCrm, store: Store
) -> None:
    """Path, method, parameters, body and answer, as the vendor's OpenAPI document describes them."""
    CALLS[name](Account(crm, store, standing_property="order_standing"))

    assert crm.exchanges
    for request, response in crm.exchanges:
        assert faults_of_exchange(vendor, contract, request, response) == []


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (
            {"inputs": [{"id": "C-1", "idProperty": "customer_number", "objectWriteTraceId": "0", "properties": {}}]},
            200,
        ),
        (
            {
                "inputs": [
                    {
                        "id": "C-1",
                        "idProperty": "customer_number",
                        "objectWriteTraceId": "0",
                        "properties": {"email": "nothing"},
                    }
                ]
            },
            207,
        ),
        ({"inputs": [{"id": "nothing", "idProperty": "email", "properties": {}}]}, 400),
    ],
)
def test_each_kind_of_answer_to_a_batch_keeps_the_contract(
    vendor: dict[str, Any], contract: Registry[Any], crm: RecordingCrm, document: dict[str, Any], status: int
) -> None:
    headers = {"authorization": "Bearer t0ken", "content-type": "application/json"}
    answer = TestClient(crm.port).call("POST", f"{CONTACTS}/batch/upsert", body=document, headers=headers)

    assert answer.status == status
    if status < 300:
        request, response = crm.exchanges[-1]
        assert faults_of_exchange(vendor, contract, request, response) == []
    else:
        # Its errors have a status, which the document leaves out.
        assert faults_in(contract, {"$ref": "urn:vendor#/components/schemas/Error"}, answer.json, strict=False) == []


def test_a_request_that_the_contract_refuses_is_found(vendor: dict[str, Any], contract: Registry[Any]) -> None:
    """The check above must be able to fail."""
    path = tuple(f"{CONTACTS}/batch/upsert".strip("/").split("/"))
    request = Request("POST", f"{CONTACTS}/batch/upsert", path, {"colour": ["red"]}, {}, b'{"inputs": [{"id": 4}]}')

    found = "; ".join(faults_of_exchange(vendor, contract, request, Response(200, b'{"results": [{}]}')))

    assert all(word in found for word in ("colour", "4 is not of type 'string'", "'properties'", "'updatedAt'"))


def faults_of_exchange(
    vendor: dict[str, Any], contract: Registry[Any], request: Request, response: Response
) -> list[str]:
    """List what the vendor's document refuses of a request and its answer."""
    template, operation = operation_of(vendor, request)
    parameters = {parameter["name"] for parameter in operation.get("parameters", ())}
    found = [f"{template}: unknown parameter {name}" for name in sorted(set(request.query) - parameters)]
    if request.method != "GET":
        body = request.json()
        # The vendor's guide sorts by an object, as every client does; its document says text.
        body |= {"sorts": [sort["propertyName"] for sort in body["sorts"]]} if "sorts" in body else {}
        found += faults_in(contract, pointed(schema_of(operation["requestBody"])), body)
    answer = json.loads(response.body)
    for contact in answer.get("results", [answer]):
        # The vendor sends null for a property without a value, although its document says text.
        properties = contact.get("properties", {})
        contact.update({"properties": {k: v for k, v in properties.items() if v is not None}} if properties else {})
    return found + faults_in(contract, pointed(schema_of(operation["responses"][str(response.status)])), answer)


def faults_in(contract: Registry[Any], schema: dict[str, Any], document: Any, *, strict: bool = True) -> list[str]:
    closed = {"unevaluatedProperties": False} if strict else {}
    validator = Draft202012Validator({**schema, **closed}, registry=contract)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


def operation_of(vendor: dict[str, Any], request: Request) -> tuple[str, dict[str, Any]]:
    """Find the operation at the request's path; one without parameters in its path goes first."""
    for template, path in sorted(vendor["paths"].items(), key=lambda item: "{" in item[0]):
        pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template))
        if re.fullmatch(pattern, request.path) and request.method.lower() in path:
            return template, path[request.method.lower()]
    raise AssertionError(f"the vendor has no {request.method} {request.path}")


def schema_of(message: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(message["content"].values()))["schema"]
    return found


def pointed(schema: dict[str, Any]) -> dict[str, Any]:
    return {"$ref": f"urn:vendor{schema['$ref']}"}
