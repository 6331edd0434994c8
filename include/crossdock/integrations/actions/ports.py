"""What actions need from a connector: a client, and for each action a function or a `WriteAction`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from crossdock.http.client import DeclineOf, HttpClient, not_declined
from crossdock.http.model import Limits, WriteMethod
from crossdock.http.response import HttpResponse
from crossdock.integrations.actions.model import Document
from crossdock.integrations.manifests import Manifest
from crossdock.integrations.model import Integration


class Client(Protocol):
    """A connector's client of a system with an HTTP API."""

    @property
    def http(self) -> HttpClient: ...


#: Opens the client of an integration, what `provides.client` of its manifest creates, and closes it at the end. It is a
#: `Client`, unless all of the connector's writes are a `WriteCall`.
OpenClient = Callable[[Integration, Manifest], AbstractContextManager[Any]]

#: A read action: the connector's own client and a valid input → the output. Raises as `HttpClient.get`.
ReadAction = Callable[[Any, Document], Document]


class WriteRequest(msgspec.Struct, frozen=True):
    """What a write action sends. It follows from the input alone, so that a repetition sends the same bytes."""

    method: WriteMethod
    path: str
    body: Any = None
    #: Whether the body is a flat mapping of texts, sent as a form.
    form: bool = False
    query: Mapping[str, Any] = {}
    headers: Mapping[str, str] = {}


class Effect(StrEnum):
    """What a later read says about a write whose answer was lost."""

    #: The record is as the write makes it.
    VISIBLE = "visible"
    #: The record is as it was before. The same request may be sent again: the system cannot apply it twice, because it
    #: names the version that it changes.
    ABSENT = "absent"
    #: The record has changed otherwise and would show the write for good: it had no effect. It names a version that is gone, so
    #: it can have none any more.
    MISSED = "missed"
    #: The record has changed otherwise, or is gone: the write may have come first.
    UNCLEAR = "unclear"


class Sighting(msgspec.Struct, frozen=True):
    effect: Effect
    #: The output of the write, as the record is now; only if its effect is visible.
    output: Document | None = None


@dataclass(frozen=True)
class ReadBack:
    """How a read action finds out what became of a write."""

    #: The write's input → the input of the read.
    input_of: Callable[[Document], Document]
    #: The write's input and the output of the read → what became of the write.
    judge: Callable[[Document, Document], Sighting]


@dataclass(frozen=True)
class WriteAction:
    """A write action. It calls nothing: the hub sends its request, so that no connector can leave out the attempt log."""

    #: The connector's own client and a valid input → the request.
    request: Callable[[Any, Document], WriteRequest]
    #: Raises if the answer does not say what was done; the outcome is unknown then.
    output_of: Callable[[HttpResponse], Document]
    #: Reads a complete response of any status: the error by which the system decided against the request, or None.
    decline_of: DeclineOf = not_declined
    #: Statuses of refusals after which the system asks to try again, besides those that always mean that.
    retry_on: frozenset[int] = frozenset()
    #: For an action whose `unknown` is `read:<action>`.
    read_back: ReadBack | None = None


@dataclass(frozen=True)
class WriteCall:
    """A write action at a system without an HTTP API. The hub logs the attempt, and the connector's client makes the call."""

    #: The connector's own client, a valid input and the key → the output. Raises as `HttpClient.send`. It repeats nothing
    #: that may have had its effect.
    call: Callable[[Any, Document, str], Document]
    #: The connector's own client → the limits of one call.
    limits_of: Callable[[Any], Limits]
    read_back: ReadBack | None = None
