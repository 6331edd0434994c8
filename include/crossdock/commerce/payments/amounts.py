"""The amounts of a payment, from what its provider said, in any order of arrival."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from crossdock.commerce.payments.events import FactKind, PaymentFact

#: What counts for an amount, and what takes it back, whichever arrived first.
_AUTHORISED = (FactKind.AUTHORISED, FactKind.AUTHORISATION_FAILED)
_CAPTURED = (FactKind.CAPTURED, FactKind.CAPTURE_FAILED)
_REFUNDED = (FactKind.REFUNDED, FactKind.REFUND_FAILED)
_VOIDED = (FactKind.VOIDED, FactKind.VOID_FAILED)
_CHARGED_BACK = (FactKind.CHARGED_BACK, FactKind.CHARGEBACK_REVERSED)


class Amounts(msgspec.Struct, frozen=True, kw_only=True):
    """The amounts of one payment, in minor units of its currency."""

    authorised_minor: int
    captured_minor: int
    refunded_minor: int
    charged_back_minor: int
    #: Whether what is authorised and not captured was released.
    voided: bool

    @property
    def capturable_minor(self) -> int:
        """What can still be captured."""
        return 0 if self.voided else max(self.authorised_minor - self.captured_minor, 0)

    @property
    def refundable_minor(self) -> int:
        """What can still be given back."""
        return max(self.captured_minor - self.refunded_minor - self.charged_back_minor, 0)


def amounts_of(facts: Iterable[PaymentFact]) -> Amounts:
    """
    Sum up the *facts* of one payment.

    Each operation counts once, with the largest amount that was said of it, and not at all once its failure is known. So
    the result is the same for any order of the facts, and for facts that come again.
    """
    kinds: dict[str, set[FactKind]] = defaultdict(set)
    said: dict[str, int] = defaultdict(int)
    for fact in facts:
        kinds[fact.operation_ref].add(fact.kind)
        said[fact.operation_ref] = max(said[fact.operation_ref], fact.amount_minor or 0)
    return Amounts(
        authorised_minor=_total(kinds, said, *_AUTHORISED),
        captured_minor=_total(kinds, said, *_CAPTURED),
        refunded_minor=_total(kinds, said, *_REFUNDED),
        charged_back_minor=_total(kinds, said, *_CHARGED_BACK),
        voided=any(_stands(known, *_VOIDED) for known in kinds.values()),
    )


def _total(
    kinds: Mapping[str, AbstractSet[FactKind]], said: Mapping[str, int], done: FactKind, undone: FactKind
) -> int:
    return sum(said[operation] for operation, known in kinds.items() if _stands(known, done, undone))


def _stands(known: AbstractSet[FactKind], done: FactKind, undone: FactKind) -> bool:
    return done in known and undone not in known
