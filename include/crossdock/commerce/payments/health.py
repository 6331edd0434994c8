"""How the gateways answered lately, and in which order they are asked therefore."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

#: The success rate is that of so many last calls.
WINDOW = 50
#: A gateway that is in trouble, or answers worse than others, is asked by one payment after this time.
PROBE_AFTER_S = 30.0
#: Rates that differ by less are equal: one more failure in fifty says nothing.
_RATE_STEP = 0.04


class GatewayHealth(msgspec.Struct, frozen=True, kw_only=True):
    """The last calls of one gateway. A decline is an answer: the gateway works."""

    gateway: str
    #: At most `WINDOW`.
    calls: int
    answered: int
    #: The median of those that were answered; None if none was.
    latency_ms: float | None
    #: Whether the last call that ended was answered; None if there was none.
    last_answered: bool | None
    #: Since the last call began; None if there was none.
    idle_s: float | None

    @property
    def success_rate(self) -> float:
        """The share of calls that were answered; 1 if there was none."""
        return self.answered / self.calls if self.calls else 1.0

    @property
    def in_trouble(self) -> bool:
        return self.last_answered is False

    def needs_probe(self, best_rate: float) -> bool:
        """Check whether a payment should find out if it has recovered: else nobody would ask it any more."""
        worse = self.in_trouble or self.success_rate < best_rate - _RATE_STEP
        return worse and self.idle_s is not None and self.idle_s >= PROBE_AFTER_S


def in_order(gateways: Iterable[GatewayHealth]) -> list[str]:
    """
    Order *gateways*: one that needs a probe, then by success rate and latency, and those in trouble last.

    A probe costs its payment little: if the gateway fails, the next one is asked.
    """
    known = list(gateways)
    best_rate = max((gateway.success_rate for gateway in known if not gateway.in_trouble), default=0.0)
    probe = next((gateway.gateway for gateway in known if gateway.needs_probe(best_rate)), None)

    def rank(gateway: GatewayHealth) -> tuple[bool, bool, float, float, str]:
        behind = best_rate - gateway.success_rate
        return (
            gateway.gateway != probe,
            gateway.in_trouble,
            behind if behind > _RATE_STEP else 0.0,
            gateway.latency_ms or 0.0,
            gateway.gateway,
        )

    return [gateway.gateway for gateway in sorted(known, key=rank)]
