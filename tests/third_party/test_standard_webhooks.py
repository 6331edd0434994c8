"""The library of Standard Webhooks verifies what our channel sends, and our sandbox what the library signs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from crossdock.maintenance.alerting.model import Occasion
from tests.contracts.alert_channels import CHANNELS, SAMPLE, Bench, open_channel, sample, with_cause
from tests.contracts.test_alert_channels import HOSTILE
from tests.third_party.installs import HERE, sdk_python

#: It needs PyPI and, at first, some seconds of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    (channel,) = (channel for channel in CHANNELS if channel.kind == "signed_webhook")
    with channel.bench() as opened:
        yield opened


@pytest.fixture(scope="module")
def found(bench: Bench) -> dict[str, Any]:
    """Every message as it came over the socket, and three that were changed on their way."""
    channel, sent = open_channel(bench), []
    taken = bench.system.take
    bench.system.take = lambda request: sent.append(request) or taken(request)
    for number, text in enumerate(HOSTILE.values()):
        channel.send(with_cause(message=text, examples=(text,)), ())
        channel.send(sample(message_id=f"m-{number}", occasion=Occasion.DIGEST, causes=SAMPLE.causes * 200), ())
    documents = [{"headers": dict(request.headers), "body": request.body.decode()} for request in sent]
    first = documents[0]
    documents += [
        {**first, "body": first["body"].replace("shop_eu", "shop_us")},
        {**first, "headers": {**first["headers"], "webhook-id": "m-other"}},
        {**first, "headers": {**first["headers"], "webhook-timestamp": "1000000000"}},
    ]
    ended = subprocess.run(
        [str(sdk_python("standard_webhooks")), str(HERE / "standard_webhooks" / "calls.py"), bench.system.secret],
        env={"PATH": os.defpath},
        input=json.dumps(documents),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return {**json.loads(ended.stdout), "documents": documents}


@pytest.mark.parametrize("capability", ["alert_channel"])
def test_the_library_verifies_every_message(found: dict[str, Any], capability: str) -> None:
    assert capability
    assert found["verified"][:-3] == [json.loads(document["body"]) for document in found["documents"][:-3]]


def test_the_library_refuses_what_was_changed(found: dict[str, Any]) -> None:
    """A library that accepts everything would pass the test above."""
    assert [str(answer)[:8] for answer in found["verified"][-3:]] == ["refused:"] * 3


def test_our_sandbox_takes_what_the_library_signs(found: dict[str, Any], bench: Bench) -> None:
    timestamp, signature = found["signed"]
    headers = {"webhook-id": "m-1", "webhook-timestamp": timestamp, "webhook-signature": signature}

    answers = [
        requests.post(bench.system.url, data=body, headers=headers, timeout=60).status_code
        for body in ('{"a": 1}', '{"a": 2}')
    ]
    assert answers == [204, 401]
