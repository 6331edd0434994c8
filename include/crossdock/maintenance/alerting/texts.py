"""The words of a message: its title, and what it says of each cause."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from urllib.parse import quote

from crossdock.core import ids
from crossdock.core.printable import printable
from crossdock.maintenance.alerting.kinds import kind_of
from crossdock.maintenance.alerting.model import Cause, Occasion, Severity
from crossdock.maintenance.alerting.routes import gravest, gravity
from crossdock.maintenance.alerting.rows import AlertRow
from crossdock.maintenance.alerting.wording import LONGEST_TITLE, one_line
from crossdock.observability.alerts import Kind

_LIST_WORKFLOWS = "./hub workflow list"


def cause_of(alert: AlertRow, airflow_url: str = "", deeds: tuple[tuple[str, str], ...] = ()) -> Cause:
    """
    Describe the cause of an alert.

    Args:
        alert: The alert.
        airflow_url: Where Airflow is, for a link to the page where it is seen or fixed; empty for none.
        deeds: What can be done to it from the message; left out when it is over.

    """
    kind = kind_of(alert.kind)
    # What is over leaves nothing to do; of an absence of the sender nobody hears before it is over.
    is_done = alert.closed_at is not None and alert.kind != Kind.SENDER_AWAY
    # Those of no integration are of a workflow's webhook.
    is_of_workflow = alert.kind == Kind.WEBHOOKS_REFUSED and alert.integration is None
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
        next_step="" if is_done else kind.next_step,
        command="" if is_done else _command(_LIST_WORKFLOWS if is_of_workflow else kind.command, alert),
        link=f"{airflow_url.rstrip('/')}/{page}"
        if airflow_url and (page := _airflow_page_of(alert) or _hub_page_of(alert))
        else "",
        deeds=() if alert.closed_at else deeds,
    )


def _command(template: str, alert: AlertRow) -> str:
    """Fill in the command; one for a stream is for all of them where the alert has none."""
    if not alert.stream:
        template = template.replace(" --stream {stream}", "")
    # A subject is anything that a source calls itself, and a person copies the command into a shell.
    subject, stream = (shlex.quote(printable(text)) for text in (alert.subject, alert.stream or ""))
    return template.format(subject=subject, stream=stream)


def _airflow_page_of(alert: AlertRow) -> str:
    """Find Airflow's page of the DAG or the run that an alert is about; empty if there is none."""
    match alert.kind:
        case Kind.RUN_LATE:
            dag_id, _, dag_run_id = alert.subject.partition("/")
            return f"dags/{quote(dag_id, safe='')}/runs/{quote(dag_run_id, safe='')}"
        case Kind.DAG_FAILED:
            return f"dags/{quote(alert.subject, safe='')}"
        case Kind.RUN_FAILED | Kind.RUN_HELD | Kind.STREAM_STALE | Kind.VOLUME_CHANGED if alert.stream:
            return f"dags/{quote(ids.sync_dag(alert.stream), safe='')}"
        case Kind.EVENTS_UNREAD:
            return f"dags/{quote(ids.delivery_dags(1)[0], safe='')}"
    return ""


def _hub_page_of(alert: AlertRow) -> str:
    """Find the hub's page where what an alert is about is fixed; empty if there is none."""
    match alert.kind:
        case Kind.ROWS_REJECTED:
            return (
                f"hub/pages/quarantine?stream={quote(alert.stream, safe='')}"
                if alert.stream
                else "hub/pages/quarantine"
            )
        case Kind.DEAD_LETTERS:
            return "hub/pages/dead-letters"
        case Kind.ORDER_WAITS | Kind.ATTEMPT_UNRESOLVED:
            return "hub/pages/decisions"
        case Kind.BREAKER_OPEN | Kind.ACCESS_REFUSED if alert.integration:
            return f"hub/pages/integrations/{quote(alert.integration, safe='')}"
    return ""


def title_of(cause: Cause, occasion: Occasion, *, is_again: bool = False) -> str:
    """Write the title: one line that names the cause. With *is_again* it opened again soon after its end was sent."""
    began = "closed" if occasion is Occasion.CLOSED else cause.severity.value
    again = "open again: " if is_again else ""
    return one_line(f"[{began}] {again}{_about(cause)}{cause.message}", LONGEST_TITLE)


def line_of(cause: Cause) -> str:
    """Write all that a person needs in one line: how grave, what it is about, what is wrong, and what to do next."""
    step = f"{cause.next_step} {cause.command}".strip()
    message = cause.message.rstrip(".")
    return printable(f"[{cause.severity.value}] {_about(cause)}{message}. {step}")


def _about(cause: Cause) -> str:
    """Name the subject, unless the message does. A run is `dag/run`, and its message names both."""
    is_named = all(part in cause.message.casefold() for part in cause.subject.casefold().split("/"))
    return "" if is_named else f"{cause.subject}: "


def digest_title_of(causes: Sequence[Cause]) -> str:
    """Write the title of several causes: how many there are of which kind, the gravest kind first."""
    kinds = Counter(cause.kind for cause in causes)
    of_kind = {cause.kind: gravity(cause.severity) for cause in causes}
    ordered = sorted(kinds.items(), key=lambda kind: (-of_kind[kind[0]], -kind[1]))
    listed = ", ".join(f"{number} {kind}" for kind, number in ordered)
    ended = sum(cause.until is not None for cause in causes)
    began = "closed" if ended == len(causes) else severity_of(causes).value
    some = f" ({ended} closed)" if 0 < ended < len(causes) else ""
    return one_line(f"[{began}] {len(causes)} alerts: {listed}{some}", LONGEST_TITLE)


def severity_of(causes: Sequence[Cause]) -> Severity:
    """Choose the highest severity of *causes*; of those that last, if any does."""
    return gravest([cause.severity for cause in causes if cause.until is None] or [cause.severity for cause in causes])
