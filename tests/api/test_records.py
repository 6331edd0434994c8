"""What the hub has, over HTTP: streams, runs, records, missing days."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crossdock.db.database import Store
from tests.api.conftest import Hub
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry


@pytest.fixture
def filled(hub: Hub) -> Iterator[Store]:
    with hub.store() as store:
        Triage(store).sync(entry(id="r-1", sku="CHEST"), entry(id="r-2", sku=""))
        yield store
        query(store, "DELETE FROM quarantine_item RETURNING 1")


@pytest.mark.usefixtures("filled")
def test_a_record_is_read_by_its_key_and_as_it_was(hub: Hub) -> None:
    now = hub.call("GET", "/v1/records/commercetools.inventory?key=CHEST", "vera").json()
    before = hub.call("GET", "/v1/records/commercetools.inventory?key=CHEST&as_of=2026-01-01T00:00:00Z", "vera")

    assert [row["id"] for row in now["records"]] == ["r-1"]
    assert before.status_code == 404
    assert "did not exist at 2026-01-01T00:00:00.000Z. The first version" in before.json()["detail"]


def test_a_record_says_what_came_later_and_waits(hub: Hub, filled: Store) -> None:
    """What the hub shows may be wrong by now, and only the quarantine knows."""
    Triage(filled, batch_no=1).sync(entry(id="r-1", version=4, sku="CHEST", restockableInDays=-1))
    path = "/v1/records/commercetools.inventory?key=CHEST"
    (waiting,) = hub.call("GET", path, "vera").json()["waiting"]

    assert (waiting["record_id"], waiting["version"]) == ("r-1", 4)
    assert waiting["cause"] == "restock_days_are_not_negative"
    assert hub.call("GET", f"{path}&as_of=2026-11-21T00:00:00Z", "vera").json()["waiting"] == []


@pytest.mark.parametrize("as_of", ["0", "1732180000", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00"])
def test_a_time_without_a_zone_and_a_number_are_refused(hub: Hub, as_of: str) -> None:
    """A number would be read as seconds since 1970."""
    answer = hub.call("GET", "/v1/records/commercetools.inventory", "vera", params={"key": "CHEST", "as_of": as_of})

    assert answer.status_code == 400, answer.text


def test_an_unknown_stream_is_named_with_those_that_exist(hub: Hub) -> None:
    for path in ("/v1/records/stocks?key=A", "/v1/streams/stocks/backfill-days?first=2026-01-01&last=2026-01-02"):
        answer = hub.call("GET", path, "vera")
        assert answer.status_code == 404
        assert "Unknown stream 'stocks'. Streams: commercetools.customers, commercetools.inv" in answer.json()["detail"]


def test_a_short_name_is_completed_where_it_means_one_stream(hub: Hub) -> None:
    """In one place, so that every client completes it alike and shows the same suggestions."""
    for name in ("inventory", "commercetools.inventory"):
        (found,) = hub.call("GET", f"/v1/streams?name={name}", "vera").json()["streams"]
        assert found["id"] == "commercetools.inventory"
    several, misspelt = (hub.call("GET", f"/v1/streams?name={name}", "vera") for name in ("commercetools", "inventry"))

    assert (several.status_code, misspelt.status_code) == (400, 400)
    assert "means several streams. Use one of: commercetools." in several.json()["detail"]
    assert "Did you mean 'inventory'?" in misspelt.json()["detail"]


@pytest.mark.usefixtures("filled")
def test_a_run_has_all_that_a_client_shows(hub: Hub) -> None:
    """The command line has no other source."""
    (listed,) = hub.call("GET", "/v1/runs?stream=commercetools.inventory&limit=1", "vera").json()["runs"]
    run = hub.call("GET", f"/v1/runs/{listed['run_id']}", "vera").json()

    assert (run["counts"]["read"], run["counts"]["rejected"], run["balanced"]) == (2, 1, True)
    assert (run["shard"], run["attempt"], run["keys"], run["backfill_day"]) == ("all", 1, [], None)
    assert run["calls"]["calls"] == 0
    assert hub.call("GET", "/v1/runs?dag_id=sync_nothing", "vera").json()["runs"] == []


def test_a_stream_says_whether_its_integration_is_read(hub: Hub) -> None:
    """The command line refuses a paused one before it starts a DAG run that would be skipped."""
    streams = {stream["id"]: stream for stream in hub.call("GET", "/v1/streams", "vera").json()["streams"]}

    assert streams["commercetools.orders"]["sync_dag"] == "sync_commercetools_orders"
    assert streams["commercetools.orders"]["backfill_dag"] == "backfill_commercetools_orders"
    assert streams["commercetools.orders"]["integration_state"] in {"active", "unregistered"}


def test_days_of_a_backfill_are_listed_before_it_starts(hub: Hub) -> None:
    path = "/v1/streams/commercetools.orders/backfill-days"
    days = hub.call("GET", f"{path}?first=2026-01-01&last=2026-01-03&only=all", "vera")
    for wrong in (
        "first=2026-01-03&last=2026-01-01",
        "first=2026-01-01&last=2999-01-01",
        "first=1&last=2",
        "first=1900-01-01&last=2026-01-01",
    ):
        assert hub.call("GET", f"{path}?{wrong}", "vera").status_code == 400, wrong

    assert days.json() == {"days": ["2026-01-01", "2026-01-02", "2026-01-03"]}


@pytest.mark.usefixtures("filled")
def test_a_record_is_read_as_the_hub_had_it(hub: Hub) -> None:
    """Its own clock and the source's are two questions."""
    path = "/v1/records/commercetools.inventory?key=CHEST"
    before = hub.call("GET", f"{path}&known_at=2026-11-21T00:00:00Z", "vera")
    now = hub.call("GET", f"{path}&known_at=2199-01-01T00:00:00Z", "vera")

    assert before.status_code == 404
    assert (
        "The hub did not have 'CHEST' of commercetools.inventory at 2026-11-21T00:00:00.000Z. It first knew it at"
        in (before.json()["detail"])
    )
    assert [row["id"] for row in now.json()["records"]] == ["r-1"]
    assert now.json()["known_at"] == "2199-01-01T00:00:00Z"
    assert now.json()["waiting"] == []
