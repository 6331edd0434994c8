"""
The vendor's own OpenAPI document of commercetools, as JSON Schemas that a validator understands.

It is not part of the project: HUB_VENDOR_SPECS names the folder that has it. Without it the tests that ask for `vendor` or
`contract` are skipped.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

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
def vendor() -> dict[str, Any]:
    """The document as it is."""
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download commercetools-api.json and set"
            " HUB_VENDOR_SPECS to its folder"
        )
    document: dict[str, Any] = json.loads(Path(folder, "commercetools-api.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="session")
def contract(vendor: dict[str, Any]) -> Registry[Any]:
    """Its schemas."""
    schemas = readable(vendor["components"]["schemas"])
    resource = Resource(contents={"components": {"schemas": schemas}}, specification=DRAFT202012)
    return Registry().with_resource("urn:vendor", resource)


def faults_in(contract: Registry[Any], name: str, document: Any) -> list[str]:
    """List the violations of the contract in *document*, including unknown fields."""
    schema = {"$ref": f"urn:vendor#/components/schemas/{name}", "unevaluatedProperties": False}
    validator = Draft202012Validator(schema, registry=contract, format_checker=_FORMATS)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)]
