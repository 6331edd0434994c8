"""
Run by the SDK's own Python, never by ours: reads messages with the models of its blocks, and posts them with its client.

Takes the webhook's URL as its argument and a list of payloads on standard input. Writes what it found as one JSON document.
"""

import json
import logging
import sys

from slack_sdk.models.blocks import Block
from slack_sdk.webhook import WebhookClient

warnings: list = []


class Kept(logging.Handler):
    """The models only log what they do not know."""

    def emit(self, record: logging.LogRecord) -> None:
        warnings.append(record.getMessage())


logging.getLogger().addHandler(Kept())
logging.getLogger().setLevel(logging.WARNING)


def read(payload: dict) -> dict:
    """What the models make of a message: it must be the message again."""
    warnings.clear()
    blocks = Block.parse_all(payload["blocks"])
    for block in blocks:
        block.validate_json()
    return {"blocks": [block.to_dict() for block in blocks], "warnings": list(warnings)}


def post(url: str, payload: dict) -> list:
    answer = WebhookClient(url).send_dict(payload)
    return [answer.status_code, answer.body]


url, payloads = sys.argv[1], json.load(sys.stdin)
json.dump(
    {
        "read": [read(payload) for payload in payloads],
        "unknown": read({"blocks": [{"type": "rich_text", "elements": [{"type": "colour", "text": "red"}]}]}),
        "posted": [post(url, payload) for payload in payloads],
        "wrong url": post(url + "x", payloads[0]),
        "no text": post(url, {"mrkdwn": False}),
        "too many blocks": post(url, {"text": "x", "blocks": [{"type": "divider"}] * 51}),
    },
    sys.stdout,
)
