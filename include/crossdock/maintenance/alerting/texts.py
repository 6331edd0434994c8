"""The words of a message: its title, and what it says of each cause."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence

from crossdock.core.printable import printable
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import Cause, Occasion, Severity
from crossdock.maintenance.alerting.routes import gravest
from crossdock.maintenance.alerting.rows import AlertRow
from crossdock.maintenance.alerting.wording import LONGEST_TITLE, one_line


def cause_of(alert: AlertRow) -> Cause:
    """Describe the cause of an alert."""
    kind = kind_of(alert.kind)
    return Cause(
        kind=alert.kind,
        severity=kind.severity,
        subject=alert.subject,
        message=alert.message,
        since=alert.at,
        until=alert.closed_at,
        count=alert.records,
        examples=alert.examples,
        hub_does=kind.hub_does,
        next_step=kind.next_step,
        # A subject is anything that a source calls itself, and a person copies the command into a shell.
        command=kind.command.replace("{subject}", shlex.quote(printable(alert.subject))),
    )


def title_of(cause: Cause, occasion: Occasion) -> str:
    """Write the title: one line that names the cause."""
    began = "closed" if occasion is Occasion.CLOSED else cause.severity.value
    about = "" if cause.subject in cause.message else f"{cause.subject}: "
    return one_line(f"[{began}] {about}{cause.message}", LONGEST_TITLE)


def digest_title_of(causes: Sequence[Cause]) -> str:
    """Write the title of several causes: how many there are of which kind."""
    kinds = Counter(cause.kind for cause in causes)
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    ended = sum(cause.until is not None for cause in causes)
    began = "closed" if ended == len(causes) else severity_of(causes).value
    some = f" ({ended} closed)" if 0 < ended < len(causes) else ""
    return one_line(f"[{began}] {len(causes)} alerts: {listed}{some}", LONGEST_TITLE)


def severity_of(causes: Sequence[Cause]) -> Severity:
    """Choose the highest severity of *causes*; of those that last, if any does."""
    return gravest([cause.severity for cause in causes if cause.until is None] or [cause.severity for cause in causes])
