"""Messages for Slack and Teams as their vendors' own libraries read them: Slack's block models, Microsoft's cards."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import replace
from typing import Any

import pytest

from crossdock.connectors.slack_webhook import blocks
from crossdock.connectors.teams_webhook import card
from crossdock.core.printable import printable
from crossdock.maintenance.alerting.model import AlertMessage, Occasion
from crossdock.sandbox.slack_webhook.workspace import FakeSlack
from tests.contracts.alert_channels import SAMPLE, sample, with_cause
from tests.contracts.test_alert_channels import HOSTILE
from tests.third_party.installs import HERE, npm_folder, sdk_python

#: They need PyPI and npm's registry and, at first, some seconds of installing: one worker installs.
pytestmark = [pytest.mark.deep, pytest.mark.xdist_group("third_party")]

_FIELDS = ("subject", "message", "hub_does", "next_step", "command", "link")


def hostile(text: str) -> AlertMessage:
    return replace(with_cause(**dict.fromkeys(_FIELDS, text), examples=(text,) * 3), title=text, hub=text)


def messages() -> list[AlertMessage]:
    digest = sample(occasion=Occasion.DIGEST, causes=SAMPLE.causes * 300)
    bare = with_cause(message="", count=None, examples=(), hub_does="", next_step="", command="", link="")
    return [SAMPLE, digest, bare, hostile("x" * 100_000), *map(hostile, HOSTILE.values())]


@pytest.fixture(scope="module")
def slack() -> dict[str, Any]:
    payloads = [blocks.payload_of(message) for message in messages()]
    with FakeSlack() as system:
        ended = subprocess.run(
            [str(sdk_python("slack_sdk")), str(HERE / "slack_sdk" / "calls.py"), system.webhook_url],
            env={"PATH": os.defpath},
            input=json.dumps(payloads),
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        found: dict[str, Any] = json.loads(ended.stdout)
        return {**found, "payloads": payloads, "inbox": system.inbox}


@pytest.mark.parametrize("capability", ["alert_channel"])
def test_slacks_models_read_every_block_that_we_write(slack: dict[str, Any], capability: str) -> None:
    """With each of its fields: what the models do not know, they leave out and log."""
    assert capability
    assert [found["warnings"] for found in slack["read"]] == [[]] * len(slack["payloads"])
    assert [found["blocks"] for found in slack["read"]] == [payload["blocks"] for payload in slack["payloads"]]


def test_slacks_models_find_an_element_that_does_not_exist(slack: dict[str, Any]) -> None:
    """Models that accept everything would pass the test above."""
    assert slack["unknown"]["warnings"]


def test_slacks_client_is_answered_by_our_sandbox_as_by_slack(slack: dict[str, Any]) -> None:
    assert slack["posted"] == [[200, "ok"]] * len(slack["payloads"])
    assert slack["inbox"] == slack["payloads"]
    assert slack["wrong url"] == [404, "no_service"]
    assert slack["no text"] == [400, "no_text"]
    assert slack["too many blocks"] == [400, "invalid_blocks"]


def read_cards(cards: list[Any]) -> list[dict[str, Any]]:
    node, folder = npm_folder("adaptive_cards", "read.cjs")
    ended = subprocess.run(
        [node, "read.cjs"],
        cwd=folder,
        input=json.dumps(cards),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found: list[dict[str, Any]] = json.loads(ended.stdout)
    return found


@pytest.fixture(scope="module")
def cards() -> list[dict[str, Any]]:
    payloads = [card.payload_of(message) for message in messages()]
    return read_cards([payload["attachments"][0]["content"] for payload in payloads])


@pytest.mark.parametrize("capability", ["alert_channel"])
def test_microsofts_reader_finds_no_fault_in_any_card(cards: list[dict[str, Any]], capability: str) -> None:
    assert capability
    assert [(found["events"], found["failures"]) for found in cards] == [([], [])] * len(messages())


def test_what_a_record_says_is_shown_as_it_is(cards: list[dict[str, Any]]) -> None:
    """As rendered: no Markdown is processed, nothing becomes a link, a picture or a date."""
    for text, found in zip(HOSTILE.values(), cards[-len(HOSTILE) :], strict=True):
        # Its reader takes two braces for a date, so no two stay together.
        shown = re.sub(r"\{(?=\{)", "{ ", printable(text).strip())
        assert found["text"].count(shown) >= len(_FIELDS) + 3
        assert (found["markdown"], found["links"]) == ([], [])
        assert {*found["tags"]} <= {"DIV", "SPAN"}


def test_microsofts_reader_finds_what_is_wrong() -> None:
    """A reader that accepts everything would pass the tests above."""
    wrong = {
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "Colour"}, {"type": "TextBlock", "text": "**b**"}],
    }
    (found,) = read_cards([wrong])

    assert found["events"]
    assert found["markdown"] == ["**b**"]
