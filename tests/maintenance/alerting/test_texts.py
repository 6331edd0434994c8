"""What a message says of a cause, and where it leads."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from crossdock.maintenance.alerting import texts
from crossdock.maintenance.alerting.model import Cause, Occasion
from crossdock.maintenance.alerting.rows import AlertRow
from crossdock.maintenance.alerting.wording import web_link

AIRFLOW = "https://airflow.example/"


def link_of(kind: str, subject: str, **fields: Any) -> str:
    row = AlertRow(alert_id=1, kind=kind, subject=subject, message="m", at=datetime(2026, 11, 29, tzinfo=UTC), **fields)
    return texts.cause_of(row, AIRFLOW).link


@pytest.mark.parametrize(
    ("kind", "subject", "stream", "page"),
    [
        ("run_failed", "shop_eu.orders (all)", "shop_eu.orders", "dags/sync_shop_eu_orders"),
        ("stream_stale", "shop_eu.orders", "shop_eu.orders", "dags/sync_shop_eu_orders"),
        (
            "run_late",
            "sync_a_b/manual__2026-11-29T10:00:00+00:00",
            "a.b",
            "dags/sync_a_b/runs/manual__2026-11-29T10%3A00%3A00%2B00%3A00",
        ),
        ("dag_failed", "deliver_events", None, "dags/deliver_events"),
        ("events_unread", "availability/0", None, "dags/deliver_events"),
        ("rows_rejected", "shop_eu.orders", "shop_eu.orders", "hub/pages/quarantine?stream=shop_eu.orders"),
        ("dead_letters", "stock", None, "hub/pages/dead-letters"),
        ("order_waits", "ord_1", None, "hub/pages/decisions"),
    ],
)
def test_a_cause_leads_to_the_page_where_it_is_seen_or_fixed(
    kind: str, subject: str, stream: str | None, page: str
) -> None:
    """Whoever is woken taps it, and need not search."""
    link = link_of(kind, subject, stream=stream)

    assert link == f"https://airflow.example/{page}"
    assert web_link(link) == link, "receivers show it as a link"


@pytest.mark.parametrize(("kind", "subject"), [("disk_low", "/var/lib"), ("run_failed", "somebody's own")])
def test_a_cause_without_a_page_has_no_link(kind: str, subject: str) -> None:
    assert link_of(kind, subject) == ""


def test_a_system_that_does_not_answer_leads_to_its_integration() -> None:
    link = link_of("breaker_open", "stripe_eu", integration="stripe_eu")

    assert link == "https://airflow.example/hub/pages/integrations/stripe_eu"


def test_a_subject_of_another_server_leads_nowhere_else() -> None:
    """A DAG's name is a part of the path, whatever it has."""
    assert link_of("dag_failed", "../../@evil.example/") == "https://airflow.example/dags/..%2F..%2F%40evil.example%2F"


def cause(kind: str, subject: str, message: str = "m", stream: str | None = None) -> Cause:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    return texts.cause_of(AlertRow(alert_id=1, kind=kind, subject=subject, message=message, at=at, stream=stream))


@pytest.mark.parametrize(
    ("subject", "message", "title"),
    [
        ("shop.orders (all)", "HTTP 503", "[warning] shop.orders (all): HTTP 503"),
        ("sync_a_b/run_1", "sync_a_b run run_1 is late", "[warning] sync_a_b run run_1 is late"),
        ("the hub's database", "The hub's database has grown", "[warning] The hub's database has grown"),
    ],
)
def test_a_title_names_what_it_is_about_once(subject: str, message: str, title: str) -> None:
    """A telephone shows half a line of it."""
    assert texts.title_of(cause("run_late", subject, message), Occasion.OPENED) == title


@pytest.mark.parametrize(
    ("stream", "command"),
    [
        ("shop.orders", "./hub runs --stream shop.orders"),
        ("shop.orders; reboot", "./hub runs --stream 'shop.orders; reboot'"),
        (None, "./hub runs"),
    ],
)
def test_the_command_of_a_run_is_about_its_stream(stream: str | None, command: str) -> None:
    assert cause("run_failed", "shop.orders (all)", stream=stream).command == command


def test_the_command_of_refused_webhooks_is_about_what_they_are_for() -> None:
    of_workflow = cause("webhooks_refused", "workflows/restock")
    assert of_workflow.command == "./hub workflow list"
    row = AlertRow(
        alert_id=1, kind="webhooks_refused", subject="shop", message="m", at=of_workflow.since, integration="shop"
    )
    assert texts.cause_of(row, AIRFLOW).command == "./hub integration show shop"


def test_a_line_says_how_grave_about_what_why_and_what_to_do() -> None:
    line = texts.line_of(cause("rows_rejected", "shop.orders", "12 records are in quarantine", stream="shop.orders"))

    assert line.startswith("[warning] shop.orders: 12 records are in quarantine. Correct them at the source")
    assert line.endswith("./hub quarantine list --stream shop.orders")


def test_the_title_of_a_digest_has_the_gravest_kind_first() -> None:
    several = [cause("rows_rejected", "a"), cause("rows_rejected", "b"), cause("payment_doubled", "p")]

    assert texts.digest_title_of(several) == "[critical] 3 alerts: 1 payment_doubled, 2 rows_rejected"


def test_what_is_over_can_be_neither_acknowledged_nor_muted() -> None:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    row = AlertRow(alert_id=1, kind="dead_letters", subject="stock", message="m", at=at)
    deeds = (("Acknowledge", "https://airflow.example/hub/pages/alert-link"),)

    assert texts.cause_of(row, AIRFLOW, deeds).deeds == deeds
    assert texts.cause_of(replace(row, closed_at=at), AIRFLOW, deeds).deeds == ()


@pytest.mark.parametrize("kind", ["run_failed", "webhooks_refused", "rows_rejected"])
def test_what_is_over_has_no_next_step(kind: str) -> None:
    """Somebody would read the log of a task that has recovered."""
    at = datetime(2026, 11, 29, tzinfo=UTC)
    row = AlertRow(alert_id=1, kind=kind, subject="shop_eu.orders", message="m", at=at)
    open_cause, closed_cause = texts.cause_of(row), texts.cause_of(replace(row, closed_at=at))

    assert open_cause.next_step
    assert open_cause.command
    assert (closed_cause.next_step, closed_cause.command) == ("", "")


def test_an_absence_of_the_sender_is_told_when_it_is_over_and_has_a_next_step() -> None:
    at = datetime(2026, 11, 29, tzinfo=UTC)
    row = AlertRow(alert_id=1, kind="sender_away", subject="the alert sender", message="m", at=at, closed_at=at)

    assert texts.cause_of(row).next_step.startswith("Find out who stopped it.")
