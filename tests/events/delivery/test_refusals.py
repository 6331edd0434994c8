"""A system that refuses the hub for good, and faults of the hub's own surroundings, make events wait; none becomes a dead letter."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest

from crossdock.app.integrations import on_changed
from crossdock.core.errors import (
    AccessRefused,
    AddressRefused,
    BadEvent,
    IntegrationUnusable,
    NotFound,
    SystemRefused,
    SystemUnavailable,
)
from crossdock.db.airflow_lookup import ConnectionUnreadable
from crossdock.db.database import Store, StoreUnavailable
from crossdock.events.delivery import PartitionAssignment, attempt
from crossdock.events.delivery.attempt import Recipient, Verdict, verdict_on
from crossdock.events.model import STOCK_CHANGED, Event, NewEvent
from crossdock.events.subscriber import Subscriber
from crossdock.maintenance import alarms
from crossdock.maintenance.alarms import AlarmThresholds
from crossdock.observability import alerts
from crossdock.sync.landing import LandingUnavailable
from tests.events.worlds import ExternalSystem, delivery, eventually, publish, stock
from tests.shop import query

SHOP, CRM = "/webhooks/shop", "/webhooks/crm"
ALL = PartitionAssignment(partitions=1)
REVOKED = AccessRefused("shop", 401, "invalid_token")
OUTSIDE = Recipient("external", Subscriber(types=(STOCK_CHANGED,), deliver=lambda _: None))


def of(source: str, event: NewEvent) -> NewEvent:
    return msgspec.structs.replace(event, source=source)


def refused(events: Sequence[Event]) -> Exception | None:
    return REVOKED if events[0].source == SHOP else None


def states(store: Store) -> list[tuple[str, int, int]]:
    return query(store, "SELECT state, attempts, count(*) FROM dead_letter GROUP BY 1, 2 ORDER BY 1, 2")


def open_alerts(store: Store) -> list[tuple[str, str, int | None]]:
    alarms.check(store, {}, AlarmThresholds())
    with store.transaction() as work:
        return [(alert.kind, alert.subject, alert.records) for alert in alerts.find(work)]


def test_events_of_a_system_that_refuses_us_wait_with_one_alert_and_go_on_in_order(store: Store, hub_dsn: str) -> None:
    """Each of them was a dead letter: 864,000 a day at ten webhooks a second."""
    external = ExternalSystem()
    external.refuses = refused
    publish(store, *(of(SHOP, stock(f"S{n % 20}", 1 + n // 20, n)) for n in range(60)))

    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=ALL):
        eventually(lambda: states(store), [("retrying", 0, 20), ("waiting", 0, 40)])
        publish(store, *(of(CRM, stock(f"C{n}", 1, n)) for n in range(10)))
        eventually(lambda: len(external.delivered), 10)
        assert open_alerts(store) == [("access_refused", "shop", 60)]
        assert open_alerts(store) == [("access_refused", "shop", 60)]
        # Nobody but a person helps, so it is asked slowly: only when somebody changed the credentials, at once.
        soon = "SELECT next_probe_at > now() + interval '5 seconds' FROM source_outage"
        eventually(lambda: query(store, soon), [(True,)])
        external.refuses = lambda _: None
        with store.transaction() as work:
            on_changed(work, "shop")
        eventually(lambda: len(external.delivered), 70)

    for n in range(20):
        assert [version for key, version in external.delivered if key == f"S{n}"] == [1, 2, 3]
    assert open_alerts(store) == []
    assert {state for state, _, _ in states(store)} == {"recovered"}


@pytest.mark.deep
def test_one_record_that_is_refused_alone_is_counted_and_its_source_continues(store: Store, hub_dsn: str) -> None:
    """A system may forbid one record (HTTP 403). Its source waits for it a few times, and then no more."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        AccessRefused("shop", 403, "not yours") if any(event.partition_key == "S0" for event in events) else None
    )
    publish(store, *(of(SHOP, stock(f"S{n}", 1, n)) for n in range(8)))

    with delivery(hub_dsn, external.subscribers(attempts=2), assignment=ALL):
        eventually(lambda: len(external.delivered), 7, within_s=600)
        eventually(lambda: ("dead", 2, 1) in states(store), within_s=600)

    assert sorted(external.delivered) == [(f"S{n}", 1) for n in range(1, 8)]


def test_a_change_of_one_integration_wakes_no_other(store: Store, hub_dsn: str) -> None:
    external = ExternalSystem()
    external.refuses = lambda _: REVOKED
    publish(store, of(SHOP, stock("S", 1, 1)), of(CRM, stock("C", 1, 1)))
    with delivery(hub_dsn, external.subscribers(), assignment=ALL):
        eventually(lambda: query(store, "SELECT count(*) FROM source_outage"), [(2,)])

    query(store, "UPDATE source_outage SET next_probe_at = now() + interval '1 hour' RETURNING 1")

    with store.transaction() as work:
        on_changed(work, "crm")

    assert query(store, "SELECT source FROM source_outage WHERE next_probe_at <= now()") == [(CRM,)]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionUnreadable("shop", "BrokenPipeError"), Verdict.HUB_OUTAGE),
        (LandingUnavailable("no space left"), Verdict.HUB_OUTAGE),
        (OSError(errno.ENOSPC, "no space left"), Verdict.HUB_OUTAGE),
        (OSError(errno.EMFILE, "too many open files"), Verdict.HUB_OUTAGE),
        (BrokenPipeError(errno.EPIPE, "the log of a task without supervisor"), Verdict.HUB_OUTAGE),
        (StoreUnavailable("away"), Verdict.IN_USE),
        (REVOKED, Verdict.SOURCE_REFUSES),
        (AccessRefused("shop", 400, "invalid_client"), Verdict.SOURCE_REFUSES),
        (AddressRefused("private network"), Verdict.SOURCE_REFUSES),
        (IntegrationUnusable("lacks a host"), Verdict.SOURCE_REFUSES),
        (SystemUnavailable("shop", "HTTP 503"), Verdict.SOURCE_OUTAGE),
        # These are of the event, or of an integration that somebody removed: a person decides.
        (NotFound("the integration was removed"), Verdict.TERMINAL),
        (SystemRefused("shop", 422, "no such key"), Verdict.TERMINAL),
        (BadEvent("1-1", "x", "y"), Verdict.TERMINAL),
        (FileNotFoundError(errno.ENOENT, "a defect"), Verdict.TRANSIENT),
    ],
)
def test_what_is_not_the_events_fault_is_not_counted_against_it(error: Exception, verdict: Verdict) -> None:
    assert verdict_on(OUTSIDE, error) is verdict


@pytest.mark.deep
def test_a_fault_of_the_hub_is_never_an_events_even_if_others_succeed(store: Store, hub_dsn: str) -> None:
    """An outage that one event alone meets is counted against it. This is none of the source's."""
    external = ExternalSystem()
    external.refuses = lambda events: (
        ConnectionUnreadable("shop", "away") if any(event.partition_key == "S0" for event in events) else None
    )
    publish(store, *(of(SHOP, stock(f"S{n}", 1, n)) for n in range(8)))

    with delivery(hub_dsn, external.subscribers(attempts=1), assignment=ALL):
        eventually(lambda: len(external.delivered), 7)
        for number in range(8):
            publish(store, of(SHOP, stock(f"NEW{number}", 1, number)))
            eventually(partial(len, external.delivered), 8 + number)
        assert ("retrying", 0, 1) in states(store)
        external.refuses = lambda _: None
        eventually(lambda: len(external.delivered), 16)

    assert query(store, "SELECT count(*) FROM dead_letter WHERE state = 'dead'") == [(0,)]


def test_a_full_disk_during_an_effect_in_the_hub_blames_no_event(store: Store, hub_dsn: str) -> None:
    is_full = True

    def apply(_work: object, _events: Sequence[Event]) -> None:
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    inside = {"inside": Subscriber(types=(STOCK_CHANGED,), apply=apply, attempts=1)}
    publish(store, *(stock(f"S{n}", 1, n) for n in range(8)))
    with delivery(hub_dsn, inside, assignment=ALL):
        eventually(lambda: query(store, "SELECT count(*) FROM event_consumer WHERE token > 2"), [(1,)])
        assert states(store) == []
        is_full = False
        eventually(lambda: query(store, "SELECT count(*) FROM event_inbox"), [(8,)])

    assert states(store) == []


def test_the_causes_that_open_the_alert_are_those_of_refusals() -> None:
    assert attempt.REFUSAL_CAUSES == ("AccessRefused", "AddressRefused", "IntegrationUnusable")
