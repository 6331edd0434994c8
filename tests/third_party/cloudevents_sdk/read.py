"""
Run by the SDK's own Python, never by ours: reads HTTP answers, each with its headers and its body, as the SDK reads them.

Takes a list of them on standard input. Writes their attributes and data as one JSON document.
"""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent


def read(answer: dict) -> dict:
    message = HTTPMessage(headers=answer["headers"], body=answer["body"].encode())
    event = from_http(message, JSONFormat(), CloudEvent)
    data = event.get_data()
    return {**event.get_attributes(), "data": json.loads(data) if isinstance(data, bytes | str) else data}


sys.stdout.write(json.dumps([read(answer) for answer in json.load(sys.stdin)], default=str))
