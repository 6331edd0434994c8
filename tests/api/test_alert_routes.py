"""Who is told of which alerts, over HTTP: routes, tests, mutes, acknowledgements and the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.maintenance.alerting import repository
from crossdock.maintenance.alerting.routes import Route
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, OwnKind
from tests.api.conftest import Hub
from tests.api.test_access import assert_problem
from tests.api.test_idempotency import new_key, post
from tests.shop import query

SOON = "2999-01-01T00:00:00Z"
TABLES = ("alert", "alert_route", "alert_message", "alert_mute")


@pytest.fixture
def store(hub: Hub) -> Iterator[Store]:
    """The served hub's own database, without alerts before and after."""
    with hub.store() as opened:
        for _ in "before", "after":
            for table in TABLES:
                query(opened, f"DELETE FROM {table} RETURNING 1")
            if _ == "before":
                yield opened


def add_route(store: Store, name: str = "ops", declared_in: str | None = None, **changes: Any) -> None:
    route = Route.model_validate({"name": name, "integration": "ops_mail", **changes})
    with store.transaction() as work:
        repository.save_route(work, route, declared_in=declared_in)


def audited(hub: Hub, subject: str) -> list[str]:
    entries = hub.call("GET", "/v1/audit", params={"subject": subject}).json()["entries"]
    return [entry["act"] for entry in entries]


def test_an_acknowledged_alert_says_by_whom_and_until_when(hub: Hub, store: Store) -> None:
    with store.transaction() as work:
        alerts.add(work, kind=OwnKind("k"), subject="s", found=Found("wrong"))
    (alert,) = hub.call("GET", "/v1/alerts", "vera").json()["alerts"]
    path = f"/v1/alerts/{alert['alert_id']}/acknowledge"
    assert (alert["acknowledged_by"], alert["severity"]) == (None, "warning")

    answer = post(hub, path, {"until": SOON}, new_key()).json()

    assert (answer["acknowledged_by"], answer["acknowledged_until"]) == ("airflow:otto", SOON)
    assert "alert.acknowledge" in audited(hub, f"alert/{alert['alert_id']}")
    assert_problem(post(hub, path, {"until": "2001-01-01T00:00:00Z"}, new_key()), 400, "bad-request")
    with store.transaction() as work:
        alerts.close(work, "k", subject="s")
    assert_problem(post(hub, path, {}, new_key()), 404, "not-found")


@pytest.mark.usefixtures("store")
def test_a_mute_names_what_it_silences_and_can_be_ended(hub: Hub) -> None:
    wanted = {"subject": "shop_eu.*", "until": SOON, "reason": "the shop is rebuilt"}
    mute = post(hub, "/v1/alert-mutes", wanted, new_key()).json()
    listed = hub.call("GET", "/v1/alert-mutes", "vera").json()["mutes"]
    end = f"/v1/alert-mutes/{mute['mute_id']}/end"

    assert listed == [mute]
    assert mute["reason"] == "***", "in a person's own words, as in the audit trail"
    assert [each["reason"] for each in hub.call("GET", "/v1/alert-mutes", "otto").json()["mutes"]] == [wanted["reason"]]
    assert (mute["kind"], mute["subject"], mute["created_by"]) == ("*", "shop_eu.*", "airflow:otto")
    assert post(hub, end, {}, new_key()).status_code == 200
    assert hub.call("GET", "/v1/alert-mutes", "vera").json()["mutes"] == []
    assert_problem(post(hub, end, {}, new_key()), 404, "not-found")
    assert audited(hub, f"alert_mute/{mute['mute_id']}") == ["alert.unmute", "alert.mute"]


@pytest.mark.parametrize("patterns", [{}, {"subject": "**"}, {"kind": "?*", "subject": "*?*"}])
def test_a_mute_of_everything_is_refused(hub: Hub, store: Store, patterns: dict[str, str]) -> None:
    """It would hide what is new, however it is written."""
    answer = post(hub, "/v1/alert-mutes", {**patterns, "until": SOON, "reason": "a quiet day"}, new_key())

    assert_problem(answer, 400, "bad-request")
    assert query(store, "SELECT count(*) FROM alert_mute") == [(0,)]


def test_a_route_needs_an_integration_that_sends_alerts(hub: Hub, store: Store) -> None:
    answer = post(hub, "/v1/alert-routes", {"name": "ops", "integration": "none_of_ours"}, new_key())

    assert_problem(answer, 404, "not-found")
    assert query(store, "SELECT count(*) FROM alert_route") == [(0,)]


def test_a_route_is_added_and_replaced_and_its_recipients_are_checked(hub: Hub, store: Store) -> None:
    """By the channel: a mail server takes addresses, and knows which are none."""
    name = f"ops_mail_{new_key()[:8]}"
    server = {"connection_id": name, "conn_type": "smtp_relay", "host": "smtps://mail.shop.example"}
    hub.airflow("POST", "/connections", json=server).raise_for_status()
    with store.transaction() as work:
        integrations.add(
            work,
            integration_id=name,
            kind="smtp_relay",
            name=name,
            settings={},
            connection_id=name,
            actor="test",
            with_credentials=False,
            tested=False,
        )

    def add(*recipients: str, **more: Any) -> Any:
        body = {"name": "ops", "integration": name, "recipients": recipients, **more}
        return post(hub, "/v1/alert-routes", body, new_key())

    added, changed = add("ada@shop.example"), add("ada@shop.example", severity="critical")

    assert (added.status_code, added.json()["route"]["recipients"]) == (200, ["***"])
    assert changed.json()["route"]["severity"] == "critical"
    assert_problem(add(), 400, "bad-request")
    assert_problem(add("not an address"), 400, "bad-request")
    assert query(store, "SELECT count(*), min(definition->>'severity') FROM alert_route") == [(1, "critical")]
    assert audited(hub, "alert_route/ops") == ["alert_route.change", "alert_route.add"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"severity": "bad"}, "severity"),
        ({"quiet": {"zone": "Berlin", "windows": [{"from": "22:00", "to": "07:00"}]}}, "quiet/zone"),
        ({"quiet": {"zone": "UTC", "windows": [{"from": "24:00", "to": "07:00"}]}}, "quiet/windows/0/from"),
        ({"streams": [""]}, "streams/0"),
        ({"remind_every_hours": 0}, "remind_every_hours"),
    ],
)
def test_a_mistake_in_a_route_is_named_by_its_place(hub: Hub, changes: dict[str, Any], pointer: str) -> None:
    answer = post(hub, "/v1/alert-routes", {"name": "ops", "integration": "ops_mail", **changes}, new_key())

    assert_problem(answer, 400, "bad-request")
    assert pointer in [error["pointer"].strip("/") for error in answer.json()["errors"]]


def test_the_recipients_of_a_route_are_masked_but_for_operators_one_at_a_time(hub: Hub, store: Store) -> None:
    add_route(store, recipients=["ada@shop.example"])
    listed = hub.call("GET", "/v1/alert-routes", "admin").json()["routes"][0]["route"]["recipients"]
    shown = {
        name: hub.call("GET", "/v1/alert-routes/ops", name).json()["route"]["recipients"] for name in ("vera", "otto")
    }

    assert listed == shown["vera"] == ["***"]
    assert shown["otto"] == ["ada@shop.example"]
    assert "personal_data.reveal" in audited(hub, "alert_route/ops")


def test_a_route_that_a_file_declares_is_changed_there(hub: Hub, store: Store) -> None:
    add_route(store, declared_in="ops.yaml")

    assert_problem(hub.call("DELETE", "/v1/alert-routes/ops", "otto"), 409, "conflict")


def test_what_waits_for_a_removed_route_is_never_sent(hub: Hub, store: Store) -> None:
    add_route(store)
    post(hub, "/v1/alert-routes/ops/test", {}, new_key()).raise_for_status()

    assert hub.call("DELETE", "/v1/alert-routes/ops", "otto").status_code == 204
    (message,) = hub.call("GET", "/v1/alert-messages", "vera", params={"route": "ops"}).json()["messages"]
    assert (message["state"], message["error"]) == ("refused", "Its route was removed")


def test_a_test_of_a_route_is_written_once_for_its_key_and_can_be_followed(hub: Hub, store: Store) -> None:
    add_route(store, recipients=["ada@shop.example"])
    key = new_key()
    first, again = (post(hub, "/v1/alert-routes/ops/test", {}, key) for _ in range(2))
    message = first.json()

    assert (first.status_code, again.json()) == (202, message)
    assert hub.call("GET", f"/v1/alert-messages/{message['message_id']}", "vera").json() == message
    assert hub.call("GET", "/v1/alert-messages", "vera", params={"state": "waiting"}).json()["messages"] == [message]
    assert (message["occasion"], message["state"], message["integration"]) == ("test", "waiting", "ops_mail")
    assert "ada@" not in first.text
    assert_problem(post(hub, "/v1/alert-routes/none-of-ours/test", {}, new_key()), 404, "not-found")
