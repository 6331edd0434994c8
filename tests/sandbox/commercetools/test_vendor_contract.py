"""The sandbox's responses match the vendor's own contract."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sandbox.commercetools.test_client import RetailerClient
from crossdock.sandbox.engine.clock import instant_of

_FORMATS = FormatChecker(formats=())
_FORMATS.checks("datetime")(lambda value: not isinstance(value, str) or instant_of(value) is not None)
_FORMATS.checks("int64")(lambda value: not isinstance(value, int) or -(2**63) <= value < 2**63)
_FORMATS.checks("int32")(lambda value: not isinstance(value, int) or -(2**31) <= value < 2**31)


def readable(schemas: dict[str, Any]) -> dict[str, Any]:
    """
    Convert the vendor's schemas to what a JSON Schema validator understands.

    A schema with a discriminator becomes two: its own fields under its name, for those that build on it, and
    `<name>.any` for those that hold one, which also asks for the fields of the kind that the document names.
    """
    known = {name: plain(schema) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        discriminator = next((part["discriminator"] for part in parts(schema) if "discriminator" in part), None)
        if discriminator:
            field, kinds = discriminator["propertyName"], discriminator["mapping"]
            choices = [
                {"if": {"properties": {field: {"const": kind}}, "required": [field]}, "then": {"$ref": at}}
                for kind, at in kinds.items()
            ]
            known[f"{name}.any"] = {"allOf": [{"$ref": f"#/components/schemas/{name}"}, *choices]}
    held = {f"#/components/schemas/{name}" for name in schemas if f"{name}.any" in known}
    return {name: pointed(schema, held) if not name.endswith(".any") else schema for name, schema in known.items()}


def parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema.get("allOf", [])]


def plain(schema: Any) -> Any:
    """Remove what a validator misreads: patterns in `required`, and `additionalProperties`, which forbids `allOf`."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    patterns = [name for name in schema.get("required", ()) if name.startswith("/")]
    cleaned = {k: plain(v) for k, v in schema.items() if k not in ("required", "discriminator", "additionalProperties")}
    required = [name for name in schema.get("required", ()) if name not in patterns]
    more = {"additionalProperties": schema["additionalProperties"]} if patterns and "properties" not in schema else {}
    return cleaned | more | ({"required": required} if required else {})


def pointed(schema: Any, held: set[str], *, inherits: bool = False) -> Any:
    """Point references that hold a resource to any kind of it; those that inherit from it stay."""
    if isinstance(schema, list):
        return [pointed(item, held, inherits=inherits) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") in held and not inherits:
        return {"$ref": f"{schema['$ref']}.any"}
    return {key: pointed(value, held, inherits=key == "allOf") for key, value in schema.items()}


@pytest.fixture(scope="session")
def contract() -> Registry[Any]:
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download commercetools-api.json and set"
            " HUB_VENDOR_SPECS to its folder"
        )
    document = json.loads(Path(folder, "commercetools-api.json").read_text(encoding="utf-8"))
    schemas = readable(document["components"]["schemas"])
    resource = Resource(contents={"components": {"schemas": schemas}}, specification=DRAFT202012)
    return Registry().with_resource("urn:vendor", resource)


def faults_in(contract: Registry[Any], name: str, document: Any) -> list[str]:
    """List the violations of the contract in *document*, including unknown fields."""
    schema = {"$ref": f"urn:vendor#/components/schemas/{name}", "unevaluatedProperties": False}
    validator = Draft202012Validator(schema, registry=contract, format_checker=_FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inventory", "InventoryEntry"),
        ("product-projections", "ProductProjection"),
        ("products", "Product"),
        ("standalone-prices", "StandalonePrice"),
        ("orders", "Order"),
        ("customers", "Customer"),
    ],
)
def test_good_rows_keep_the_contract(
    contract: Registry[Any], reader: RetailerClient, still_shop: FakeRetailer, path: str, name: str
) -> None:
    """Flawed rows are excluded: they break it on purpose."""
    entity = "product-projections" if path == "products" else path
    flawed = still_shop.state.flawed_ids(entity)
    page = reader.get(path, ("limit", 60)).json
    for row in page["results"]:
        assert row["id"] in flawed or faults_in(contract, name, row) == []
    page["results"] = []
    envelope = name.removesuffix("Entry") + "PagedQueryResponse"
    assert faults_in(contract, envelope, page) == []


def plainly(row: dict[str, Any]) -> dict[str, Any]:
    """Turn custom fields into text: the contract's schema allows nothing else, although the vendor does."""
    if "custom" not in row:
        return row
    return row | {"custom": row["custom"] | {"fields": {name: str(v) for name, v in row["custom"]["fields"].items()}}}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("inventory", "InventoryEntry"),
        ("product-projections", "ProductProjection"),
        ("products", "Product"),
        ("orders", "Order"),
        ("customers", "Customer"),
    ],
)
def test_rows_of_a_dataset_keep_the_contract(
    contract: Registry[Any], real: RetailerClient, path: str, name: str
) -> None:
    """The only exception is a line without a description: the vendor's lines have a name."""
    rows = real.get(path, ("limit", 60)).json["results"]
    assert rows
    for row in rows:
        found = faults_in(contract, name, plainly(row))
        nameless = [n for n, item in enumerate(row.get("lineItems", ())) if "name" not in item]
        # If a part is wrong, the validator also calls the whole unevaluated.
        assert [fault for fault in found if not fault.startswith("$: Unevaluated")] == [
            f"$.lineItems[{n}]: 'name' is a required property" for n in nameless
        ]
        assert not found or nameless


def test_contract_finds_what_is_wrong(contract: Registry[Any], reader: RetailerClient) -> None:
    """A validator that accepts everything would pass all other tests here."""
    order = reader.get("orders", ("limit", 1)).json["results"][0]
    assert faults_in(contract, "Order", order | {"orderState": "Lost"})
    assert faults_in(contract, "Order", order | {"colour": "red"})
    assert faults_in(contract, "Order", order | {"totalPrice": {"type": "centPrecision", "currencyCode": "EUR"}})
    assert faults_in(contract, "Order", order | {"createdAt": "2026-02-30T00:00:00.000Z"})
    assert faults_in(
        contract, "ErrorResponse", {"statusCode": 400, "message": "m", "errors": [{"code": "DuplicateField"}]}
    )


def test_project_keeps_the_contract(contract: Registry[Any], reader: RetailerClient) -> None:
    """A connection test reads it."""
    assert faults_in(contract, "Project", reader.get("/demo").json) == []


def test_refusals_keep_the_contract(contract: Registry[Any], client: RetailerClient) -> None:
    """Clients decide by these bodies."""
    row = client.get("inventory", ("limit", 1)).json["results"][0]
    path, twin = f"inventory/{row['id']}", {name: row[name] for name in ("sku", "supplyChannel", "quantityOnStock")}
    answers = [
        client.get("inventory/none"),
        client.get("inventory", ("limit", 501)),
        client.update(path, row["version"] + 1),
        client.call("POST", path, body="{"),
        client.update(path, row["version"], {"action": "none"}),
        client.call("POST", "inventory", body=twin),
    ]
    assert [answer.status for answer in answers] == [404, 400, 409, 400, 400, 400]
    for status in (400, 401, 403, 404, 409, 429, 500, 502, 503, 504):
        client.script("inventory", {"status": status})
        answers.append(client.get("inventory"))
    for answer in answers:
        body = {name: value for name, value in answer.json.items() if name not in ("error", "error_description")}
        assert faults_in(contract, "ErrorResponse", body) == []


def test_refused_tokens_keep_the_contract(contract: Registry[Any], client: RetailerClient) -> None:
    """The authorisation server has its own kind of body."""
    assert faults_in(contract, "AuthErrorResponse", client.log_in(secret="guess").json) == []
    client.token = "nonsense"
    assert faults_in(contract, "AuthErrorResponse", client.get("inventory").json) == []
