"""
The terms of actions: what a manifest declares of each, and how a call of one ends.

Every process of Airflow reads the manifests, so this module imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, Literal

import msgspec

from crossdock.core.errors import BadRequest
from crossdock.integrations.model import FieldError

#: A document that a JSON Schema of the manifest describes.
Document = Mapping[str, Any]

_READ_BACK = "read:"


class ActionKind(StrEnum):
    READ = "read"
    #: Has an effect at the system.
    WRITE = "write"


class Idempotency(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the system treats idempotency keys, from its documentation."""

    #: How long it replays the answer of a key, counted from the first request.
    window_s: float
    #: Whether it replays refusals, too.
    replays: Literal["all", "successes"]
    #: The longest key that it takes. The hub's have up to 64 characters.
    key_max_length: int
    #: Within what a key must be unique there: `account`.
    scope: str
    header: str = "Idempotency-Key"
    #: The status with which it answers while another request with the key is at work.
    in_use_status: int = 409
    #: The header by which it says `true` where the request may be sent again with the same key; empty if there is none.
    retry_header: str = ""


class LastKnown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """While the system does not answer, a read gives its last known output for the same input."""

    #: An older one is of no use.
    last_known_s: float


class Action(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One action of a connector, as its manifest declares it."""

    title: str
    description: str
    kind: ActionKind
    #: JSON Schemas (2020-12).
    input: Document
    output: Document
    #: A valid input.
    sample: Document
    #: Where its code is, as `module:name`; imported when it is called. Empty for one that a file declares.
    run: str = ""
    #: How the system treats the keys of a write; "none" if it knows no keys. None for a read.
    idempotency: Idempotency | Literal["none"] | None = None
    #: How an unknown outcome of a write is resolved: "replay" of the key, "read:<action>", by the system's "webhook" if it had
    #: its effect and else by a person, or by a "person" alone. None for a read.
    unknown: str | None = None
    #: The form (a regular expression) of the reference by which the system names the effect of a write, in its answers and
    #: its events; None if it is not declared.
    names_effect: str | None = None
    #: What a read gives while the system does not answer: nothing ("stop"), or what it gave last.
    fallback: LastKnown | Literal["stop"] = "stop"

    @property
    def personal_fields(self) -> frozenset[str]:
        """The names of the output's fields that are personal: `x-personal` in its schema."""
        return frozenset(_personal(self.output))

    @property
    def read_back(self) -> str | None:
        """The action that reads what became of this one; None where its unknown outcome is resolved otherwise."""
        return self.unknown.removeprefix(_READ_BACK) if self.unknown and self.unknown.startswith(_READ_BACK) else None


def _personal(schema: Any) -> Iterator[str]:
    """Name the properties of *schema*, at any depth, that are marked as personal."""
    if isinstance(schema, list):
        for part in schema:
            yield from _personal(part)
    elif isinstance(schema, Mapping):
        for name, declared in schema.get("properties", {}).items():
            if isinstance(declared, Mapping) and declared.get("x-personal"):
                yield name
        for part in schema.values():
            yield from _personal(part)


class Done(msgspec.Struct, frozen=True):
    """The action has its effect, or has read what it reads."""

    #: None if it was done by an earlier call whose answer cannot be had again.
    output: Document | None
    #: For a read that fell back to what the system said before: how old that is, in seconds. None if it answered now.
    age_s: float | None = None


class RefusedBy(StrEnum):
    """Who is to change something after a refusal."""

    #: The system decided, from what it knows: no funds, a blocked address.
    DECISION = "declined"
    #: We asked for what is not valid, or with what is not configured rightly.
    US = "ours"


class Refused(msgspec.Struct, frozen=True):
    """The system refused it: no effect, and the same input will be refused again."""

    message: str
    #: The status of the answer; None if the system was not called.
    status: int | None = None
    by: RefusedBy = RefusedBy.US
    #: The system's own word for its decision.
    code: str | None = None
    #: Whether another system may be asked for the same effect.
    try_other: bool = False


class Failed(msgspec.Struct, frozen=True):
    """It certainly had no effect. Calling it again may help, and another system may be asked for it."""

    message: str
    retry_in_s: float | None = None
    #: False if the system's circuit breaker kept the call from being made.
    was_called: bool = True
    try_other: ClassVar[bool] = True


class Unknown(msgspec.Struct, frozen=True):
    """
    It may have had its effect. Calling it again with the same key is safe, and resolves it where that can be done.

    No other system may be asked for the effect, however much time has passed.
    """

    message: str
    try_other: ClassVar[bool] = False


#: How a call of an action ended.
Ended = Done | Refused | Failed | Unknown


class InputInvalid(BadRequest):
    """The action's JSON Schema refuses the input; `errors` names every place."""

    def __init__(self, action: str, errors: Sequence[FieldError]) -> None:
        self.errors = tuple(errors)
        where = "; ".join(f"{error.pointer}: {error.message}" for error in self.errors)
        super().__init__(f"Invalid input for {action}: {where}")
