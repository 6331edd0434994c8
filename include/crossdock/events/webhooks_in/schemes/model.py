"""The interface of a signature scheme: what came → who sent it, under which ID, and what it carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossdock.events.webhooks_in.rules import Headers, WebhookRules

#: Reads a document of public keys or a certificate from a URL; *newer* than the one that is known, if possible.
ReadKeys = Callable[[str, bool], bytes]


@dataclass(frozen=True)
class Arrival:
    """A request as it came, and what it is compared with. Its repr shows no key."""

    rules: WebhookRules
    #: All valid keys; several while one is rotated.
    keys: Sequence[str] = field(repr=False)
    headers: Headers = field(repr=False)
    #: Byte for byte: a body that was parsed and written again has another signature.
    body: bytes = field(repr=False)
    #: Our clock, in seconds since 1970.
    now_s: float
    #: The query of the URL, undecoded.
    query: str = field(default="", repr=False)
    read_keys: ReadKeys | None = None


@dataclass(frozen=True)
class Handshake:
    """A message with which a sender tries, proves or ends a subscription."""

    kind: str
    #: What the sender wants to read in the answer.
    answer: Mapping[str, Any] | None = None
    #: The address that has to be visited for deliveries to begin.
    confirm_url: str | None = None


@dataclass(frozen=True)
class Message:
    """What a delivery carries: a body, and the sender's ID of it."""

    id: str
    body: bytes
    #: Whether the body is a form (`application/x-www-form-urlencoded`).
    is_form: bool = False
    #: Whether it may be any text, and not only JSON: what a person publishes by hand, or an alarm.
    may_be_text: bool = False


@dataclass(frozen=True)
class Signed:
    """A delivery that is the sender's."""

    #: By which a repeated delivery is recognised.
    id: str
    messages: tuple[Message, ...]
    handshake: Handshake | None = None
    #: The status of the answer, where the sender takes no other for a success.
    status: int = 202


#: Verifies one arrival. Raises WebhookRefused.
Scheme = Callable[[Arrival], Signed]


def whole(arrival: Arrival, delivery_id: str, *, handshake: Handshake | None = None, status: int = 202) -> Signed:
    """Build the result for a scheme that signs the body, which is one message."""
    # JSON often comes under a form's type: curl writes that by default.
    says_form = content_type(arrival.headers) == "application/x-www-form-urlencoded"
    is_form = says_form and arrival.body.lstrip()[:1] not in (b"{", b"[")
    return Signed(delivery_id, (Message(delivery_id, arrival.body, is_form),), handshake, status)


def content_type(headers: Headers) -> str:
    """Name the media type of the body, without parameters; empty if the sender does not say it."""
    found = next((value for name, value in headers if name.lower() == "content-type"), "")
    return found.partition(";")[0].strip().lower()
