"""The simulated Adyen and a hub that asks it; and the vendor's own OpenAPI document of Checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from crossdock.db.database import Store
from crossdock.sandbox.adyen.platform import FakeAdyen
from tests.connectors.adyen.payments_of_a_shop import World


@pytest.fixture
def adyen() -> Iterator[FakeAdyen]:
    with FakeAdyen(seed=7) as platform:
        yield platform


@pytest.fixture
def world(adyen: FakeAdyen, store: Store) -> World:
    return World(adyen, store)


@pytest.fixture(scope="session")
def checkout() -> dict[str, Any]:
    """The document as it is; reading its 778 kB of YAML takes seconds, so once."""
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip(
            "the vendor's OpenAPI document is not part of the project: download adyen-checkout-v71.yaml and set"
            " HUB_VENDOR_SPECS to its folder"
        )
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    document: dict[str, Any] = yaml.load(Path(folder, "adyen-checkout-v71.yaml").read_text("utf-8"), loader)  # noqa: S506  safe
    return document


@pytest.fixture(scope="session")
def checkout_schemas(checkout: dict[str, Any]) -> Registry[Any]:
    """The schemas that the requests and answers of our calls refer to."""
    schemas = checkout["components"]["schemas"]
    needed: dict[str, Any] = {}
    waiting = ["PaymentMethodsRequest", "PaymentMethodsResponse", "PaymentRequest", "PaymentResponse", "ServiceError"]
    waiting += [
        f"Payment{kind}{part}"
        for kind in ("Details", "Capture", "Cancel", "Refund")
        for part in ("Request", "Response")
    ]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed[name] = _overlapping(schemas[name])
            waiting += [reference.rpartition("/")[2] for reference in _references(schemas[name])]
    contents = {"components": {"schemas": needed}}
    return Registry().with_resource("urn:vendor", Resource(contents=contents, specification=DRAFT202012))


def _overlapping(schema: Any) -> Any:
    """Let a document match several alternatives: a stored method is one of four kinds, as the vendor declares them."""
    if isinstance(schema, list):
        return [_overlapping(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {"anyOf" if key == "oneOf" else key: _overlapping(value) for key, value in schema.items()}


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, list):
        for item in schema:
            yield from _references(item)
    elif isinstance(schema, dict):
        for key, value in schema.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from _references(value)
