"""Write the message of an alert as JSON. `alert.schema.json` beside this file is its published form."""

from __future__ import annotations

from typing import Any

from crossdock.core.instants import utc_text
from crossdock.core.printable import printable
from crossdock.maintenance.alerting.model import AlertMessage, Cause
from crossdock.maintenance.alerting.wording import LONGEST_TITLE, one_line, web_link

_MOST_CAUSES = 100
_MOST_EXAMPLES = 3
_LONGEST = 1_000


def document_of(message: AlertMessage) -> dict[str, Any]:
    """Write the request's body: type, timestamp and data, as Standard Webhooks recommends."""
    return {
        "type": f"crossdock.alert.{message.occasion}",
        "timestamp": utc_text(message.at),
        "data": {
            "message_id": message.message_id,
            "thread_id": printable(message.thread_id),
            "occasion": message.occasion,
            "severity": message.severity,
            "title": one_line(message.title, LONGEST_TITLE),
            "hub": one_line(message.hub, _LONGEST),
            "causes": [_cause(cause) for cause in message.causes[:_MOST_CAUSES]],
            "more_causes": max(0, len(message.causes) - _MOST_CAUSES),
        },
    }


def _cause(cause: Cause) -> dict[str, Any]:
    texts = {
        name: one_line(getattr(cause, name), _LONGEST)
        for name in ("kind", "subject", "message", "hub_does", "next_step", "command")
    }
    return {
        **texts,
        "severity": cause.severity,
        "since": utc_text(cause.since),
        "until": utc_text(cause.until) if cause.until else None,
        "count": cause.count,
        "examples": [one_line(example, _LONGEST) for example in cause.examples[:_MOST_EXAMPLES]],
        "link": web_link(cause.link),
        "deeds": [{"title": one_line(words, _LONGEST), "link": url} for words, url in cause.deeds if web_link(url)],
    }
