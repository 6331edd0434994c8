"""The JavaScript and the Python SDK of CloudEvents read what the API answers, in each mode that they know."""

from __future__ import annotations

import json
import os
import subprocess
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest

from crossdock.events.cloudevents import BATCH_MEDIA_TYPE, MEDIA_TYPE, as_document, as_headers
from crossdock.events.model import STOCK_CHANGED, WEBHOOK_RECEIVED, Event
from tests.third_party.installs import HERE, npm_folder, sdk_python

#: They need PyPI and npm's registry and, at first, some seconds of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

URL = "https://hub.shop.example"


def event(position: int, **changes: Any) -> Event:
    ours: dict[str, Any] = {
        "epoch": 1,
        "xid": 2**40,
        "position": position,
        "event_id": None,
        "source": "/integrations/commercetools",
        "type": STOCK_CHANGED,
        "subject": f"inventory/{position}",
        "time": datetime(2026, 11, 1, 12, 30, 0, 123456, tzinfo=UTC),
        "partition_key": "CHAIR",
        "correlation_id": "inventory-20261101T123000-aaaaaaaa",
        "schema_version": 1,
        "data": json.dumps({"sku": "CHAIR", "available_quantity": position}),
    }
    return Event(**{**ours, **changes})


EVENTS = (
    event(1),
    event(2, partition_key='Stühle "neu" 50 %, 日本\u2028\n\u0007', subject="ä/ö"),
    event(3, event_id="msg_1", type=WEBHOOK_RECEIVED, subject=None, correlation_id=None, data="{}"),
    event(4, partition_key="x" * 512),
)
STRUCTURED = [{"headers": {"content-type": MEDIA_TYPE}, "body": json.dumps(as_document(one, URL))} for one in EVENTS]
BINARY = [{"headers": as_headers(one, URL), "body": one.data} for one in EVENTS]
BATCH = [{"headers": {"content-type": BATCH_MEDIA_TYPE}, "body": json.dumps([as_document(one, URL) for one in EVENTS])}]


def read(command: list[str], answers: list[dict[str, Any]]) -> Any:
    ended = subprocess.run(
        command,
        env={"PATH": os.defpath},
        input=json.dumps(answers),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return json.loads(ended.stdout)


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    """Without what an SDK writes in its own way: the spelling of an instant."""
    found = {name: value for name, value in document.items() if value is not None}
    at = datetime.fromisoformat(found["time"])
    return {**found, "time": at.replace(microsecond=at.microsecond // 1000 * 1000)}


def decoded(value: Any) -> Any:
    return unquote(value) if isinstance(value, str) else value


@pytest.mark.parametrize("answers", [STRUCTURED, BINARY, BATCH], ids=["structured", "binary", "batch"])
def test_the_javascript_sdk_calls_each_event_valid_and_reads_the_same(answers: list[dict[str, Any]]) -> None:
    node, folder = npm_folder("cloudevents", "read.cjs")
    found = [one for some in read([node, str(folder / "read.cjs")], answers) for one in some]

    assert all(one["valid"] for one in found)
    events = [one["event"] for one in found]
    if answers is BINARY:  # The SDK leaves the values of headers as they are encoded.
        events = [{name: decoded(value) for name, value in one.items()} for one in events]
    assert [comparable(one) for one in events] == [comparable(as_document(one, URL)) for one in EVENTS]


@pytest.mark.parametrize("answers", [STRUCTURED, BINARY], ids=["structured", "binary"])
def test_the_python_sdk_reads_the_same(answers: list[dict[str, Any]]) -> None:
    found = read([str(sdk_python("cloudevents_sdk")), str(HERE / "cloudevents_sdk" / "read.py")], answers)

    assert [comparable(one) for one in found] == [comparable(as_document(one, URL)) for one in EVENTS]
