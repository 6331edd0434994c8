"""
What a webhook means: the port that connectors implement, and `app` provides from their manifests.

A connector says for each type of message either *fetch these keys* or *this is an event*. How a delivery is signed is
configuration (`signatures`); what it means is the vendor's code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from crossdock.events.model import NewEvent

#: Begins the source of a webhook's event; the integration follows.
SOURCE = "/webhooks/"


@dataclass(frozen=True)
class Delivery:
    """A webhook whose signature is the sender's."""

    #: The integration that sent it.
    integration: str
    #: The sender's id of the delivery.
    id: str
    received_at: datetime
    #: The message: decoded JSON, or the fields of a form.
    document: Any
    #: The integration's settings; empty if it is not registered. They are not the sender's: what it says may be compared.
    settings: Mapping[str, Any] = field(default_factory=dict)
    #: By their names in lower case. Few schemes sign them.
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: What the message was taken from: the decoded body of the delivery, if it had a list of them.
    envelope: Any = None


@dataclass(frozen=True)
class FetchKeys:
    """A message that names records of a stream: they are fetched from the source, as they are now."""

    dataset: str
    keys: Callable[[Delivery], Sequence[str]]
    #: Whether the keys are ids of the source; otherwise they are business keys, such as SKUs.
    by_id: bool = False


@dataclass(frozen=True)
class IsEvent:
    """A message that is an event of a subject: the function is pure, and gives each event the provider's id."""

    #: The types of the events.
    types: tuple[str, ...]
    events: Callable[[Delivery], Sequence[NewEvent]]


Meaning = FetchKeys | IsEvent


@dataclass(frozen=True)
class Webhook:
    """
    The webhooks of a connector: `provides.webhook` of its manifest names one.

    Its functions raise BadRequest for a message that lacks what its type must have.
    """

    #: The type of a message, and then broader names, such as that of its resource. The first one with a meaning counts.
    types_of: Callable[[Delivery], Sequence[str]]
    meanings: Mapping[str, Meaning]
    #: The provider's id of a message, the same in each delivery of it; the id of the delivery if there is no other.
    message_id: Callable[[Delivery], str] = lambda delivery: delivery.id
    #: Whether the items of a list are messages of their own; otherwise the functions get the whole list.
    takes_lists_apart: bool = False
    #: For a connector that reads a list itself: the type of each of its messages that means nothing here.
    ignored_types: Callable[[Delivery], Sequence[str]] = lambda _: ()


#: Finds the webhooks that an integration's connector declares; None if it declares none.
WebhookOf = Callable[[str], Webhook | None]
