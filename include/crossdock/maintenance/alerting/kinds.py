"""The kinds of alerts: how grave each is, what the hub does meanwhile, and what a person does next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crossdock.maintenance.alerting.model import Severity


@dataclass(frozen=True, kw_only=True)
class AlertKind:
    severity: Severity
    #: What the hub does by itself while the alert is open.
    hub_does: str
    #: What a person does next.
    next_step: str
    #: The command of the next step, with `{subject}` for the alert's subject; empty if there is none.
    command: str = ""


_OTHER = AlertKind(
    severity=Severity.WARNING,
    hub_does="The hub goes on with everything else.",
    next_step="Look at the alert.",
    command="./hub alerts",
)
KINDS: Mapping[str, AlertKind] = {}


def kind_of(kind: str) -> AlertKind:
    """Describe a *kind* of alert; one that the hub does not know yet is a warning."""
    return KINDS.get(kind, _OTHER)
