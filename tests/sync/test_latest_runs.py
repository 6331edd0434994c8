"""What the overview shows of the ledger: the last runs of each stream, and what became of the rows of a day."""

from __future__ import annotations

from datetime import timedelta

from crossdock.db.database import Store
from crossdock.integrations import repository as integrations
from crossdock.maintenance import dashboard, overview
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind
from crossdock.sync import ledger
from tests.shop import query
from tests.sync.quarantine.test_service import Triage
from tests.sync.records import entry

STREAMS = ["commercetools.inventory", "commercetools.orders"]


class TestTheLastRuns:
    def test_they_come_oldest_first_and_no_more_than_asked(self, store: Store) -> None:
        """A bar of thirty runs is read from left to right."""
        for version in range(1, 5):
            Triage(store).sync(entry(version=version))
        with store.transaction() as work:
            found = ledger.latest_of_streams(work, STREAMS, limit=3)

        assert list(found) == ["commercetools.inventory"], "a stream that never ran has none"
        starts = [run.started_at for run in found["commercetools.inventory"]]
        assert len(starts) == 3
        assert starts == sorted(starts)
        newest = query(store, "SELECT max(started_at) FROM sync_run")
        assert [(starts[-1],)] == newest


class TestTheRowsOfADay:
    def test_their_outcomes_add_up_and_older_runs_are_left_out(self, store: Store) -> None:
        Triage(store).sync(entry(id="old"))
        query(store, "UPDATE sync_run SET started_at = started_at - interval '2 days' RETURNING 1")
        Triage(store).sync(entry(id="a"), entry(id="b", quantityOnStock=-3))
        with store.transaction() as work:
            runs, counts = ledger.totals(work, timedelta(hours=24))

        assert (runs, counts.read, counts.inserted, counts.rejected) == (1, 2, 1, 1)
        assert counts.balanced


def test_a_replay_is_no_sync(store: Store) -> None:
    """It may load one record, and the last sync was read hours ago."""
    anna = Triage(store)
    anna.sync(entry(id="a", quantityOnStock=-3))
    ((sync_id,),) = query(store, "SELECT run_id FROM sync_run")
    (item,) = anna.items()
    anna.edit(item, quantityOnStock=5, availableQuantity=5)
    anna.replay()
    found = dashboard.read(store, [("commercetools.inventory", 1)])
    with store.transaction() as work:
        activity = integrations.activity(work, "commercetools")

    assert query(store, "SELECT count(*) FROM sync_run") == [(2,)]
    assert [run.run_id for run in found.runs["commercetools.inventory"]] == [sync_id]
    assert (found.ended, found.rows.read, found.rows.rejected) == (1, 1, 1)
    assert (activity.last_run_id, activity.runs_24h, activity.records_read_24h) == (sync_id, 1, 1)
    assert overview.overview(store).latest_run == overview.LatestRun(sync_id, "partial")


def test_a_cause_and_its_alert_are_listed_once(store: Store) -> None:
    Triage(store).sync(entry(id="a", quantityOnStock=-3))
    with store.transaction() as work:
        alerts.add(work, Kind.ROWS_REJECTED, "commercetools.inventory", Found("1 record is in quarantine"))
        alerts.add(work, Kind.ROWS_REJECTED, "elsewhere.inventory", Found("its records are not listed"))
    found = dashboard.read(store, [])

    assert [cause.stream for cause in found.quarantine] == ["commercetools.inventory"]
    assert [alert.subject for alert in found.alerts] == ["elsewhere.inventory"]
    assert dashboard.needs(store) == 2


def test_the_gravest_alert_comes_first_however_many_newer_ones_there_are(store: Store) -> None:
    with store.transaction() as work:
        alerts.add(work, Kind.PAYMENT_DOUBLED, "pay_1", Found("two authorisations"))
        for number in range(overview.ALERTS + 1):
            alerts.add(work, Kind.RUN_FAILED, f"shop.orders ({number})", Found("HTTP 503", stream="shop.orders"))
    found = overview.overview(store).alerts

    assert [alert.severity for alert in found[:2]] == ["critical", "warning"]
    assert found[1].line.startswith(f"[warning] shop.orders ({overview.ALERTS}): HTTP 503. Read the end of")
    assert found[1].line.endswith("./hub runs --stream shop.orders")
    assert next(alert.subject for alert in dashboard.read(store, []).alerts) == "pay_1"


def test_an_empty_hub_has_an_overview(store: Store) -> None:
    found = dashboard.read(store, [(stream, 1) for stream in STREAMS])

    assert (found.ended, found.rows.read, found.runs, list(found.systems)) == (0, 0, {}, [])
    assert found.complete_to == dict.fromkeys(STREAMS)
