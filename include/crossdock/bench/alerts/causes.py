"""
How each kind of alert is brought about on a running stack: by what a source, a system, a file or a person does.

Where a cause takes hours by its definition, `how` says what was shortened or written into the past. No alert is inserted.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from crossdock.bench.alerts.receivers import TimedReceiver
from crossdock.bench.alerts.simulated import simulated
from crossdock.bench.alerts.world import (
    BROKEN,
    DEADLINE_MINUTES,
    DEAF,
    EVERY_MINUTE,
    GATEWAY,
    LATE,
    MISSING_AFTER_S,
    SCHEDULED,
    SHOP,
    World,
)
from crossdock.client.airflow import AirflowApi
from crossdock.client.hub import HubRefused
from crossdock.commerce.inventory.schema import StockLevel
from crossdock.commerce.payments import facts as payment_facts
from crossdock.commerce.payments import repository as payments
from crossdock.commerce.payments.events import FactKind, PaymentFact
from crossdock.commerce.payments.model import FactOrigin
from crossdock.core.errors import HubError
from crossdock.core.ids import backfill_dag, delivery_dags, sync_dag
from crossdock.core.paths import path_of
from crossdock.db.database import Work
from crossdock.events import store as event_store
from crossdock.events.delivery.attempt import REFUSAL_CAUSES
from crossdock.events.model import STOCK_CHANGED, NewEvent
from crossdock.maintenance import alarm_conditions, card_scan, stale_streams
from crossdock.maintenance.airflow_health import PATIENCE as AIRFLOW_PATIENCE
from crossdock.maintenance.alarms import AlarmThresholds
from crossdock.maintenance.alerting.outage import PATIENCE
from crossdock.maintenance.stale_streams import ScheduledStream
from crossdock.observability import restarts
from crossdock.observability.alerts import Kind
from crossdock.stack import lifecycle, processes, starts
from crossdock.stack.home import home
from crossdock.stack.mail_systems import SENDGRID
from crossdock.sync import records
from crossdock.sync.model import SyncRequest

_LIMITS = AlarmThresholds()
_DATABASE_SERVER, _DATABASE = "the hub's database server", "the hub's database"
_INVENTORY = f"{BROKEN}.inventory"
_REFUSED = 12

#: Asked several times a second: since when the cause is there (seconds since 1970); None as long as it is not.
Question = Callable[[], AbstractContextManager[Work]]
Since = Callable[[Question], float | None]


@dataclass(frozen=True)
class Begun:
    """A cause that was brought about, or that will be there soon."""

    #: Of its alert; `*` is any text.
    subject: str
    since: Since


@dataclass(frozen=True)
class Cause:
    """One way to bring about a kind of alert."""

    #: In a sentence, for the report: what is done, and what was shortened.
    how: str
    bring_about: Callable[[World], Begun]


def _at(instant_s: float) -> Since:
    return lambda _: instant_s


def _now() -> Since:
    return _at(time.time())


def _when(holds: Callable[[Work], object]) -> Since:
    """Wait for a condition that comes with time: it is asked, as the alarms ask it, until it holds."""

    def look(question: Question) -> float | None:
        with question() as work:
            return time.time() if holds(work) else None

    return look


_FINISHED = b"SELECT extract(epoch FROM max(finished_at))::float8 FROM sync_run WHERE integration = %(of)s AND state = %(state)s"


def _ended(world: World, integration: str, state: str) -> Since:
    """Read when the last run of *integration* that ended so has ended."""
    ((at,),) = world.ask(_FINISHED, {"of": integration, "state": state})
    return _at(float(at))


def _run_held(world: World) -> Begun:
    world.shop.start(inventory=4)
    world.sync(_INVENTORY, {"full": True})
    return Begun(f"{_INVENTORY}*", _ended(world, BROKEN, "held"))


def _run_late(world: World) -> Begun:
    """Make each answer slow. The deadline is Airflow's: the average of the runs before, and six seconds."""
    api, dag_id = world.api(), sync_dag(LATE)
    world.sandbox.break_down("orders", [{"latency_ms": 25_000}], repeat=True)
    world.undo.callback(world.sandbox.heal)
    before = [run for run in _newest_runs(api, dag_id) if run["end_date"]]
    average_s = sum(_second(run["end_date"]) - _second(run["start_date"]) for run in before) / len(before)
    dag_run_id = api.trigger(dag_id, {"full": True})
    deadline_s = _second(api.dag_run(dag_id, dag_run_id)["queued_at"]) + average_s + 60 * DEADLINE_MINUTES
    return Begun(f"{dag_id}/{dag_run_id}", lambda _: deadline_s if time.time() > deadline_s else None)


def _newest_runs(api: AirflowApi, dag_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(path_of("dags", dag_id, "dagRuns"), limit=10, order_by="-start_date")[
        "dag_runs"
    ]
    return found


def _second(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _run_failed(world: World) -> Begun:
    world.shop.stop()
    world.sync(_INVENTORY, {"full": True})
    return Begun(f"{_INVENTORY}*", _ended(world, BROKEN, "failed"))


def _breaker_open(_: World) -> Begun:
    return Begun(BROKEN, _when(lambda work: BROKEN in alarm_conditions.broken(work, _LIMITS.broken)))


def _dag_failed(world: World) -> Begun:
    """Take the connection away, so that a backfill ends before the ledger knows of it."""
    api, dag_id = world.api(), backfill_dag(f"{BROKEN}.customers")
    api.delete(path_of("connections", BROKEN))
    api.wait_for_dag(dag_id)
    api.unpause(dag_id)
    day = (datetime.now(UTC) - timedelta(days=2)).date().isoformat()
    dag_run_id = str(
        api.post(path_of("dags", dag_id, "dagRuns"), {"logical_date": None, "partition_key": day, "conf": {}})[
            "dag_run_id"
        ]
    )
    while (run := api.dag_run(dag_id, dag_run_id))["state"] not in {"success", "failed"}:
        time.sleep(0.2)
    return Begun(dag_id, _at(datetime.fromisoformat(run["end_date"]).timestamp()))


def _rows_rejected(world: World) -> Begun:
    with world.store.transaction() as work:
        row = records.any_row(work, StockLevel.schema, BROKEN)
    assert row is not None  # noqa: S101  the hub was filled
    world.shop.control.set_fields("inventory", row["id"], {"quantityOnStock": 5, "availableQuantity": 25})
    world.sync(_INVENTORY, {"keys": [row["sku"]]})
    return Begun(_INVENTORY, _ended(world, BROKEN, "partial"))


def _stream_stale(world: World) -> Begun:
    world.api().patch(path_of("dags", sync_dag(SCHEDULED)), {"is_paused": True})
    integration, _, dataset = SCHEDULED.partition(".")
    one = ScheduledStream(integration, dataset, EVERY_MINUTE, (SyncRequest().lease_shard,))
    return Begun(SCHEDULED, _when(lambda work: stale_streams.stale(work, [one], datetime.now(UTC))))


_AS_BEFORE = b"""
INSERT INTO sync_run (run_id, integration, dataset, shard, mode, request, state, moves_watermark, read, unchanged, started_at,
                      finished_at)
SELECT 'bench-' || week, %(integration)s, 'orders', 'all', 'delta', '{}', 'done', true, records, records, at, at
  FROM generate_series(0, 4) AS week,
       LATERAL (SELECT CASE week WHEN 0 THEN 3 ELSE 1000 END AS records,
                       date_trunc('hour', clock_timestamp(), 'UTC') - interval '30 minutes' - week * interval '1 week' AS at)
"""


def _volume_changed(world: World) -> Begun:
    world.write(_AS_BEFORE, {"integration": BROKEN})
    return Begun(f"{BROKEN}.orders", _now())


def _declaration_invalid(world: World) -> Begun:
    (world.home / "declarations" / "bench_wms.yaml").write_text("version: 1\nstreams: nothing\n")
    return Begun("bench_wms", _now())


def _dead_letters(world: World) -> Begun:
    poison(world, 1)
    return Begun("availability", _when(lambda work: "availability" in alarm_conditions.dead_letters(work)))


def poison(world: World, number: int) -> None:
    """Append *number* events that no subscriber can process, each with a key of its own."""
    events = [
        NewEvent(
            source="/bench",
            type=STOCK_CHANGED,
            subject=f"inventory/bench-{index}",
            time=datetime.now(UTC),
            partition_key=f"BENCH-{index}",
            data=json.dumps(
                {"id": "bench", "version": time.time_ns(), "sku": f"BENCH-{index}", "available_quantity": "x"}
            ),
        )
        for index in range(number)
    ]
    with world.store.transaction() as work:
        event_store.append(work, events)


def _events_unread(world: World) -> Begun:
    """Stop the delivery, as somebody does who pauses its DAGs and ends their runs."""
    api = world.api()
    for dag_id in delivery_dags(2):
        api.patch(path_of("dags", dag_id), {"is_paused": True})
        world.undo.callback(api.unpause, dag_id)
        for run in api.get(path_of("dags", dag_id, "dagRuns"), state="running")["dag_runs"]:
            api.patch(path_of("dags", dag_id, "dagRuns", run["dag_run_id"]), {"state": "failed"})
    subscriber = "availability"
    return Begun(
        f"{subscriber}/*",
        _when(lambda work: alarm_conditions.unread(work, subscriber, [STOCK_CHANGED], _LIMITS.unread)),
    )


def _event_horizon(world: World) -> Begun:
    holder = world.store.another()
    opened = holder.transaction()
    opened.__enter__().execute(b"SELECT pg_current_xact_id()")

    def let_go() -> None:
        # Its server may have been killed since.
        with suppress(HubError):
            opened.__exit__(None, None, None)
        holder.close()

    world.undo.callback(let_go)
    return Begun(_DATABASE_SERVER, _when(lambda work: event_store.horizon_age_s(work) > _LIMITS.horizon_s))


_AGE_ATTEMPTS = (
    b"UPDATE attempt SET sent_at = sent_at - interval '11 minutes', open_until = open_until - interval '11 minutes'"
)
_AGE_LEGS = b"""
UPDATE payment_leg SET began_at = began_at - interval '16 minutes', called_at = called_at - interval '16 minutes',
       first_failed_at = first_failed_at - interval '16 minutes' WHERE outcome IN ('open', 'unknown')
"""


def _attempt_unresolved(world: World) -> Begun:
    """Lose the answers of a gateway."""
    key = f"sk_test_{secrets.token_hex(12)}"
    stripe = world.undo.enter_context(simulated("stripe", {"SANDBOX_STRIPE_KEY": key}))
    world.add_integration(GATEWAY, "stripe", {"base_url": stripe.url}, {"secret_key": key})
    _pay(world, "before")
    _pay(world, "disputed")
    stripe.break_down("*", [{"reset": "after"}], repeat=True)
    try:
        _pay(world, "unknown")
    except HubRefused as error:
        world.say(f"    {error}")
    world.write(_AGE_ATTEMPTS)
    return Begun(GATEWAY, _when(lambda work: alarm_conditions.unresolved_attempts(work, _LIMITS.unresolved)))


def _pay(world: World, reference: str) -> None:
    body = {
        "reference": f"bench-{reference}",
        "amount_minor": 4_990,
        "currency": "EUR",
        "payment_methods": {GATEWAY: "pm_card_visa"},
        "customer_reference": "customer-1",
        "return_url": "https://shop.example.com/checkout",
    }
    world.hub().post("/payments", body, timeout_s=300.0)


def _payment_unknown(world: World) -> Begun:
    world.write(_AGE_LEGS)
    return Begun(GATEWAY, _when(lambda work: alarm_conditions.unknown_payments(work, _LIMITS.payment_unknown)))


def _payment_doubled(world: World) -> Begun:
    said = _said(FactKind.AUTHORISED, "pi_bench_2")
    return _reported(world, "before", msgspec.structs.replace(said, amount_minor=4_990, currency="EUR"))


def _payment_disputed(world: World) -> Begun:
    said = _said(FactKind.DISPUTE_OPENED, "pi_bench_3")
    return _reported(world, "disputed", msgspec.structs.replace(said, due_at=said.occurred_at + timedelta(days=7)))


def _payment_taken_back(world: World) -> Begun:
    for kind in (FactKind.CAPTURE_PENDING, FactKind.CAPTURE_FAILED):
        said = msgspec.structs.replace(_said(kind, "pi_bench_4"), operation_ref="bench-capture", amount_minor=4_990)
        begun = _reported(world, "disputed", said)
    return begun


def _said(kind: FactKind, payment_ref: str) -> PaymentFact:
    return PaymentFact(
        kind=kind,
        gateway=GATEWAY,
        payment_ref=payment_ref,
        operation_ref=f"bench-{kind}",
        occurred_at=datetime.now(UTC),
    )


_PAYMENT = b"SELECT payment_id FROM payment WHERE reference = %(reference)s"


def _reported(world: World, reference: str, fact: PaymentFact) -> Begun:
    """Add what the gateway reports of a payment, as its webhook does."""
    ((payment_id,),) = world.ask(_PAYMENT, {"reference": f"bench-{reference}"})
    with world.store.transaction() as work:
        payments.add_fact(work, payment_id, fact, FactOrigin.EVENT)
        payment_facts.update_state(work, payment_id)
    return Begun(payment_id, _now())


def _webhooks_refused(world: World) -> Begun:
    refuse_webhooks(world, SHOP, times=_REFUSED)
    return Begun(SHOP, _now())


def refuse_webhooks(world: World, integration: str, *, times: int) -> None:
    """Post webhooks that are signed with another key."""
    api, key = world.api(), secrets.token_bytes(24)
    for _ in range(times):
        world.post_webhook(api, integration, {"type": "inventory.changed", "sku": "x"}, key)


_WITH_CARD = b"""
UPDATE sync_run SET error = 'the buyer paid with 4111 1111 1111 1111' WHERE run_id = (
    SELECT run_id FROM sync_run WHERE state = 'failed' ORDER BY started_at LIMIT 1)
"""


def _card_data_stored(world: World) -> Begun:
    world.write(_WITH_CARD)
    now = datetime.now(UTC)
    for hour in range(24):
        for _ in card_scan.scan(world.store, now.replace(hour=hour)):
            pass
    return Begun("sync_run.error", _now())


def _secret_expires(world: World) -> Begun:
    """Give credentials that say when they end."""
    claims = json.dumps({"exp": int(time.time()) + 3 * 86_400}).encode()
    token = ".".join(["e30", base64.urlsafe_b64encode(claims).decode().rstrip("="), secrets.token_hex(8)])
    crm = world.undo.enter_context(simulated("hubspot", {"SANDBOX_CRM_TOKEN": token}))
    world.add_integration("bench_crm", "hubspot", {"base_url": crm.url}, {"token": token})
    return Begun("bench_crm", _now())


def _disk_low(world: World) -> Begun:
    """Fill the volume up to the limit of this stack."""
    usage = os.statvfs(world.home)
    free, total = usage.f_bavail * usage.f_frsize, usage.f_blocks * usage.f_frsize
    limit = float(os.environ["HUB_DISK_FREE_PERCENT"]) / 100 * total
    file = world.home / "filler"
    world.undo.callback(file.unlink, missing_ok=True)
    with file.open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, max(int(free - limit), 0) + 1_000_000_000)
    return Begun(str(world.home / "hub" / "landing"), _now())


_GROW = b"""
CREATE TABLE bench_filler AS SELECT repeat(md5(number::text), 30) AS text FROM generate_series(1, 280000) AS number
"""


def _database_growth(world: World) -> Begun:
    world.write(_GROW)
    return Begun(_DATABASE, _now())


def _channel_down(world: World) -> Begun:
    """Add a route over a channel that takes nothing. It is down with the first message that it does not take."""
    receiver = TimedReceiver()
    with receiver:
        world.add_integration(DEAF, "signed_webhook", {"url": receiver.url}, {"secret": receiver.secret})
    world.hub().post("/alert-routes", {"name": "deaf", "integration": DEAF, "digest_over": None})
    return Begun(DEAF, _now())


_AGE_LEASE = b"""
UPDATE lease SET expires_at = clock_timestamp() - interval '6 minutes' WHERE integration = 'hub' AND dataset = 'alerts'
"""


def _sender_away(world: World) -> Begun:
    """Kill the sender, while nothing starts it anew, and start it later."""
    _leave_alone(world)
    os.kill(processes.alive()["alert-sender"].pid, 9)
    world.write(_AGE_LEASE)
    lifecycle.up(progress=lambda _: None)
    return Begun("the alert sender", _now())


def _source_clock(world: World) -> Begun:
    """Set the clock of the shop a quarter of an hour back, and read what changed since."""
    world.sync(LATE, {})
    world.sandbox.set_clock(-900)
    world.undo.callback(world.sandbox.set_clock, 0)
    world.sync(LATE, {})
    return Begun(f"{LATE}*", _ended(world, SHOP, "done"))


def _access_refused(world: World) -> Begun:
    """Refuse the credentials with which the changed records of webhooks are fetched, for a minute and a half."""
    world.sandbox.break_down("inventory", [{"status": 403}], repeat=True)
    world.undo.callback(world.sandbox.heal)
    return Begun(SHOP, _when(lambda work: alarm_conditions.refusing_sources(work, REFUSAL_CAUSES)))


#: Its breaker may be open by now: then the call certainly was not made, and the order would be cancelled.
_USE_UP_TRIES = b"""
UPDATE execution_step SET tries = 1000, state = 'unknown'
 WHERE step = 'authorise_payment' AND direction = 'act' AND state IN ('failed', 'unknown')
"""
_ORDER_WAITS = b"SELECT 1 FROM execution WHERE waits_for IS NOT NULL"


def _order_waits(world: World) -> Begun:
    """Place an order at the gateway whose answers are lost."""
    body = {
        "reference": "bench-order",
        "currency": "EUR",
        "email": "ada@example.com",
        "payment_methods": {GATEWAY: "pm_card_visa"},
        "return_url": "https://shop.example.com/checkout",
        "lines": [{"sku": world.any_sku(), "quantity": 1, "price_minor": 4_990}],
    }
    world.hub().post("/orders", body)

    def waits(work: Work) -> bool:
        work.execute(_USE_UP_TRIES)
        return work.execute(_ORDER_WAITS).fetchone() is not None

    return Begun("orders", _when(waits))


def _process_restarting(world: World) -> Begun:
    """Kill a process three times; the supervisor starts it anew each time."""
    killed: set[int] = set()
    until = time.monotonic() + MISSING_AFTER_S
    while len(killed) < restarts.ALARM_FROM and time.monotonic() < until:
        process = processes.alive().get(SENDGRID)
        if process and process.pid not in killed:
            os.kill(process.pid, 9)
            killed.add(process.pid)
        time.sleep(0.2)
    world.say(f"    killed {len(killed)} times")
    return Begun(SENDGRID, _when(lambda _: restarts.alarming(_restarts_of(SENDGRID), datetime.now(UTC))))


def _restarts_of(name: str) -> Sequence[restarts.Restart]:
    known = restarts.read(restarts.file_in(home())).get(name)
    return known.latest if known else ()


def _airflow_unreachable(world: World) -> Begun:
    """Kill a part of Airflow, while nothing starts it anew."""
    _leave_alone(world)
    os.kill(processes.alive()["triggerer"].pid, 9)
    silent_at_s = time.time() + AIRFLOW_PATIENCE.total_seconds()
    return Begun("triggerer", lambda _: silent_at_s if time.time() > silent_at_s else None)


def _leave_alone(world: World) -> None:
    """End the supervisors: what is killed from now on stays so until `up`."""
    processes.stop(starts.SUPERVISORS)
    # A start refuses a declaration with a mistake.
    (world.home / "declarations" / "bench_wms.yaml").unlink(missing_ok=True)


_AGE_HUB = b"UPDATE installation SET created_at = created_at - interval '2 hours', backed_up_at = NULL"


def _backup_old(world: World) -> Begun:
    world.write(_AGE_HUB)
    return Begun("the hub's backup", _now())


def _alert_routes_invalid(world: World) -> Begun:
    (world.home / "routes" / "bench.yaml").write_text("routes:\n  - name: ops\n    severity: bad\n")
    return Begun("bench.yaml", _now())


def _hub_database_down(world: World) -> Begun:
    """Kill the server, while nothing starts it anew. It counts as down when it has not answered for half a minute."""
    _leave_alone(world)
    os.kill(processes.alive()["postgres-hub"].pid, 9)
    down_at_s = time.time() + PATIENCE.total_seconds()
    return Begun(_DATABASE, _at(down_at_s))


#: In their order: what one leaves, the next ones use. What waits for a sync comes late, and the last ends the database.
CAUSES: Mapping[Kind, Cause] = {
    Kind.DATABASE_GROWTH: Cause("280,000 rows are written; the limit is 0.2 GB a day", _database_growth),
    Kind.DISK_LOW: Cause("a file fills the volume; the limit is 4 GB below what was free at the start", _disk_low),
    Kind.DECLARATION_INVALID: Cause("a file with a mistake is put beside the declarations", _declaration_invalid),
    Kind.ALERT_ROUTES_INVALID: Cause("a file with a mistake is put beside the routes", _alert_routes_invalid),
    Kind.WEBHOOKS_REFUSED: Cause(f"{_REFUSED} webhooks come with a wrong signature", _webhooks_refused),
    Kind.DEAD_LETTERS: Cause("an event that no subscriber can process is appended", _dead_letters),
    Kind.VOLUME_CHANGED: Cause("runs of the last hour and of the four weeks before are written", _volume_changed),
    Kind.STREAM_STALE: Cause("the DAG of a stream that is synced each minute is paused", _stream_stale),
    Kind.SECRET_EXPIRES: Cause("an integration is added whose token says that it ends in three days", _secret_expires),
    Kind.CHANNEL_DOWN: Cause(
        "a route is added over a channel that takes nothing; from its first message on", _channel_down
    ),
    Kind.ATTEMPT_UNRESOLVED: Cause(
        "the answers of a gateway are lost; the attempt is written 11 minutes into the past", _attempt_unresolved
    ),
    Kind.PAYMENT_UNKNOWN: Cause("the same payment, written 16 minutes into the past", _payment_unknown),
    Kind.PAYMENT_DOUBLED: Cause("the gateway's report of a second authorisation is applied", _payment_doubled),
    Kind.PAYMENT_DISPUTED: Cause("the gateway's report of a dispute is applied", _payment_disputed),
    Kind.PAYMENT_TAKEN_BACK: Cause(
        "the gateway's report that an accepted capture failed is applied", _payment_taken_back
    ),
    Kind.ORDER_WAITS: Cause(
        "an order is paid at the gateway whose answers are lost; its outcome and its tries are written", _order_waits
    ),
    Kind.BACKUP_OLD: Cause("the hub is written two hours older; a backup may be one hour old", _backup_old),
    Kind.PROCESS_RESTARTING: Cause("a simulated mail system is killed three times", _process_restarting),
    Kind.SOURCE_CLOCK: Cause(
        "the clock of the shop steps a quarter of an hour back, and a delta is read", _source_clock
    ),
    Kind.RUN_LATE: Cause(
        "each answer of a shop takes 25 s; the deadline is 6 s after the average of the runs before", _run_late
    ),
    Kind.ROWS_REJECTED: Cause("a stock level is spoilt at the source, and synced", _rows_rejected),
    Kind.RUN_HELD: Cause("a shop of 400 stock levels comes back with 4, and is read in full", _run_held),
    Kind.RUN_FAILED: Cause("a shop does not answer, and a sync ends after its retries", _run_failed),
    Kind.BREAKER_OPEN: Cause("the same shop, five minutes later", _breaker_open),
    Kind.CARD_DATA_STORED: Cause(
        "a card number is written into an error, and the scans of a day run at once, each with its hour",
        _card_data_stored,
    ),
    Kind.DAG_FAILED: Cause("the connection of the shop is removed, and a backfill is started", _dag_failed),
    Kind.ACCESS_REFUSED: Cause("the shop refuses the reads that webhooks ask for", _access_refused),
    Kind.SENDER_AWAY: Cause(
        "the sender is killed and started again; its lease is written six minutes into the past", _sender_away
    ),
    Kind.EVENTS_UNREAD: Cause("the DAGs of the delivery are paused, and their runs ended", _events_unread),
    Kind.EVENT_HORIZON: Cause("a transaction that writes stays open for 30 s", _event_horizon),
    Kind.AIRFLOW_UNREACHABLE: Cause(
        "the triggerer is killed, and nothing starts it anew; from 30 s later on", _airflow_unreachable
    ),
    Kind.HUB_DATABASE_DOWN: Cause("its server is killed; from 30 s later on, over the last resort", _hub_database_down),
}
#: These come at the end, each alone: while one holds, others cannot be measured.
LAST = (Kind.HUB_DATABASE_DOWN,)
