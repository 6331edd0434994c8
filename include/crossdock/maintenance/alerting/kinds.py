"""The kinds of alerts: how grave each is, what the hub does meanwhile, and what a person does next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crossdock.maintenance.alerting.model import Severity
from crossdock.observability.alerts import Kind


@dataclass(frozen=True, kw_only=True)
class AlertKind:
    severity: Severity
    #: What the hub does by itself while the alert is open.
    hub_does: str
    #: What a person does next.
    next_step: str
    #: The command of the next step, with `{subject}` or `{stream}` for those of the alert; empty if there is none.
    command: str = ""
    #: For the reference: as long as what the alert is open, what its subject is, and a message as it may be.
    open_while: str = ""
    about: str = ""
    example: str = ""


_OTHER = AlertKind(
    severity=Severity.WARNING,
    hub_does="The hub goes on with everything else.",
    next_step="Look at the alert.",
    command="./hub alerts list",
)

_OF_SYNCS: Mapping[str, AlertKind] = {
    Kind.RUN_FAILED: AlertKind(
        severity=Severity.WARNING,
        open_while="no later run of the same sync, or of the same shard or day of it, has succeeded",
        about="what the run holds its lease on",
        example="Run orders-20261121T093000-1f2e3d4c failed: GET /orders at shop.example answered HTTP 503",
        hub_does="What the run loaded stays. The next run reads what it did not load.",
        next_step="Read the end of the failed task's log; once the cause is gone, clear the task or wait for the next run.",
        command="./hub runs --stream {stream}",
    ),
    Kind.RUN_HELD: AlertKind(
        severity=Severity.WARNING,
        open_while="no later run of the same sync has succeeded",
        about="what the run holds its lease on",
        example="Run inventory-20261121T093000-1f2e3d4c of shop_eu.inventory is on hold: it read 12 records of 48,000",
        hub_does="Nothing of the run is loaded, and nothing is deleted.",
        next_step="Check the source. If it really shrank, sync it again with --full --allow-shrink.",
        command="./hub runs --stream {stream}",
    ),
    Kind.RUN_LATE: AlertKind(
        severity=Severity.WARNING,
        open_while="the DAG run works `HUB_SYNC_DEADLINE_MINUTES` longer than usual; a failed run is `run_failed`",
        about="the DAG run",
        example="sync_shop_eu_orders run scheduled__2026-11-21T09:30:00 has been running 30 minutes longer than usual",
        hub_does="The run goes on. The next one waits for it.",
        next_step="Look at what its task waits for: a slow source, a rate limit, a busy database.",
        command="./hub runs --stream {stream}",
    ),
    Kind.DAG_FAILED: AlertKind(
        severity=Severity.WARNING,
        open_while="a DAG of the delivery or of a backfill has failed, and has not succeeded since",
        about="the DAG",
        example="The DAG deliver_events failed: the hub's database cannot be reached",
        hub_does="Airflow starts the next run at its time. Events wait in the store, and no watermark moves.",
        next_step="Read the end of the failed task's log; it says what to do.",
        command="./hub status",
    ),
    Kind.ROWS_REJECTED: AlertKind(
        severity=Severity.WARNING,
        open_while="records of the stream are in quarantine",
        about="the stream",
        example="shop_eu.customers has 12 records in quarantine: 9 email_is_valid, 3 country_is_known",
        hub_does="All other records are loaded. A newer version that passes replaces the one in quarantine.",
        next_step="Correct them at the source, or edit and replay them, or discard them.",
        command="./hub quarantine list --stream {subject}",
    ),
    Kind.STREAM_STALE: AlertKind(
        severity=Severity.WARNING,
        open_while="no sync of the stream has ended well within twice its schedule, whatever the reason: failed, paused, not "
        "started. A stream that never ran counts from when the hub first saw its schedule; a run that is due now has half "
        "an interval, 15 minutes at most",
        about="the stream",
        example="No sync of shop_eu.orders has ended well since 2026-11-21 08:30 UTC, and its schedule is */15 * * * *",
        hub_does="What the hub has of the stream grows old. The next run that ends well reads all that changed meanwhile.",
        next_step="See whether its DAG or its integration is paused, and whether its last run failed.",
        command="./hub runs --stream {subject}",
    ),
    Kind.VOLUME_CHANGED: AlertKind(
        severity=Severity.WARNING,
        open_while="the records that the stream read in its last full hour, or the share of them that was rejected, differ from "
        "the same hour of the last four weeks by more than `HUB_VOLUME_FACTOR` and `HUB_VOLUME_MIN_RECORDS`. Three weeks are "
        "needed at least; a full sync is compared with full ones; fewer rejected records than usual open no alert",
        about="the stream",
        example="shop_eu.orders, Sat 09:00 to 10:00 UTC: 40 records were read; usually 1,200",
        hub_does="The records are loaded as always.",
        next_step="Find out at the source whether it is true: a sale, a changed filter, a feed that broke.",
        command="./hub runs --stream {subject}",
    ),
    Kind.SOURCE_CLOCK: AlertKind(
        severity=Severity.WARNING,
        open_while="the clock of a source has stepped back, and no later sync has found that it went on evenly",
        about="what the run holds its lease on",
        example="The clock of shop_eu stepped back: it shows 2026-11-21T09:15:00.000Z, 900 s less than expected. shop_eu.orders is "
        "read again from 2026-11-21T09:00:00.000Z",
        hub_does="It takes the watermark back and reads again from the earliest instant that a change may be dated with. No change "
        "is lost.",
        next_step="Have whoever runs the system check its time service. A clock that stepped back and returned between two syncs "
        "shows nothing: then backfill the day.",
        command="./hub runs",
    ),
    Kind.DECLARATION_INVALID: AlertKind(
        severity=Severity.WARNING,
        open_while="a file in `dags/integrations` has a mistake",
        about="the declaration",
        example="The declaration wms.yaml is not valid; its first mistake is in line 14. Its last valid version runs on, if it had one",
        hub_does="The last valid version runs on. A file that never was valid has no DAG.",
        next_step="Correct the file; the command prints every mistake with its line.",
        command="./hub integration validate dags/integrations/{subject}.yaml",
    ),
}

_OF_EVENTS: Mapping[str, AlertKind] = {
    Kind.DEAD_LETTERS: AlertKind(
        severity=Severity.WARNING,
        open_while="a subscriber has open dead letters",
        about="the subscriber",
        example="availability has 3 dead letters: 2 BadEvent, 1 KeyError",
        hub_does="All other events are delivered. Later events of the same key are delivered, too.",
        next_step="Find the cause, then replay or discard them.",
        command="./hub dead-letters list",
    ),
    Kind.EVENTS_UNREAD: AlertKind(
        severity=Severity.CRITICAL,
        open_while="nobody has read a key partition for 30 s, and events wait in it",
        about="the partition",
        example="No consumer has read availability/0 for 45 s, and events are waiting. Check that the DAGs deliver_events run",
        hub_does="No event is lost: they wait in the store.",
        next_step="Check that Airflow's scheduler runs and that the DAGs deliver_events are not paused.",
        command="./hub events status",
    ),
    Kind.EVENT_HORIZON: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a write transaction has been open for `HUB_EVENT_HORIZON_ALARM_S`. One of another database role is visible to "
        "`pg_monitor` only; without that role it opens when an event has waited that long",
        about="the server",
        example="A transaction on the hub's database server has been open for 95 s: no newer event is delivered. To find it: "
        "pg_stat_activity where backend_xid is not null",
        hub_does="No event is lost: they wait behind the transaction.",
        next_step="Find the transaction in pg_stat_activity and end it.",
    ),
}

_OF_CALLS: Mapping[str, AlertKind] = {
    Kind.ATTEMPT_UNRESOLVED: AlertKind(
        severity=Severity.CRITICAL,
        open_while="nobody has known for 10 minutes whether a call that writes had its effect",
        about="the integration",
        example="The outcome of calls that write to acme is unknown: 2, the oldest for 14 minutes. Such a call is not sent again "
        "until its outcome is known",
        hub_does="Such a call is not sent again until its outcome is known.",
        next_step="Look in the other system, and say what became of the call.",
        command="./hub attempts list",
    ),
    Kind.PAYMENT_UNKNOWN: AlertKind(
        severity=Severity.CRITICAL,
        open_while="nobody has known for 15 minutes what became of a payment; the message names one",
        about="the gateway",
        example="What became of payments at stripe is unknown: 1, the oldest for 16 minutes (order-4711). No other gateway is asked "
        "for them until it is known",
        hub_does="No other gateway is asked for these payments.",
        next_step="Look at the gateway, and say what became of each.",
        command="./hub payments list --unresolved",
    ),
    Kind.ORDER_WAITS: AlertKind(
        severity=Severity.CRITICAL,
        open_while="an order, or a workflow, has a step, or an undo, of which nobody knows the outcome, or that does not succeed",
        about="`orders`",
        example="2 orders or workflows cannot go on: nobody knows what became of a step, or it does not succeed",
        hub_does="It neither repeats such a step nor undoes the steps before it. All others go on.",
        next_step="Remove the cause and retry the step, or look the step up in the other system, and decide.",
        command="./hub decisions list",
    ),
    Kind.PAYMENT_DOUBLED: AlertKind(
        severity=Severity.CRITICAL,
        open_while="several authorisations of a payment hold or have taken money",
        about="the payment",
        example="The payment pay_1f2e3d4c (order-4711) has 2 authorisations that hold or have taken the customer's money. Void or "
        "refund all but one",
        hub_does="Captures go to the first authorisation that was not voided.",
        next_step="Void or refund all but one at their gateways.",
        command="./hub payments show {subject}",
    ),
    Kind.PAYMENT_DISPUTED: AlertKind(
        severity=Severity.WARNING,
        open_while="a dispute of a payment can be answered; the message has the deadline",
        about="the payment",
        example="The payment pay_1f2e3d4c (order-4711) is disputed at stripe. It can be answered there until 2026-12-05 00:00 UTC; "
        "afterwards the money is lost",
        hub_does="Nothing: it answers no dispute.",
        next_step="Answer it in the gateway's dashboard before the deadline.",
        command="./hub payments show {subject}",
    ),
    Kind.PAYMENT_TAKEN_BACK: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a gateway has accepted a capture, or said that it was done, and it failed since; until it is captured again, the "
        "authorisation is voided, or the order is cancelled",
        about="the payment",
        example="The gateway took back a capture of the payment pay_1f2e3d4c (order-4711): 2,500 EUR (minor units) that the hub "
        "counted on are not paid",
        hub_does="The books have it. The order stays as it is: it may be on its way to the customer.",
        next_step="Capture it again, or cancel the order.",
        command="./hub payments show {subject}",
    ),
    Kind.BREAKER_OPEN: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a circuit breaker has not been closed for 5 minutes; the message has the cause",
        about="the integration",
        example="shop_eu is down: GET /orders at shop.example answered HTTP 503. Its circuit breaker blocks most calls",
        hub_does="Most calls are not made. One now and then finds out whether the system is back.",
        next_step="Ask whoever runs the system.",
        command="./hub integration show {subject}",
    ),
    Kind.ACCESS_REFUSED: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a system refuses the hub for good while events wait for it: its credentials (HTTP 401 or 403, no token), or "
        "an address or a connection that may not be used",
        about="the integration",
        example="12 events of shop_eu wait, because it cannot be called: shop_eu refused the request with HTTP 401: GET /orders: "
        "invalid_token. Check the id and the secret of the connection",
        hub_does="No event becomes a dead letter. One now and then finds out whether the system accepts the hub again, and one at "
        "once when the credentials are changed with the hub; then all are delivered in order.",
        next_step="Get new credentials and enter them; or correct the address.",
        command="./hub integration rotate {subject}",
    ),
    Kind.WEBHOOKS_REFUSED: AlertKind(
        severity=Severity.WARNING,
        open_while="10 webhooks of an integration, or for a workflow, were refused within the hour",
        about="the integration, or `workflows/` and the webhook",
        example="12 webhooks of shop_eu were refused within an hour: invalid signature. Compare the key in the connection "
        "shop_eu_webhook with the sender's",
        hub_does="A refused webhook is not stored. Syncs read what it would have said; a workflow that it would have started "
        "starts when it is sent again.",
        next_step="Compare the key with the sender's; where card data were refused, have the sender leave them out.",
        command="./hub integration show {subject}",
    ),
    Kind.CARD_DATA_STORED: AlertKind(
        severity=Severity.CRITICAL,
        open_while="the scans of a day found card numbers or security codes in what is stored; never shown",
        about="table and column",
        example="Card data are stored in record_history.document: 3 rows of the part that was read",
        hub_does="Every column is scanned once a day. Card data that arrive are refused or removed before they are stored.",
        next_step="Delete them there and at their source, and find out how they came in.",
    ),
    Kind.SECRET_EXPIRES: AlertKind(
        severity=Severity.WARNING,
        open_while="credentials end within `HUB_SECRET_EXPIRES_DAYS`, or have ended. Known are a JSON Web Token, a client "
        "certificate (`cert_file`), and the field `expires_at` of a connection. What is entered in the hub counts at once; what is "
        "changed in Airflow is seen within minutes, 20 connections every ten seconds",
        about="the integration",
        example="The credentials of crm end on 2026-12-05 00:00 UTC (cert_file)",
        hub_does="It uses them until they are refused. Tokens that it fetches itself are renewed and open no alert.",
        next_step="Get new credentials and enter them.",
        command="./hub integration rotate {subject}",
    ),
}

_OF_THE_HUB: Mapping[str, AlertKind] = {
    Kind.DISK_LOW: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a volume has less than `HUB_DISK_FREE_PERCENT` free space: that of the landing zone, of the definitions, or of a "
        "database on the same machine. It closes at a fifth more",
        about="the folder",
        example="The volume of /var/lib/crossdock/landing has 9.1 GB free of 250.0 GB (4 %)",
        hub_does="It writes until the volume is full; then runs fail, and nothing that was written is lost.",
        next_step="See what would be removed, and remove it; then make room, or shorten HUB_LANDING_DAYS.",
        command="./hub clean --dry-run",
    ),
    Kind.DATABASE_GROWTH: AlertKind(
        severity=Severity.WARNING,
        open_while="the hub's database has grown by more than `HUB_DATABASE_GROWTH_GB_PER_DAY` within a day; the examples are its "
        "largest tables",
        about="the hub's database",
        example="The hub's database has grown by 34.2 GB within a day, to 180.4 GB",
        hub_does="It goes on. What is past its retention is removed once an hour.",
        next_step="Look at the largest tables; see what is past its time, shorten a retention, or make room.",
        command="./hub clean --dry-run",
    ),
    Kind.BACKUP_OLD: AlertKind(
        severity=Severity.CRITICAL,
        open_while="the newest backup is older than `HUB_BACKUP_MAX_AGE_H`, where that is set",
        about="the hub's backup",
        example="The newest backup is of 2026-11-20 03:00 UTC",
        hub_does="It goes on. What came after that backup would be lost with its disk.",
        next_step="See why the scheduled backup fails, and make one.",
        command="./hub backup DIR --keep 7",
    ),
    Kind.CHANNEL_DOWN: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a channel does not take the messages of alerts",
        about="the integration of the channel",
        example="Alerts wait, because slack_ops does not take them: POST / at hooks.example answered HTTP 503",
        hub_does="No message is lost: they wait in order and are sent when the channel is back.",
        next_step="Test the route; if the channel's login was refused, enter it again.",
        command="./hub integration test {subject}",
    ),
    Kind.SENDER_AWAY: AlertKind(
        severity=Severity.WARNING,
        open_while="the alert sender was away for more than five minutes. It is sent once, as closed, when it is back",
        about="the alert sender",
        example="No alert was sent from 2026-11-21T22:04:11Z on, for 94 minutes: the alert sender did not run, or could not reach "
        "the hub's database. What began meanwhile is sent now",
        hub_does="What began meanwhile is sent now, and what came and went meanwhile, too.",
        next_step="Find out who stopped it. Run a second one on another machine: it takes over within 20 seconds.",
        command="./hub status",
    ),
    Kind.ALERT_ROUTES_INVALID: AlertKind(
        severity=Severity.WARNING,
        open_while="a file of routes of alerts has a mistake, the place that `HUB_ALERT_ROUTES` names is not there, or this version "
        "cannot read a route that another has stored",
        about="the file, or the route",
        example="ops.yaml: line 5: /routes/0/severity: must be 'critical', 'warning' or 'info'",
        hub_does="The routes that the file has declared before stay as they were.",
        next_step="Correct the file, or add the route again.",
        command="./hub alerts routes list",
    ),
    Kind.HUB_DATABASE_DOWN: AlertKind(
        severity=Severity.CRITICAL,
        open_while="the hub's database has not answered for 30 seconds, or takes no writes (its volume is full). It is sent over `HUB_ALERT_LAST_RESORT` alone",
        about="the hub's database",
        example="the hub's database does not answer: nothing is synced, delivered or sent",
        hub_does="Nothing is read, delivered or sent until it is back; then all goes on where it stopped.",
        next_step="Start the database, or make room on its volume.",
        command="./hub doctor",
    ),
    Kind.AIRFLOW_UNREACHABLE: AlertKind(
        severity=Severity.CRITICAL,
        open_while="Airflow's api-server has not answered for 30 seconds, or its scheduler, dag-processor or triggerer has sent no "
        "heartbeat for 30 seconds, or its metadata database does not answer. The alert sender asks `HUB_AIRFLOW_URL`",
        about="the part of Airflow",
        example="Airflow's scheduler has sent no heartbeat for 42 s",
        hub_does="Without the api-server, webhooks are not taken, and tasks that run end after "
        "`AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS` heartbeats. Without the scheduler nothing new starts; what runs goes on.",
        next_step="Start the part again, and read the end of its log.",
        command="./hub status",
    ),
    Kind.PROCESS_RESTARTING: AlertKind(
        severity=Severity.CRITICAL,
        open_while="a process of a local stack was started anew three times within ten minutes, and has not stayed up for ten "
        "minutes since",
        about="the process",
        example="scheduler does not stay up: it was started anew 3 times within 10 minutes, the last time because it ended",
        hub_does="It starts the process again and again, at most once a minute. All else goes on.",
        next_step="Read the end of its log in logs/ of HUB_HOME.",
        command="./hub doctor",
    ),
}

KINDS: Mapping[str, AlertKind] = {**_OF_SYNCS, **_OF_EVENTS, **_OF_CALLS, **_OF_THE_HUB}


def kind_of(kind: str) -> AlertKind:
    """Describe a *kind* of alert; one that the hub does not know yet is a warning."""
    return KINDS.get(kind, _OTHER)
