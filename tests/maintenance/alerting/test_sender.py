"""What opens an alert is sent: once, in order, to the receivers of its routes, also after trouble."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

from crossdock.core.errors import HubError, LeaseHeld, OutcomeUnknown, SystemRefused, SystemUnavailable
from crossdock.db.database import Store
from crossdock.maintenance import retention
from crossdock.maintenance.alerting import repository
from crossdock.maintenance.alerting import sender as sender_module
from crossdock.maintenance.alerting.repository import MessageState
from crossdock.maintenance.alerting.sender import SenderConfig
from crossdock.maintenance.retention import RetentionPeriods
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind, OwnKind
from tests.maintenance.alerting.receivers import HUB, Receivers, add_route, send_due, sender, work_once
from tests.shop import query

ALWAYS = {"zone": "UTC", "windows": [{"from": "00:00", "to": "00:00"}]}
DOWN = SystemUnavailable("ops", "POST / answered HTTP 503", status=503)


class HoursAhead(datetime):
    """The time of a machine that takes the local time for UTC."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        return datetime.now(tz) + timedelta(hours=5)


@pytest.fixture
def receivers(tmp_path: Path) -> Receivers:
    return Receivers(tmp_path)


def fail(store: Store, subject: str = "shop.orders", kind: str = "run_failed", message: str = "HTTP 503") -> None:
    with store.transaction() as work:
        alerts.add(work, kind=OwnKind(kind), subject=subject, found=Found(message))


def mend(store: Store, subject: str = "shop.orders", kind: str = "run_failed") -> None:
    with store.transaction() as work:
        alerts.close(work, kind, subject=subject)


def change_route(store: Store, **changes: Any) -> None:
    with store.another() as own:
        add_route(own, **changes)


def remove_route(store: Store) -> None:
    with store.another() as own, own.transaction() as work:
        repository.remove_route(work, "ops")


def later(store: Store, minutes: int) -> None:
    """Let time pass: all that has been is longer ago."""
    ago = f"interval '{minutes} minutes'"
    query(store, f"UPDATE alert SET at = at - {ago}, closed_at = closed_at - {ago} RETURNING 1")
    query(
        store,
        f"UPDATE alert_message SET created_at = created_at - {ago}, ended_at = ended_at - {ago},"
        f" next_at = next_at - {ago} RETURNING 1",
    )


def test_an_alert_is_sent_when_it_opens_and_when_it_closes(store: Store, receivers: Receivers) -> None:
    add_route(store, recipients=["ada@shop.example"])
    fail(store)
    send_due(store, receivers)
    mend(store)
    send_due(store, receivers)

    opened, closed = receivers["ops"].got
    assert (opened["occasion"], closed["occasion"]) == ("opened", "closed")
    assert opened["title"] == "[warning] shop.orders: HTTP 503"
    assert closed["title"] == "[closed] shop.orders: HTTP 503"
    assert opened["thread_id"] == closed["thread_id"]
    assert opened["to"] == ["ada@shop.example"]
    assert closed["causes"][0]["until"] is not None


def test_what_fails_again_after_it_was_closed_is_sent_at_once_and_its_end_when_it_is_calm(
    store: Store, receivers: Receivers
) -> None:
    """Whoever is on call has read that it is over."""
    add_route(store)
    query(store, "UPDATE alert_route SET created_at = created_at - interval '1 day' RETURNING 1")
    for _ in range(2):
        for happens in (fail, mend):
            happens(store)
            send_due(store, receivers)
            later(store, 10)
    assert receivers["ops"].titles == [
        "[warning] shop.orders: HTTP 503",
        "[closed] shop.orders: HTTP 503",
        "[warning] open again: shop.orders: HTTP 503",
    ]

    later(store, 60)
    send_due(store, receivers)
    assert receivers["ops"].titles[3:] == ["[closed] shop.orders: HTTP 503"]
    later(store, 60)
    send_due(store, receivers)
    assert query(store, "SELECT count(*) FROM alert WHERE NOT settled") == [(0,)]


def test_ten_thousand_failures_of_one_cause_are_one_message(store: Store, receivers: Receivers) -> None:
    """Whoever is on call gets one, however many rows there are."""
    add_route(store)
    with sender(store, receivers) as sending:
        for at in range(0, 10_000, 500):
            with store.transaction() as work:
                for number in range(at, at + 500):
                    alerts.add(work, kind=Kind.RUN_FAILED, subject="shop.orders", found=Found(f"failed {number} times"))
            work_once(sending)

    assert len(receivers["ops"].every) == 1


@pytest.mark.parametrize(("digest_over", "messages"), [(None, 30), (10, 1)])
def test_thirty_causes_in_a_minute_are_thirty_messages_or_one_digest(
    store: Store, receivers: Receivers, digest_over: int | None, messages: int
) -> None:
    add_route(store, digest_over=digest_over)
    for number in range(30):
        fail(store, subject=f"shop.orders_{number}")
        send_due(store, receivers)
    query(store, "UPDATE alert SET at = at - interval '30 seconds' RETURNING 1")
    send_due(store, receivers)
    send_due(store, receivers)

    got = receivers["ops"].every
    assert len(got) == messages
    assert sum(len(message["causes"]) for message in got) == 30


def test_a_cause_that_lasts_is_sent_again_after_an_hour(store: Store, receivers: Receivers) -> None:
    add_route(store)
    fail(store)
    for minutes in (0, 59, 2, 30):
        later(store, minutes)
        send_due(store, receivers)

    assert [message["occasion"] for message in receivers["ops"].got] == ["opened", "continues"]


def test_an_alert_that_stays_open_does_not_make_every_plan_longer(store: Store, receivers: Receivers) -> None:
    """A plan is made each second, and of an alert that is open for a month there are 720 reminders."""
    add_route(store)
    fail(store)
    for _ in range(5):
        send_due(store, receivers)
        later(store, 30)
        send_due(store, receivers)
        later(store, 31)

    assert [message["occasion"] for message in receivers["ops"].got] == ["opened", *["continues"] * 4]
    assert query(store, "SELECT says FROM alert_message_cause ORDER BY message_no") == [("opened",), ("continues",)]


_HISTORY = """
WITH old AS (
    INSERT INTO alert (kind, subject, message, at, closed_at)
    SELECT 'run_failed', 's' || number, 'm', clock_timestamp() - interval '2 days', clock_timestamp() - interval '1 day'
      FROM generate_series(1, 20000) AS number RETURNING alert_id),
sent AS (
    INSERT INTO alert_message (message_id, route, integration, recipients, thread_id, occasion, message, state, ended_at)
    SELECT says || alert_id, 'ops', 'ops', '{}', 't', says, '{}', 'sent', clock_timestamp() - interval '1 day'
      FROM old, unnest(ARRAY['opened', 'closed']) AS says RETURNING message_no, message_id)
INSERT INTO alert_message_cause
SELECT message_no, right(message_id, -6)::bigint, left(message_id, 6) FROM sent RETURNING 1
"""


def test_what_is_over_is_read_once_and_by_no_later_plan(store: Store, receivers: Receivers) -> None:
    """A plan is made each second. Its statements must not read the history, also where the statistics are old."""
    add_route(store)
    query(store, _HISTORY)
    send_due(store, receivers)
    fail(store)
    send_due(store, receivers)

    assert receivers["ops"].titles == ["[warning] shop.orders: HTTP 503"]
    with store.transaction() as work:
        now = repository.now(work)
        assert [alert.subject for alert in repository.alerts(work, now)] == ["shop.orders"]
        for statement in (repository.OF_PLAN_ALERTS, repository.OF_PLAN_SAID):
            explained = work.execute(b"EXPLAIN " + statement, {"now": now, "since": now - timedelta(days=7)})
            lines = "\n".join(line for (line,) in explained)
            assert "Seq Scan" not in lines, lines


def test_a_machine_whose_clock_is_wrong_reminds_once_an_hour(
    store: Store, receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that is written has the database's time. By a clock that is hours ahead a reminder would come each second."""
    add_route(store)
    fail(store)
    send_due(store, receivers)
    monkeypatch.setattr(sender_module, "datetime", HoursAhead, raising=False)
    send_due(store, receivers)
    send_due(store, receivers)

    assert len(receivers["ops"].every) == 1


def test_a_channel_that_is_down_keeps_its_messages_in_order(store: Store, receivers: Receivers) -> None:
    """Nothing is lost and nothing overtakes, while other channels go on."""
    add_route(store)
    add_route(store, "boss", kinds=["run_failed"])
    receivers["ops"].is_down = DOWN
    for number in range(5):
        fail(store, subject=f"s{number}")
        send_due(store, receivers)
        later(store, 1)
    assert receivers["ops"].every == []
    assert len(receivers["boss"].got) == 5

    receivers["ops"].is_down = None
    send_due(store, receivers)

    assert [message["causes"][0]["subject"] for message in receivers["ops"].got][:5] == [f"s{n}" for n in range(5)]


def test_a_channel_that_is_down_is_an_alert_over_the_other_routes(store: Store, receivers: Receivers) -> None:
    add_route(store)
    add_route(store, "boss", kinds=["channel_down"])
    receivers["ops"].is_down = DOWN
    fail(store)
    for _ in range(4):
        send_due(store, receivers)
        later(store, 1)

    (alert,) = receivers["boss"].got
    assert (alert["causes"][0]["kind"], alert["causes"][0]["subject"]) == ("channel_down", "ops")
    assert "HTTP 503" in alert["causes"][0]["message"]
    receivers["ops"].is_down = None
    later(store, 15)
    send_due(store, receivers)
    send_due(store, receivers)
    assert [message["causes"][0]["kind"] for message in receivers["ops"].got] == ["run_failed"]
    assert [message["occasion"] for message in receivers["boss"].got] == ["opened", "closed"]


def test_what_nobody_knows_to_have_arrived_is_sent_again_with_its_id(store: Store, receivers: Receivers) -> None:
    """Lost is worse than twice, and the receiver knows the ID."""
    add_route(store)
    receivers["ops"].failures = [OutcomeUnknown("ops", "POST /", "no answer")]
    fail(store)
    send_due(store, receivers)
    ((first,),) = query(store, "SELECT message_id FROM alert_message")
    later(store, 1)
    send_due(store, receivers)

    assert [message["message_id"] for message in receivers["ops"].every] == [first]


@pytest.mark.parametrize("failure", [DOWN, SystemRefused("ops", 401, "who are you?")])
def test_a_message_goes_the_new_way_if_its_route_changes_while_its_channel_fails(
    store: Store, receivers: Receivers, failure: HubError
) -> None:
    """A channel that hangs is the reason for the change, and most of the time it has the message in hand."""
    changed = {"kinds": ["run_failed"], "integration": "boss", "recipients": ["ada@shop.example"]}
    add_route(store)
    receivers["ops"].is_down = failure
    receivers["ops"].meanwhile = lambda: change_route(store, **changed)
    fail(store)
    send_due(store, receivers)
    assert receivers["boss"].every == [], "it may still arrive over the old one"
    later(store, 1)
    send_due(store, receivers)

    assert [message["to"] for message in receivers["boss"].got] == [["ada@shop.example"]]


@pytest.mark.parametrize(("failure", "state"), [(DOWN, "refused"), (None, "sent")])
def test_a_message_whose_route_is_removed_while_it_is_sent_is_not_sent_again(
    store: Store, receivers: Receivers, failure: HubError | None, state: str
) -> None:
    """What the log says of it is true: it arrived, or it never will."""
    add_route(store)
    receivers["ops"].failures = [failure]
    receivers["ops"].meanwhile = lambda: remove_route(store)
    fail(store)
    send_due(store, receivers)
    later(store, 10)
    send_due(store, receivers)

    assert query(store, "SELECT state FROM alert_message") == [(state,)]
    assert len(receivers["ops"].every) == (state == "sent")


@pytest.mark.parametrize(
    ("before", "got"),
    [({"severity": "critical"}, ["after"]), ({"remind_every_hours": 5, "quiet": ALWAYS}, ["before", "after"])],
)
def test_what_closed_before_a_route_took_it_is_no_news(
    store: Store, receivers: Receivers, before: dict[str, Any], got: list[str]
) -> None:
    """Otherwise a week of alerts that are over would come when somebody widens a route. What was held is news."""
    add_route(store, **before)
    fail(store, "before")
    mend(store, "before")
    send_due(store, receivers)
    assert receivers["ops"].every == []
    add_route(store)
    fail(store, "after")
    mend(store, "after")
    send_due(store, receivers)

    assert [message["causes"][0]["subject"] for message in receivers["ops"].got] == got


def test_a_refused_message_is_logged_and_does_not_hold_up_the_next(store: Store, receivers: Receivers) -> None:
    add_route(store)
    receivers["ops"].failures = [SystemRefused("ops", 404, "no such hook")]
    fail(store, "a")
    fail(store, "b")
    send_due(store, receivers)

    with store.transaction() as work:
        b, a = repository.messages(work)
    assert (a.state, b.state) == (MessageState.REFUSED, MessageState.SENT)
    assert "no such hook" in (a.error or "")


def test_the_log_names_no_address_that_a_mail_server_repeats(store: Store, receivers: Receivers) -> None:
    """Everybody may read the log and the alerts; recipients are masked there."""
    add_route(store, recipients=["ada@shop.example"])
    receivers["ops"].failures = [SystemRefused("ops", 550, "<ada@shop.example>: no such user", protocol="SMTP")]
    fail(store)
    send_due(store, receivers)

    with store.transaction() as work:
        (message,) = repository.messages(work)
        found = [alert.message for alert in alerts.find(work, is_open=True, before=None, limit=10)]
    assert "no such user" in (message.error or "")
    assert "ada" not in f"{message.error} {found}"


@pytest.mark.parametrize(("minutes", "told"), [(4, 0), (90, 1)])
def test_a_sender_that_was_away_for_long_says_since_when(
    store: Store, receivers: Receivers, minutes: int, told: int
) -> None:
    """While it is away nobody is told of anything, and of that neither."""
    add_route(store)
    send_due(store, receivers)
    query(store, f"UPDATE lease SET expires_at = expires_at - interval '{minutes} minutes' RETURNING 1")
    query(store, "UPDATE alert_route SET created_at = created_at - interval '1 day' RETURNING 1")
    for _ in range(2):
        send_due(store, receivers)

    got = [message for message in receivers["ops"].got if message["causes"][0]["kind"] == "sender_away"]
    assert len(got) == told
    for message in got:
        assert message["title"].startswith("[closed] No alert was sent from ")
        assert f"for {minutes} minutes" in message["causes"][0]["message"]
        assert message["causes"][0]["since"] < message["causes"][0]["until"]


def test_a_first_start_was_never_away(store: Store, receivers: Receivers) -> None:
    add_route(store)
    send_due(store, receivers)

    assert receivers["ops"].every == []


def test_one_sender_works_at_a_time(store: Store, receivers: Receivers) -> None:
    with sender(store, receivers) as first, sender(store, receivers) as second:
        work_once(first)
        with pytest.raises(LeaseHeld):
            work_once(second)
        first.close()
        work_once(second)


def test_a_check_that_fails_stops_no_message(store: Store, receivers: Receivers) -> None:
    """The process that would tell of a defect must survive it."""

    def broken(_store: Store) -> None:
        raise KeyError("a defect")

    add_route(store)
    fail(store)
    with sender(store, receivers, check=[broken]) as sending:
        work_once(sending)

    assert len(receivers["ops"].got) == 1


def test_a_check_that_hangs_stops_no_message(store: Store, receivers: Receivers) -> None:
    """The checks ask Airflow's database, too, which may hang for minutes."""
    ends = threading.Event()
    config = SenderConfig(hub=HUB, check_patience_s=0.1)
    add_route(store)
    fail(store)
    with (
        sender(store, receivers, config=config, check=[lambda _: ends.wait(30)]) as sending,
        ThreadPoolExecutor() as pool,
    ):
        for _ in range(2):
            sending.work(pool)
            sending.wait()
        got = len(receivers["ops"].got)
        ends.set()

    assert got == 1


def test_a_channel_that_cannot_be_opened_for_a_defect_is_left_alone_for_a_while(
    store: Store, receivers: Receivers, caplog: pytest.LogCaptureFixture
) -> None:
    """It would be tried every second without an alert, and what it says may be a secret."""
    add_route(store)
    receivers["ops"].does_not_open = ValueError("not valid: whsec_1234")
    fail(store)
    send_due(store, receivers)
    send_due(store, receivers)

    assert query(store, "SELECT state, attempts, error FROM alert_message") == [
        ("waiting", 1, "ValueError in the channel")
    ]
    assert "whsec_1234" not in caplog.text


def test_a_channel_that_no_route_uses_any_more_is_no_alert(store: Store, receivers: Receivers) -> None:
    """Nothing would ever be sent over it that could close the alert."""
    add_route(store)
    receivers["ops"].failures = [SystemRefused("ops", 404, "no such hook")]
    fail(store)
    send_due(store, receivers)
    closed = "SELECT closed_at IS NOT NULL FROM alert WHERE kind = 'channel_down'"
    assert query(store, closed) == [(False,)]
    remove_route(store)
    send_due(store, receivers)

    assert query(store, closed) == [(True,)]


def test_old_messages_are_deleted_but_not_what_says_that_an_open_alert_was_told(
    store: Store, receivers: Receivers
) -> None:
    """Otherwise an alert that stays open for a year would be new to its route every three months."""
    add_route(store, remind_every_hours=None)
    fail(store, "stays")
    fail(store, "ends")
    send_due(store, receivers)
    mend(store, "ends")
    send_due(store, receivers)
    later(store, 60 * 24 * 100)
    for _ in retention.purge_expired(store, None, RetentionPeriods(), subscribers={}, now=datetime.now(UTC)):
        pass
    send_due(store, receivers)

    assert query(store, "SELECT message->>'title' FROM alert_message") == [("[warning] stays: HTTP 503",)]
    assert len(receivers["ops"].every) == 3
