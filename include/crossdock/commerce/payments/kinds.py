"""What each kind of fact is about and how far that has come: the one table from which amounts, states and outcomes follow."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from crossdock.commerce.payments.events import FactKind


class Topic(StrEnum):
    """What a fact is about."""

    AUTHORISATION = "authorisation"
    CAPTURE = "capture"
    VOID = "void"
    REFUND = "refund"
    #: A void or a refund, whichever the payment needed.
    REVERSAL = "reversal"
    #: Of the customer's bank: its money moves when it is charged back.
    DISPUTE = "dispute"


class Stage(StrEnum):
    """How far it has come. The stages of one operation may arrive in any order."""

    #: The customer has to act first.
    WAITING = "waiting"
    #: Accepted; what becomes of it follows.
    PENDING = "pending"
    DONE = "done"
    #: It failed, or its success was taken back.
    UNDONE = "undone"
    #: The provider repeated by itself what had failed.
    REDONE = "redone"
    #: Nobody can do anything about it any more; it moves no money.
    CLOSED = "closed"


class Meaning(NamedTuple):
    topic: Topic
    stage: Stage


MEANINGS: Mapping[FactKind, Meaning] = {
    FactKind.REQUIRES_ACTION: Meaning(Topic.AUTHORISATION, Stage.WAITING),
    FactKind.AUTHORISATION_PENDING: Meaning(Topic.AUTHORISATION, Stage.PENDING),
    FactKind.AUTHORISED: Meaning(Topic.AUTHORISATION, Stage.DONE),
    FactKind.AUTHORISATION_FAILED: Meaning(Topic.AUTHORISATION, Stage.UNDONE),
    FactKind.CAPTURE_PENDING: Meaning(Topic.CAPTURE, Stage.PENDING),
    FactKind.CAPTURED: Meaning(Topic.CAPTURE, Stage.DONE),
    FactKind.CAPTURE_FAILED: Meaning(Topic.CAPTURE, Stage.UNDONE),
    FactKind.RECAPTURED: Meaning(Topic.CAPTURE, Stage.REDONE),
    FactKind.VOID_PENDING: Meaning(Topic.VOID, Stage.PENDING),
    FactKind.VOIDED: Meaning(Topic.VOID, Stage.DONE),
    FactKind.VOID_FAILED: Meaning(Topic.VOID, Stage.UNDONE),
    FactKind.REFUND_PENDING: Meaning(Topic.REFUND, Stage.PENDING),
    FactKind.REFUNDED: Meaning(Topic.REFUND, Stage.DONE),
    FactKind.REFUND_FAILED: Meaning(Topic.REFUND, Stage.UNDONE),
    FactKind.REVERSED: Meaning(Topic.REVERSAL, Stage.DONE),
    FactKind.DISPUTE_OPENED: Meaning(Topic.DISPUTE, Stage.PENDING),
    FactKind.CHARGED_BACK: Meaning(Topic.DISPUTE, Stage.DONE),
    FactKind.CHARGEBACK_REVERSED: Meaning(Topic.DISPUTE, Stage.UNDONE),
    FactKind.DISPUTE_CLOSED: Meaning(Topic.DISPUTE, Stage.CLOSED),
}

_KINDS = {meaning: kind for kind, meaning in MEANINGS.items()}

#: The state in the answer of a gateway's action → how far the operation has come. Of a payment that `find_payment` read, it
#: is the authorisation: what was captured or refunded, its events say.
STAGES: Mapping[str, Stage] = {
    "authorised": Stage.DONE,
    "captured": Stage.DONE,
    "voided": Stage.DONE,
    "done": Stage.DONE,
    "requires_action": Stage.WAITING,
    "pending": Stage.PENDING,
    "declined": Stage.UNDONE,
}


def kind_of(topic: Topic, stage: Stage) -> FactKind:
    """Find the kind of fact that says that *topic* has come to *stage*."""
    return _KINDS[Meaning(topic, stage)]
