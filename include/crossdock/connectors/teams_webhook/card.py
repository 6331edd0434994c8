"""
Write the message of an alert as an Adaptive Card, in the envelope that Teams' webhooks take.

What a record says stands in `TextRun`s only. They have no markup: neither Markdown nor `<at>` becomes anything there,
while a `TextBlock` or a `FactSet` would format it.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from crossdock.maintenance.alerting.model import AlertMessage, Severity
from crossdock.maintenance.alerting.wording import CauseInWords, Words, fitted

#: The newest that Teams shows on every device.
_VERSION = "1.4"
#: Teams takes about 28 kB, with everything that it adds.
_MOST_BYTES = 24_000
_MOST_CAUSES = 50
#: The first of two. By pairs, the third brace of "{{{" would stand beside the second one again.
_TWO_BRACES = re.compile(r"\{(?=\{)")
_COLOURS = {Severity.CRITICAL: "Attention", Severity.WARNING: "Warning", Severity.INFO: "Accent"}


def payload_of(message: AlertMessage) -> dict[str, Any]:
    """Write the request's body."""
    return fitted(
        message,
        lambda words: _payload(words, message.severity),
        lambda payload: len(msgspec.json.encode(payload)) <= _MOST_BYTES,
        most_causes=_MOST_CAUSES,
    )


def _payload(words: Words, severity: Severity) -> dict[str, Any]:
    body = [
        _lines(_run(words.title, weight="Bolder", size="Medium", color=_COLOURS[severity])),
        _lines(_run(words.occasion)),
        *(_cause(cause) for cause in words.causes),
    ]
    if words.more:
        body.append(_lines(_run(words.more)))
    card = {
        "type": "AdaptiveCard",
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "version": _VERSION,
        "msteams": {"width": "Full"},
        "body": [*body, _lines(_run(words.footer, isSubtle=True, size="Small"))],
    }
    return {
        "type": "message",
        "attachments": [
            {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
        ],
    }


def _cause(cause: CauseInWords) -> dict[str, Any]:
    code = [*cause.examples, *([cause.command] if cause.command else [])]
    items = [
        _lines(_run(cause.heading, weight="Bolder")),
        _lines(_run(cause.message)),
        *(_lines(_run(f"{name}: ", weight="Bolder"), _run(value)) for name, value in cause.facts),
        *(_lines(_run(line, fontType="Monospace")) for line in code),
    ]
    links = [*([("Open the page", cause.link)] if cause.link else []), *cause.deeds]
    if links:
        opens = [{"type": "Action.OpenUrl", "title": words, "url": url} for words, url in links]
        items.append({"type": "ActionSet", "actions": opens})
    return {"type": "Container", "separator": True, "items": items}


def _lines(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": list(runs)}


def _run(text: str, **style: Any) -> dict[str, Any]:
    # "{{DATE(…)}}" is a function, wherever it stands.
    return {"type": "TextRun", "text": _TWO_BRACES.sub("{ ", text), **style}
