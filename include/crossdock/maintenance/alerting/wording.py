"""
The message of an alert in words, the same over every channel: plain text, on one line each, cut to a length.

A record's text may hold anything. Here its control and format characters become visible; what is markup to a receiver is
for the channel to escape, since each receiver has its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from urllib.parse import urlsplit

from crossdock.core.printable import printable
from crossdock.maintenance.alerting.model import AlertMessage, Cause, Occasion

T = TypeVar("T")

#: What every channel takes as a subject or a title.
LONGEST_TITLE = 150
_MOST_EXAMPLES = 3
#: How long one text may be, and whether only what it is about is said: from all that one wants to know to the least.
_DETAILS = ((1_000, False), (300, False), (100, True))
#: What stands in a URL as it is (RFC 3986). Anything else has no business in a link of ours.
_URL = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_OCCASIONS = {
    Occasion.OPENED: "This has just begun.",
    Occasion.CONTINUES: "This still goes on.",
    Occasion.CLOSED: "This is over.",
    Occasion.DIGEST: "Several causes in one message.",
    Occasion.TEST: "A person tests this route. Nothing is wrong.",
}


@dataclass(frozen=True, kw_only=True)
class CauseInWords:
    heading: str
    message: str
    #: Name and value of what else is known, in order.
    facts: tuple[tuple[str, str], ...]
    examples: tuple[str, ...]
    #: The command of the next step; empty if there is none.
    command: str
    #: An http(s) URL; empty if there is none that can be followed.
    link: str
    #: Words and http(s) URL of what can be done from here.
    deeds: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Words:
    title: str
    #: Why it is sent, in a sentence.
    occasion: str
    causes: tuple[CauseInWords, ...]
    #: How many causes were left out, in words; empty if none was.
    more: str
    #: Who sent it, and when.
    footer: str


def in_words(message: AlertMessage, *, most_causes: int, longest: int, brief: bool = False) -> Words:
    """
    Put *message* into words: at most *most_causes*, and each text at most *longest* characters.

    With *brief*, a cause says what is wrong and since when, and not what to do.
    """
    shown = message.causes[:most_causes]
    return Words(
        title=one_line(message.title, LONGEST_TITLE) or "-",
        occasion=_OCCASIONS[message.occasion],
        causes=tuple(_cause(cause, longest, brief=brief) for cause in shown),
        more=_more(len(message.causes) - len(shown), "cause"),
        footer=f"{_sender(one_line(message.hub, longest))}, {instant(message.at)}",
    )


def _sender(hub: str) -> str:
    """Name the hub, and what it is where its name does not say so."""
    return hub if "crossdock" in hub.casefold() else f"Crossdock {hub}"


def fitted(message: AlertMessage, render: Callable[[Words], T], fits: Callable[[T], bool], *, most_causes: int) -> T:
    """
    Render *message* with as much as *fits*: less is said of each cause first, then causes are left out.

    The last try is returned as it is: one cause with short texts fits every receiver.
    """
    most = max(1, min(len(message.causes), most_causes))
    for longest, brief in _DETAILS:
        rendered = render(in_words(message, most_causes=most, longest=longest, brief=brief))
        if fits(rendered):
            return rendered
    while most > 1 and not fits(rendered):
        most = most * 3 // 4
        rendered = render(in_words(message, most_causes=most, longest=longest, brief=brief))
    return rendered


def one_line(text: str, longest: int) -> str:
    """Make *text* visible on one line of at most *longest* characters."""
    # Cut first: a megabyte of a record need not be read to its end.
    shown = printable(text[: longest + 1]).strip()
    return shown if len(shown) <= longest else f"{shown[: longest - 1].rstrip(' ,;:.')}…"


def web_link(text: str) -> str:
    """Return *text* if it is a URL that may become a link, else nothing: `javascript:` runs where it is clicked."""
    if not _URL.fullmatch(text):
        return ""
    try:
        parts = urlsplit(text)
    except ValueError:
        return ""
    return text if parts.scheme in {"http", "https"} and parts.netloc else ""


def instant(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _cause(cause: Cause, longest: int, *, brief: bool) -> CauseInWords:
    link = web_link(cause.link)
    facts = {
        "Since": instant(cause.since),
        "Until": instant(cause.until) if cause.until else "",
        "Count": "" if cause.count is None else f"{cause.count:,}",
    }
    if not brief:
        # A link that cannot be followed may be a page's name.
        facts |= {"The hub": cause.hub_does, "Next step": cause.next_step, "See": "" if link else cause.link}
    return CauseInWords(
        heading=one_line(f"{cause.severity}: {cause.subject} ({cause.kind})", longest),
        message=one_line(cause.message, longest) or "-",
        facts=tuple((name, one_line(text, longest)) for name, text in facts.items() if text.strip()),
        examples=() if brief else _examples(cause.examples, longest),
        command="" if brief else one_line(cause.command, longest),
        link="" if brief else link,
        deeds=() if brief else tuple((one_line(words, longest), url) for words, url in cause.deeds if web_link(url)),
    )


def _examples(examples: tuple[str, ...], longest: int) -> tuple[str, ...]:
    shown = [one_line(text, longest) or "-" for text in examples[:_MOST_EXAMPLES]]
    more = _more(len(examples) - len(shown), "example")
    return (*shown, more) if more else tuple(shown)


def _more(count: int, what: str) -> str:
    return f"… and {count:,} more {what}{'' if count == 1 else 's'}" if count > 0 else ""
