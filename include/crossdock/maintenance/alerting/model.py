"""The message of an alert, as every channel gets it: plain text in named parts, nothing escaped or marked up yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    #: Somebody loses money, data or time now: it wakes a person.
    CRITICAL = "critical"
    #: It gets worse if nobody looks at it within the day.
    WARNING = "warning"
    #: Good to know.
    INFO = "info"


class Occasion(StrEnum):
    """Why a message is sent."""

    OPENED = "opened"
    #: The cause is still there, an hour or more after the last message.
    CONTINUES = "continues"
    CLOSED = "closed"
    #: Several causes in one message.
    DIGEST = "digest"
    #: A person tests a route.
    TEST = "test"


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One cause of an alert, however many rows it has. Texts may contain anything that a record had: a channel escapes them."""

    #: The kind of alert: `dead_letters`.
    kind: str
    severity: Severity
    #: What it is about: a stream, an integration, a subscriber.
    subject: str
    #: What is wrong, in a sentence.
    message: str
    #: When it began.
    since: datetime
    #: When it ended; None while it lasts.
    until: datetime | None = None
    #: How many records, calls or events it has; None where there is nothing to count.
    count: int | None = None
    #: At most three, personal data masked.
    examples: tuple[str, ...] = ()
    #: What the hub does by itself meanwhile.
    hub_does: str = ""
    #: What a person does next, in a sentence.
    next_step: str = ""
    #: The command of the next step; empty if there is none.
    command: str = ""
    #: Airflow's page of the run or the DAG; empty if there is none.
    link: str = ""
    #: What can be done to the alert from the message: words and URL of each.
    deeds: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class AlertMessage:
    """One message to one route."""

    #: At most 64 letters, digits, `-` and `_`. A message that is sent again, since nobody knows whether it arrived, has the same.
    message_id: str
    #: The same for all messages of one cause to one route, so that a mail program shows them as one thread.
    thread_id: str
    occasion: Occasion
    #: The highest of its causes.
    severity: Severity
    #: One line without control characters, such as `[critical] shop_eu.orders: 12 records rejected`.
    title: str
    #: One; several in a digest.
    causes: tuple[Cause, ...]
    #: The name of the installation that sends it (HUB_NAME or its URL).
    hub: str
    at: datetime
