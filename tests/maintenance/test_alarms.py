"""An alert opens once when something is wrong, says what to do, and closes automatically when it is over."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import pytest

from crossdock.app.airflow.deadlines import RunIsLate
from crossdock.app.fetch_records import SyncRecordFetcher
from crossdock.commerce.payments import facts as payment_facts
from crossdock.commerce.payments import service as payments
from crossdock.commerce.payments.events import FactKind
from crossdock.commerce.payments.model import FactOrigin
from crossdock.core.errors import HubError
from crossdock.core.hints import HintId
from crossdock.db.database import Store, Work
from crossdock.events.delivery import consumer_leases
from crossdock.events.model import STOCK_CHANGED
from crossdock.events.subscriber import Subscriber
from crossdock.events.webhooks_in import refused as refused_webhooks
from crossdock.http.breaker import BreakerRules
from crossdock.http.shared_breaker import SharedBreaker
from crossdock.integrations import service as integrations
from crossdock.integrations.attempts import repository as attempts
from crossdock.integrations.attempts.model import Outcome, Resolution, Write
from crossdock.maintenance import alarms
from crossdock.maintenance.alarms import AlarmThresholds
from crossdock.maintenance.overview import overview
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind, OwnKind
from crossdock.sandbox.commercetools.retailer import FakeRetailer
from crossdock.sync import Systems, extract, load, mark_failed, validate
from crossdock.sync.model import SyncRequest
from crossdock.workflows.declared import repository as workflow_versions
from tests.commerce.payments.gateways import connected
from tests.commerce.payments.test_facts import fact, report
from tests.events.worlds import publish, stock
from tests.integrations.test_removed import NoBook, register
from tests.shop import query
from tests.streams import INVENTORY, stream_of
from tests.workflows.declared.test_trial import parsed

HEARS = {"availability": Subscriber(types=(STOCK_CHANGED,))}
KIND = OwnKind("k")
DOWN = "GET /x at shop.example answered HTTP 503: back at noon"
#: No delay before an alert opens.
AT_ONCE = AlarmThresholds(unread=timedelta(0), broken=timedelta(0), refused=1)


def open_alerts(store: Store, limits: AlarmThresholds = AT_ONCE) -> dict[tuple[str, str], str]:
    """Run the checks; return the open alerts: (kind, subject) → message."""
    alarms.check(store, HEARS, limits)
    with store.transaction() as work:
        return {(alert.kind, alert.subject): alert.message for alert in alerts.find(work)}


def test_a_payment_that_stays_unknown_is_an_alert_until_somebody_finds_out(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other gateway is asked for it, so that somebody has to."""
    at_gateway = ("payment_unknown", "alpha")
    with connected(store, monkeypatch) as gateways:
        gateways.fault("alpha", *[{"reset": "after"}] * 2)
        payment = gateways.authorise()
        young = open_alerts(store)
        query(store, "UPDATE payment_leg SET first_failed_at = first_failed_at - interval '16 minutes' RETURNING 1")
        old = open_alerts(store)
        gateways.authorise()

        assert at_gateway not in young
        assert payment.payment_id in old[at_gateway]
        assert at_gateway not in open_alerts(store)


def test_a_call_that_was_done_in_another_currency_is_an_alert(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person said that it was done: its call is known, and the payment is not."""
    with connected(store, monkeypatch) as gateways:
        payment = gateways.authorise(method="pm_dollars")
        ((leg_id,),) = query(store, "SELECT leg_id FROM payment_leg")
        payments.resolve_by_person(
            store, payment.payment_id, leg_id, Outcome.DONE, ref="alpha_authorise_1", reason="seen", actor="cli:otto"
        )
        query(
            store,
            "UPDATE payment_leg SET first_failed_at = first_failed_at - interval '16 minutes',"
            " answered_at = answered_at - interval '16 minutes' RETURNING 1",
        )

        assert payment.payment_id in open_alerts(store)["payment_unknown", "alpha"]


def test_two_authorisations_of_a_payment_are_an_alert_until_one_is_released(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The customer's money is held twice."""
    with connected(store, monkeypatch) as gateways:
        payment = gateways.authorise()
        subject = ("payment_doubled", payment.payment_id)
        once = open_alerts(store)
        ref = {"gateway": "beta", "payment_ref": "pay_2"}
        with store.transaction() as work:
            said = fact(FactKind.AUTHORISED, "auth_2", **ref)
            payment_facts.repository.add_fact(work, payment.payment_id, said, FactOrigin.EVENT)
            payment_facts.update_state(work, payment.payment_id)
        twice = open_alerts(store)
        with store.transaction() as work:
            said = fact(FactKind.VOIDED, "void_3", **ref)
            payment_facts.repository.add_fact(work, payment.payment_id, said, FactOrigin.EVENT)
            payment_facts.update_state(work, payment.payment_id)

        assert subject not in once
        assert "2 authorisations" in twice[subject]
        assert subject not in open_alerts(store)


@pytest.mark.parametrize("accepted", [FactKind.CAPTURE_PENDING, FactKind.CAPTURED])
@pytest.mark.parametrize("end", [FactKind.RECAPTURED, FactKind.VOIDED])
def test_a_capture_that_is_taken_back_is_an_alert_until_it_is_made_good_or_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, accepted: FactKind, end: FactKind
) -> None:
    """Its order is confirmed, and nobody was told that it is not paid."""
    with connected(store, monkeypatch) as gateways:
        payment = gateways.authorise()
        ref = {"gateway": "alpha", "payment_ref": "pay_alpha_authorise_1"}
        subject, seen = ("payment_taken_back", payment.payment_id), []
        for kind in (accepted, FactKind.CAPTURE_FAILED, end):
            operation = "void_1" if end is FactKind.VOIDED and kind is end else "capture_1"
            with store.transaction() as work:
                payment_facts.apply(work, [fact(kind, operation, **ref)], FactOrigin.EVENT)
            seen.append(subject in open_alerts(store))

        assert seen == [False, True, False]


def test_a_part_that_was_taken_back_is_an_alert_until_it_is_captured_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is captured is less than the payment then, as it was meant to be."""
    with connected(store, monkeypatch) as gateways:
        payment = gateways.authorise()
        leg = gateways.capture(payment, 4_000, "c1")
        assert leg.operation_ref is not None
        ref = {"gateway": "alpha", "payment_ref": "pay_alpha_authorise_1", "occurred_at": datetime.now(UTC)}
        report(store, fact(FactKind.CAPTURE_FAILED, leg.operation_ref, **ref))
        subject, seen = ("payment_taken_back", payment.payment_id), [open_alerts(store)]
        gateways.capture(payment, 4_000, "c2")
        seen.append(open_alerts(store))

    assert [subject in alerts for alerts in seen] == [True, False]


@pytest.mark.parametrize("end", [FactKind.DISPUTE_CLOSED, FactKind.CHARGEBACK_REVERSED])
def test_a_dispute_is_an_alert_with_its_deadline_until_it_is_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch, end: FactKind
) -> None:
    """Nobody was told of it, and what nobody answers is lost."""
    with connected(store, monkeypatch) as gateways:
        payment = gateways.authorise()
        due_at = datetime.now(UTC) + timedelta(days=7)
        of_dispute = {"payment_ref": "pay_alpha_authorise_1", "due_at": due_at}
        report(store, fact(FactKind.DISPUTE_OPENED, "dp_1", **of_dispute))
        report(store, fact(FactKind.CHARGED_BACK, "dp_1", payment_ref="pay_alpha_authorise_1"))
        disputed = open_alerts(store)
        report(store, fact(end, "dp_1", payment_ref="pay_alpha_authorise_1"))

        message = disputed["payment_disputed", payment.payment_id]
        assert f"{due_at:%Y-%m-%d}" in message
        assert "alpha" in message
        assert ("payment_disputed", payment.payment_id) not in open_alerts(store)


def test_a_dispute_whose_deadline_has_passed_is_no_alert(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can answer it any more; one without a deadline is open for 40 days."""
    with connected(store, monkeypatch) as gateways:
        old = gateways.authorise("order-1")
        (long_ago, lately) = (datetime.now(UTC) - timedelta(days=days) for days in (41, 39))
        report(store, fact(FactKind.DISPUTE_OPENED, "dp_1", payment_ref="pay_alpha_authorise_1", occurred_at=long_ago))
        young = gateways.authorise("order-2")
        ref = query(store, "SELECT payment_ref, gateway FROM payment_leg WHERE payment_id = %s", young.payment_id)[0]
        second = {"payment_ref": ref[0], "gateway": ref[1], "occurred_at": lately}
        report(store, fact(FactKind.DISPUTE_OPENED, "dp_2", **second))

        found = {subject for kind, subject in open_alerts(store) if kind == "payment_disputed"}
        assert found == {young.payment_id} != {old.payment_id}


def test_dead_letters_are_an_alert_with_number_causes_and_what_to_do(store: Store) -> None:
    """They opened no alert: a subscriber that failed with every event was only seen by chance."""
    publish(store, stock("CHAIR", 1, 1))
    for position, cause in enumerate(("BadEvent", "BadEvent", "KeyError")):
        query(
            store,
            "INSERT INTO dead_letter (subscriber, epoch, xid, position, source, type, time, partition_key, partition,"
            " schema_version, data, state, cause, reason) SELECT 'availability', 1, '1', %s, 's', 't', now(), 'k', 0, 1,"
            " '{}', 'dead', %s, 'r' RETURNING 1",
            position,
            cause,
        )

    message = open_alerts(store)["dead_letters", "availability"]

    assert "3 dead letters: 2 BadEvent, 1 KeyError" in message
    (shown,) = overview(store).alerts
    assert shown.hint
    assert shown.hint.id is HintId.LIST_DEAD_LETTERS
    query(store, "UPDATE dead_letter SET state = 'replayed', closed_at = now() WHERE cause = 'KeyError' RETURNING 1")
    assert "2 dead letters: 2 BadEvent" in open_alerts(store)["dead_letters", "availability"]
    query(store, "UPDATE dead_letter SET state = 'replayed', closed_at = now() RETURNING 1")
    assert open_alerts(store) == {}
    assert query(store, "SELECT count(*), count(closed_at) FROM alert") == [(1, 1)]


def test_rejected_records_are_an_alert_of_their_stream_until_none_is_left(store: Store) -> None:
    """With IDs and rules as examples: the key of a customer is an e-mail address."""
    for number, cause in enumerate(
        ["email_is_valid", "email_is_valid", "country_is_known", "country_is_known", "email_is_valid"]
    ):
        query(
            store,
            "INSERT INTO quarantine_item (integration, dataset, record_id, record_key, version, cause, failures, raw,"
            " first_run_id, last_run_id) VALUES ('shop', 'customers', %s, 'ada@example.com', 1, %s, '[]', '', 'r', 'r')"
            " RETURNING 1",
            f"id-{number}",
            cause,
        )

    message = open_alerts(store)["rows_rejected", "shop.customers"]

    assert message == "shop.customers has 5 records in quarantine: 3 email_is_valid, 2 country_is_known"
    ((records, examples, integration, stream),) = query(
        store, "SELECT records, examples, integration, stream FROM alert"
    )
    assert (records, integration, stream) == (5, "shop", "shop.customers")
    assert sorted(examples) == ["id-0: email_is_valid", "id-2: country_is_known", "id-3: country_is_known"]
    query(store, "UPDATE quarantine_item SET state = 'discarded', closed_at = now(), closed_by = 'ada' RETURNING 1")
    assert open_alerts(store) == {}


def test_a_condition_that_cannot_be_checked_hides_no_other_and_closes_nothing(store: Store) -> None:
    """A table or a folder that is gone, an object store that is down."""
    with store.transaction() as work:
        refused_webhooks.add(work, "shop", "invalid signature", size_bytes=10)

    def found(_: Work) -> dict[str, Found]:
        return {"wms": Found("wms.yaml has a mistake")}

    def fails(_: Work) -> dict[str, Found]:
        raise OSError("the folder is gone")

    for condition in (found, fails):
        with store.transaction() as work:
            work.execute(b"ALTER TABLE IF EXISTS dead_letter RENAME TO renamed")
        alarms.check(store, HEARS, AT_ONCE, {Kind.DECLARATION_INVALID: condition})

    assert query(store, "SELECT kind FROM alert WHERE closed_at IS NULL ORDER BY kind") == [
        ("declaration_invalid",),
        ("webhooks_refused",),
    ]


def test_events_without_a_consumer_open_an_alert(store: Store) -> None:
    """A partition without a worker: its events wait, and no DAG fails."""
    with store.transaction() as work:
        consumer_leases.register(work, "availability", 1)
    assert open_alerts(store) == {}, "no consumer, and no event waits"
    publish(store, stock("CHAIR", 1, 1))
    assert open_alerts(store, AlarmThresholds()) == {}, "a worker is restarted in seconds"

    ((kind, subject),) = open_alerts(store)
    assert (kind, subject) == ("events_unread", "availability/0")

    with store.transaction() as work:
        claim = consumer_leases.claim(work, "availability", 0, "worker", timedelta(minutes=1))
    assert open_alerts(store) == {}
    with store.transaction() as work:
        assert claim is not None
        consumer_leases.release(work, [claim])
        work.execute(b"UPDATE event_consumer SET epoch = 9")
    assert open_alerts(store) == {}, "it has read them all"


def test_the_alert_of_events_without_a_consumer_names_the_partition_in_which_they_wait(store: Store) -> None:
    """A person restarts the worker of that one; the other has nothing to do."""
    with store.transaction() as work:
        consumer_leases.register(work, "availability", 2)
    publish(store, stock("CHAIR", 1, 1))
    (partition,) = query(store, "SELECT (hashtext('CHAIR') & 2147483647) %% 2")[0]

    assert list(open_alerts(store)) == [("events_unread", f"availability/{partition}")]


def test_a_breaker_that_stays_open_is_an_alert_until_it_closes(store: Store) -> None:
    """Half open it lets a call through now and then, and has not recovered yet."""
    breaker = SharedBreaker(store.another(), "shop", BreakerRules(open_s=0.0))
    for _ in range(100):
        breaker.record(failure=DOWN)
    assert open_alerts(store, AlarmThresholds()) == {}, "it has only just opened"
    message = open_alerts(store)["breaker_open", "shop"]
    assert re.fullmatch(rf"shop is down: \d+ calls have failed since \S+Z; the last: {DOWN}\. Its circuit .*", message)
    assert [DOWN in str(outage.reason) for outage in overview(store).outages] == [True], (
        "at once, and without its five minutes"
    )
    breaker.before_call()
    assert query(store, "SELECT state->>'phase' FROM breaker") == [("half_open",)]
    assert ("breaker_open", "shop") in open_alerts(store)

    for _ in range(10):
        breaker.record()
    assert open_alerts(store) == {}


def test_a_removed_integration_leaves_no_outage(store: Store) -> None:
    """Nobody calls it any more: an alert about it could neither be ended nor looked into."""
    register(store, "shop")
    breaker = SharedBreaker(store.another(), "shop", BreakerRules(open_s=0.0))
    for _ in range(100):
        breaker.record(failure=DOWN)
    assert list(open_alerts(store)) == [("breaker_open", "shop")]

    integrations.remove(store, NoBook(), "shop", version=None, actor="cli:ada")

    assert open_alerts(store) == {}
    assert overview(store).outages == ()
    assert overview(store).outages == ()


def test_many_refused_webhooks_open_an_alert(store: Store) -> None:
    """Most often a key was changed on one side only, and every delivery is lost."""
    with store.transaction() as work:
        for _ in range(10):
            refused_webhooks.add(work, "shop", "no signature of it is made with a key of ours", size_bytes=10)
    message = open_alerts(store, AlarmThresholds())["webhooks_refused", "shop"]

    assert "10 webhooks of shop" in message
    assert "shop_webhook" in message
    query(store, "UPDATE refused_webhook SET last_at = now() - interval '2 hours' RETURNING 1")
    assert open_alerts(store, AlarmThresholds()) == {}


def test_refused_webhooks_of_a_workflow_are_of_no_integration(store: Store) -> None:
    """Its key is in a connection of another name, and no command shows an integration `workflows/restock`."""
    text = "schema: crossdock.workflow/1\nid: order_more\nversion: 1\ntitle: T\ntriggers: [{webhook: restock}]\ndo: [{id: w1, wait: 1s}]\n"
    with store.transaction() as work:
        workflow_versions.add(work, parsed(text), text, actor="dora")
        workflow_versions.deploy(work, "order_more", 1, actor="otto")
        for _ in range(10):
            refused_webhooks.add(work, "workflows/restock", "no signature of it", size_bytes=10)
    message = open_alerts(store, AlarmThresholds())["webhooks_refused", "workflows/restock"]

    assert message.endswith(
        "Compare the key in the connection workflows_restock_webhook with the sender's. They start the workflow order_more"
    )
    assert query(store, "SELECT integration FROM alert") == [(None,)]


def test_webhooks_refused_for_card_data_are_no_question_of_the_key(store: Store) -> None:
    """Their signature is right. Who looks for a wrong key looks in vain."""
    with store.transaction() as work:
        for _ in range(10):
            refused_webhooks.add(work, "shop", refused_webhooks.CARD_DATA, size_bytes=10)
    message = open_alerts(store, AlarmThresholds())["webhooks_refused", "shop"]

    assert "leave it out" in message
    assert "key" not in message


def test_a_call_without_a_known_outcome_is_an_alert_until_it_is_resolved(store: Store) -> None:
    """Otherwise nobody learns that a charge may have been made twice, or never."""
    write = Write(integration="acme", action="charge", key="order-4711", method="POST", path="/charges")
    with store.transaction() as work:
        begun, _ = attempts.begin(work, write, longest=timedelta(0))
    assert open_alerts(store, AlarmThresholds()) == {}, "a repetition with its key may resolve it"
    query(store, "UPDATE attempt SET sent_at = now() - interval '11 minutes' RETURNING 1")
    message = open_alerts(store, AlarmThresholds())["attempt_unresolved", "acme"]

    assert "calls that write to acme is unknown: 1, the oldest for 11 minutes" in message
    with store.transaction() as work:
        attempts.resolve(work, begun.attempt_id, Outcome.DONE, Resolution.PERSON)
    assert open_alerts(store, AlarmThresholds()) == {}


def test_a_failed_run_is_an_alert_until_one_of_its_sync_ends_well(systems: Systems) -> None:
    """Ten failures of a night are one alert, with the message of the last."""
    for attempt in ("first", "second"):
        extract(INVENTORY, systems, SyncRequest(), dag_run_id=attempt)
        mark_failed(INVENTORY, systems.store, attempt, f"the {attempt} failure")
    ((key, message),) = open_alerts(systems.store).items()
    assert key == ("run_failed", "commercetools.inventory (all)")
    assert "the second failure" in message

    load(INVENTORY, systems, validate(INVENTORY, systems, extract(INVENTORY, systems, SyncRequest())))

    assert open_alerts(systems.store) == {}


def rename(store: Store, table: str, name: str) -> None:
    with store.transaction() as work:
        work.execute(f"ALTER TABLE {table} RENAME TO {name}".encode())


def test_a_fetch_that_fails_is_reported_by_its_event_alone(systems: Systems, shop: FakeRetailer) -> None:
    """
    It has one of sixteen leases, by its first key. After an outage the next pulls have others: sixteen alerts of an hour
    ago were open for ever. Its event is retried, or is a dead letter, which has an alert.
    """
    with SyncRecordFetcher(lambda _: nullcontext(systems), stream_of=stream_of) as fetcher:
        rename(systems.store, "inventory", "away")
        with pytest.raises(HubError):
            fetcher.fetch("commercetools.inventory", [shop.state.collection("inventory").rows()[0].document["sku"]])
        rename(systems.store, "away", "inventory")
    assert query(systems.store, "SELECT state FROM sync_run") == [("failed",)]

    assert open_alerts(systems.store) == {}


def test_a_late_run_is_an_alert_until_it_has_ended(systems: Systems, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has not come as far as the ledger."""
    monkeypatch.setattr(Store, "from_connection", classmethod(lambda cls, _: cls(systems.store.dsn)))
    RunIsLate("sync_commercetools_inventory").notify({"dag_run": {"dag_run_id": "noon", "state": "running"}})
    late = ("run_late", "sync_commercetools_inventory/noon")
    assert list(open_alerts(systems.store)) == [late]
    run_id = extract(INVENTORY, systems, SyncRequest(), dag_id="sync_commercetools_inventory", dag_run_id="noon")
    assert list(open_alerts(systems.store)) == [late]

    load(INVENTORY, systems, validate(INVENTORY, systems, run_id))

    assert open_alerts(systems.store) == {}


def test_the_beginning_and_end_of_an_alert_are_logged_once(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Every half minute, a log would hold nothing else by the morning."""
    with store.transaction() as work:
        refused_webhooks.add(work, "shop", "its timestamp is too old", size_bytes=10)
    with caplog.at_level(logging.INFO, logger=alarms.__name__):
        open_alerts(store)
        open_alerts(store)
        query(store, "DELETE FROM refused_webhook RETURNING 1")
        open_alerts(store)
        open_alerts(store)

    assert [record.levelname for record in caplog.records if record.name == alarms.__name__] == ["WARNING", "INFO"]


def test_a_condition_that_returns_opens_another_alert(store: Store) -> None:
    """When it was wrong, and for how long, is what one wants to know afterwards."""
    for _ in range(2):
        with store.transaction() as work:
            assert alerts.add(work, KIND, "s", Found("m"))
            assert not alerts.add(work, KIND, "s", Found("m"))
            alerts.close(work, KIND, subject="s")

    assert query(store, "SELECT count(*), count(closed_at) FROM alert") == [(2, 2)]


def test_the_status_looks_first_and_shows_what_is_open(store: Store) -> None:
    """Without a delivery worker, no other part of the hub would check."""
    alarms.check(store, HEARS, AT_ONCE)
    with store.transaction() as work:
        alerts.add(work, KIND, "over", Found("it was wrong"))
        alerts.close(work, KIND, subject="over")
        alerts.add(work, KIND, "open", Found("it is wrong"))

    (shown,) = overview(store).alerts

    assert shown.message == "it is wrong"


@pytest.fixture(autouse=True)
def _close(store: Store) -> Iterator[None]:
    yield
    store.close()
