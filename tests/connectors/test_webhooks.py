"""What manifests say about webhooks fits what else the hub declares."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import jsonschema
import pytest

from crossdock.app.event_types import event_types
from crossdock.connectors.commercetools.webhooks import WEBHOOK
from crossdock.events.webhooks_in.ports import Delivery, FetchKeys, IsEvent, Webhook
from crossdock.integrations.manifests import manifests

DECLARED = {kind: manifest for kind, manifest in manifests().items() if "webhook" in manifest.provides}


@pytest.mark.parametrize("kind", DECLARED)
def test_each_type_of_message_has_a_stream_of_the_connector_or_an_event_type_of_the_hub(kind: str) -> None:
    """A typing error here would be found when a message of that type comes, by a dead letter."""
    webhook: Webhook = DECLARED[kind].provided("webhook")
    datasets = {stream.dataset.name for stream in DECLARED[kind].streams}
    fetched = {meaning.dataset for meaning in webhook.meanings.values() if isinstance(meaning, FetchKeys)}
    published = {
        name for meaning in webhook.meanings.values() if isinstance(meaning, IsEvent) for name in meaning.types
    }

    assert fetched <= datasets
    assert published <= set(event_types().names)


@pytest.mark.parametrize("channel", [None, {"typeId": "channel", "id": "berlin"}])
def test_the_event_of_a_message_has_a_type_that_was_declared_and_data_that_match_its_schema(
    channel: dict[str, str] | None,
) -> None:
    document = {
        "id": "m-1",
        "type": "InventoryEntryOutOfStock",
        "createdAt": "2026-01-01T00:00:00.000Z",
        "resource": {"typeId": "inventory-entry", "id": "i-1"},
        "sku": "CHAIR",
        "supplyChannel": channel,
    }
    meaning = WEBHOOK.meanings["InventoryEntryOutOfStock"]
    assert isinstance(meaning, IsEvent)

    (event,) = meaning.events(Delivery("shop", "msg_1", datetime.now(UTC), document))

    assert event.type in meaning.types
    data = json.loads(event.data)
    jsonschema.validate(data, event_types().schema(event.type, event.schema_version))
    assert data == {"sku": "CHAIR", "supply_channel": "berlin" if channel else None}


def test_each_named_type_and_resource_is_the_vendors() -> None:
    """The vendor's API description lists the types of messages, and the types of resources that they refer to."""
    folder = os.environ.get("HUB_VENDOR_SPECS")
    if not folder:
        pytest.skip("HUB_VENDOR_SPECS names no folder with the vendor's API description")
    schemas = json.loads((Path(folder) / "commercetools-api.json").read_text())["components"]["schemas"]
    messages = {name.removesuffix("Message") for name in schemas if name.endswith("Message")}

    assert set(WEBHOOK.meanings) <= messages | set(schemas["ReferenceTypeId"]["enum"])
