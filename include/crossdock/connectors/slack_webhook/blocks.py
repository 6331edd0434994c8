"""
Write the message of an alert as Slack's blocks.

What a record says stands in the text elements of `rich_text` only. They have no markup: neither `*`, `<!channel>`,
`<@U123>` nor a URL becomes anything there, while `mrkdwn` would parse all of them.
"""

from __future__ import annotations

from typing import Any

from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.wording import CauseInWords, Words, fitted

#: Slack takes 50 blocks. Three are the title, what was left out, and who sent it.
_MOST_CAUSES = 47
#: Slack names no limit for all blocks together, and refuses much longer ones (`msg_blocks_too_long`).
_MOST_CHARACTERS = 10_000


def payload_of(message: AlertMessage) -> dict[str, Any]:
    """Write the request's body."""
    return fitted(message, _payload, lambda payload: _characters(payload) <= _MOST_CHARACTERS, most_causes=_MOST_CAUSES)


def _payload(words: Words) -> dict[str, Any]:
    title = _section(_text(words.title, bold=True), _text(f"\n{words.occasion}"))
    blocks = [_rich(title), *(_rich(*_elements(cause)) for cause in words.causes)]
    if words.more:
        blocks.append(_rich(_section(_text(words.more))))
    return {
        # What a notification shows. It is parsed, so its markup is escaped, and names and URLs in it stay text.
        "text": _escaped(words.title),
        "mrkdwn": False,
        "parse": "none",
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [*blocks, _rich(_section(_text(words.footer)))],
    }


def _elements(cause: CauseInWords) -> list[dict[str, Any]]:
    lines = [cause.message, *(f"{name}: {value}" for name, value in cause.facts)]
    found = [_section(_text(cause.heading, bold=True), _text("\n" + "\n".join(lines)))]
    if cause.examples:
        found.append(_preformatted("\n".join(cause.examples)))
    if cause.command:
        found.append(_preformatted(cause.command))
    if cause.link:
        found.append(_section({"type": "link", "url": cause.link}))
    if cause.deeds:
        links = [{"type": "link", "url": url, "text": words} for words, url in cause.deeds]
        found.append(_section(links[0], *(part for link in links[1:] for part in (_text("  "), link))))
    return found


def _rich(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text", "elements": list(elements)}


def _section(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(parts)}


def _preformatted(text: str) -> dict[str, Any]:
    return {"type": "rich_text_preformatted", "elements": [_text(text)]}


def _text(text: str, *, bold: bool = False) -> dict[str, Any]:
    return {"type": "text", "text": text, **({"style": {"bold": True}} if bold else {})}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _characters(part: Any) -> int:
    """Count the characters of all texts and URLs."""
    if isinstance(part, dict):
        own = len(part["text"]) if isinstance(part.get("text"), str) else len(part.get("url", ""))
        return own + sum(_characters(value) for value in part.values() if isinstance(value, (dict, list)))
    return sum(map(_characters, part)) if isinstance(part, list) else 0
