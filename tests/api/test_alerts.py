"""What a person should hear of, over HTTP."""

from __future__ import annotations

from crossdock.observability import alerts
from crossdock.observability.alerts import Found, OwnKind
from tests.api.conftest import Hub
from tests.shop import query


def test_alerts_are_listed_by_state_and_in_pages(hub: Hub) -> None:
    with hub.store() as store:
        with store.transaction() as work:
            for number in range(5):
                alerts.add(work, OwnKind("k"), str(number), Found(f"wrong {number}", number))
            alerts.close(work, OwnKind("k"), subject="4")
        open_now = hub.call("GET", "/v1/health", "vera").json()["open_alerts"]
        first = hub.call("GET", "/v1/alerts", "vera", params={"limit": 3}).json()
        rest = hub.call("GET", "/v1/alerts", "vera", params={"limit": 3, "cursor": first["next_cursor"]}).json()
        closed = hub.call("GET", "/v1/alerts", "vera", params={"state": "closed"}).json()
        every = hub.call("GET", "/v1/alerts", "vera", params={"state": "all"}).json()
        query(store, "DELETE FROM alert RETURNING 1")

    assert open_now == 4
    assert [alert["subject"] for alert in first["alerts"] + rest["alerts"]] == ["3", "2", "1", "0"]
    assert rest["next_cursor"] is None
    assert [(alert["message"], alert["closed_at"] is None) for alert in closed["alerts"]] == [("wrong 4", False)]
    assert len(every["alerts"]) == 5
