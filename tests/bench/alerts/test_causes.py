"""The measurement of alerts knows every kind, and its report says what was missed."""

from __future__ import annotations

import msgspec
import pytest

from crossdock.bench.alerts.causes import CAUSES, LAST
from crossdock.bench.alerts.outcome import AlertsOutcome, Storm, Timing
from crossdock.bench.alerts.receivers import Mailbox
from crossdock.bench.report import Setup
from crossdock.client.sandbox import SandboxControl
from crossdock.observability.alerts import Kind


def test_every_kind_of_alert_has_a_cause_in_the_measurement() -> None:
    """A kind that nobody can bring about is one of which nobody knows whether a message ever comes."""
    assert set(CAUSES) == set(Kind)
    assert set(LAST) <= set(CAUSES)


def timing(kind: str, at_once_s: float | None, by_default_s: float | None, *, has_route: bool = True) -> Timing:
    return Timing(kind=kind, how="x", at_once_s=at_once_s, by_default_s=by_default_s, has_route=has_route)


def outcome(*kinds: Timing, mails: int = 1) -> AlertsOutcome:
    storm = Storm(what="30 causes", at_once=30, by_default=mails, at_once_most=30, by_default_most=2)
    setup = Setup(command="./hub bench alerts", measured_at="2026-11-29", machine="2 cores", postgres="18")
    return AlertsOutcome(setup=setup, kinds=kinds, storms=(storm,), seconds=60, syncs=1, webhooks=10, load_average=4)


def missed(found: AlertsOutcome) -> list[str]:
    return [goal.what for goal in found.goals if not goal.reached]


@pytest.mark.parametrize(
    ("kinds", "mails", "expected"),
    [
        ((timing("run_failed", 3, 40),), 1, []),
        ((timing("hub_database_down", 3, None, has_route=False),), 1, []),
        ((timing("run_failed", 3, 61),), 1, ["the slowest kind, from its cause to its message"]),
        ((timing("a", 3, 4), timing("b", 3, None)), 1, ["kinds of alerts that nobody was notified of"]),
        ((timing("a", 3, 4),), 30, ["30 causes: messages, as a new route has it"]),
    ],
)
def test_what_is_late_or_missing_or_too_much_is_a_missed_goal(
    kinds: tuple[Timing, ...], mails: int, expected: list[str]
) -> None:
    assert missed(outcome(*kinds, mails=mails)) == expected


def test_the_raw_samples_can_be_read_back_as_they_were() -> None:
    found = outcome(timing("run_failed", 3, 40))

    assert msgspec.json.decode(msgspec.json.encode(found), type=AlertsOutcome) == found
    assert "| run_failed | 3.0 | 40.0 | x |" in found.page


@pytest.mark.parametrize(
    ("subject", "kind", "asked", "is_notified"),
    [
        ("[warning] shop.orders", "run_failed", ("run_failed", "shop.orders"), True),
        ("[warning] shop.orders", "run_failed", ("run_failed", "shop.*"), True),
        ("[closed] shop.orders", "run_failed", ("run_failed", "shop.orders"), False),
        ("[warning] shop.orders", "run_held", ("run_failed", "shop.orders"), False),
    ],
)
def test_a_mail_tells_of_the_causes_that_it_names(
    subject: str, kind: str, asked: tuple[str, str], is_notified: bool
) -> None:
    mailbox = Mailbox(SandboxControl(""), "ada@shop.example")
    mail = {"subject": subject, "to": "ada@shop.example", "text": f"title\n\nwarning: shop.orders ({kind})\nfailed"}
    mailbox.mails = [(5.0, mail)]

    assert (mailbox.notified(*asked, since=4.0) is not None) is is_notified
    assert mailbox.notified(*asked, since=6.0) is None
