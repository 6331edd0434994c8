"""The message of an alert as a mail: subject, text and HTML, and the headers by which a mail program puts it into a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from html import escape
from typing import NamedTuple

from crossdock.core.errors import BadRequest
from crossdock.core.settings import settings
from crossdock.maintenance.alerting.model import AlertMessage
from crossdock.maintenance.alerting.wording import LONGEST_TITLE, CauseInWords, Words, fitted, one_line

_MOST_CAUSES = 100
#: Far below what any server takes, and more than anybody reads.
_MOST_CHARACTERS = 100_000
_COLOURS = {"critical": "#b00020", "warning": "#9a6700", "info": "#0b57d0"}


class Sender(NamedTuple):
    name: str
    address: str


class _Bodies(NamedTuple):
    text: str
    html: str


@dataclass(frozen=True, kw_only=True)
class AlertMail:
    subject: str
    text: str
    html: str
    #: `<…@…>`, derived from the message's ID: a program that gets it twice shows it once.
    message_id: str
    #: The other headers. Their values are ASCII without line breaks.
    headers: Mapping[str, str]


def configured_sender() -> Sender:
    """
    Read who sends the hub's mails.

    Raises:
        BadRequest: HUB_MAIL_FROM is not set, or has no address.

    """
    sender = Sender(*parseaddr(settings().mail_from))
    if not sender.address:
        raise BadRequest("Set HUB_MAIL_FROM to who sends the hub's mails, such as: The Shop <alerts@shop.example>")
    return sender


def mail_of(message: AlertMessage, *, domain: str) -> AlertMail:
    """
    Write the mail of *message*; *domain* is the sender's, in ASCII.

    Every mail of a thread answers the same first one, which is never sent: then a program need not have the one before.
    """
    thread = f"<{_token('thread', message.thread_id)}@{domain}>"
    bodies = fitted(
        message,
        lambda words: _Bodies(_text(words), _html(words, message)),
        lambda written: len(written.html) <= _MOST_CHARACTERS,
        most_causes=_MOST_CAUSES,
    )
    return AlertMail(
        # "=?" would begin an encoded word (RFC 2047): a program would decode what a record says, line breaks included.
        subject=one_line(message.title.replace("=?", "= ?"), LONGEST_TITLE),
        text=bodies.text,
        html=bodies.html,
        message_id=f"<{_token('message', message.message_id)}@{domain}>",
        headers={
            "In-Reply-To": thread,
            "References": thread,
            # RFC 3834: no out-of-office replies, please.
            "Auto-Submitted": "auto-generated",
            "List-Id": f"Crossdock alerts <alerts.crossdock.{domain}>",
            "X-Crossdock-Occasion": message.occasion,
            "X-Crossdock-Severity": message.severity,
        },
    )


def _token(what: str, identifier: str) -> str:
    """Write *identifier* as the left part of a Message-ID. Short: a folded Message-ID is not understood everywhere."""
    return hashlib.sha256(f"{what}:{identifier}".encode(errors="surrogatepass")).hexdigest()[:32]


def _text(words: Words) -> str:
    parts = [words.title, words.occasion, *map(_cause_as_text, words.causes), words.more, f"-- \n{words.footer}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _cause_as_text(cause: CauseInWords) -> str:
    lines = [cause.heading, cause.message, *(f"{name}: {value}" for name, value in cause.facts)]
    if cause.examples:
        lines += ["Examples:", *(f"  {example}" for example in cause.examples)]
    if cause.command:
        lines += ["Command:", f"  {cause.command}"]
    lines += [cause.link] if cause.link else []
    return "\n".join([*lines, *(f"{words}: {url}" for words, url in cause.deeds)])


def _html(words: Words, message: AlertMessage) -> str:
    """Write the page. It loads nothing, so that nobody is seen reading it, and has no link but the hub's own."""
    parts = [
        f'<h2 style="color:{_COLOURS[message.severity]}">{escape(words.title)}</h2>',
        f"<p>{escape(words.occasion)}</p>",
        *map(_cause_as_html, words.causes),
        f"<p>{escape(words.more)}</p>" if words.more else "",
        f'<p style="color:#666">{escape(words.footer)}</p>',
    ]
    body = "\n".join(part for part in parts if part)
    return f'<!DOCTYPE html>\n<html><body style="font-family:sans-serif">\n{body}\n</body></html>\n'


def _cause_as_html(cause: CauseInWords) -> str:
    facts = [f"<li>{escape(name)}: {escape(value)}</li>" for name, value in cause.facts]
    if cause.examples:
        items = "".join(f"<li><code>{escape(example)}</code></li>" for example in cause.examples)
        facts.append(f"<li>Examples:<ul>{items}</ul></li>")
    if cause.command:
        facts.append(f"<li>Command: <code>{escape(cause.command)}</code></li>")
    if cause.link:
        facts.append(f'<li><a href="{escape(cause.link)}">{escape(cause.link)}</a></li>')
    facts += [f'<li><a href="{escape(url)}">{escape(words)}</a></li>' for words, url in cause.deeds]
    return f"<h3>{escape(cause.heading)}</h3>\n<p>{escape(cause.message)}</p>\n<ul>{''.join(facts)}</ul>"
