"""An event type of a subject that is not the change of a record, declared once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from crossdock.core.decoding import prepare
from crossdock.core.errors import BadRequest
from crossdock.events.model import NewEvent


@dataclass(frozen=True)
class EventType:
    """A type of events, with its data as a msgspec Struct: the JSON Schema follows from the class and its docstring."""

    #: Past tense: `crossdock.stock.ran_out`.
    name: str
    data: type[msgspec.Struct]
    #: The field of the data by whose value events are ordered.
    key: str
    #: The fields of the data that are personal.
    personal: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        prepare(self.data)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the data."""
        _, components = msgspec.json.schema_components([self.data])
        found = dict(components.pop(self.data.__name__))
        title = found.pop("description", self.data.__name__)
        # The types of its fields that have names of their own, such as an enum: what refers to them must find them.
        return {**found, "title": title, **({"$defs": components} if components else {})}

    def event(self, data: msgspec.Struct, *, source: str, subject: str, time: datetime, event_id: str) -> NewEvent:
        """
        Build an event of this type; *event_id* is the provider's, so that a repeated one is the same event.

        Raises:
            BadRequest: the data are not as their class says: a message of a provider that says what cannot be.

        """
        encoded = msgspec.json.encode(data)
        try:
            msgspec.json.decode(encoded, type=self.data)
            time = time.astimezone(UTC)
        except (msgspec.ValidationError, OverflowError) as error:
            raise BadRequest(f"The body cannot be true as {self.name}: {error}") from error
        return NewEvent(
            source=source,
            type=self.name,
            subject=subject,
            time=time,
            partition_key=str(getattr(data, self.key)),
            data=encoded.decode(),
            event_id=event_id,
        )
