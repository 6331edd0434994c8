"""The chapters of the demo: each is a list of steps that can be run by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing

from crossdock.cli.demo.alert_steps import AlertSteps
from crossdock.cli.demo.event_steps import EventSteps
from crossdock.cli.demo.integration_steps import IntegrationSteps
from crossdock.cli.demo.mail_steps import MailSteps
from crossdock.cli.demo.order_steps import OrderSteps
from crossdock.cli.demo.page_steps import PageSteps
from crossdock.cli.demo.payment_steps import PaymentSteps
from crossdock.cli.demo.run import Act, DemoRun
from crossdock.cli.demo.sync_steps import SyncSteps
from crossdock.cli.demo.webhook_steps import WebhookSteps
from crossdock.cli.demo.workflow_steps import WorkflowSteps
from crossdock.client.sandbox import SandboxControl
from crossdock.db.database import Store

#: Chapter → what it shows. They run in this order.
CHAPTERS: Mapping[str, str] = {
    "syncs": "full and delta syncs, a rejected record, an outage and its recovery",
    "customers": "one dataset from two sources: the shop, and a CRM that one YAML file declares",
    "shops": "two shops of one vendor side by side",
    "payments": "a charge, a decline, a gateway that is down, and an answer that was lost, beside the providers' own ledgers",
    "orders": "five orders, each followed to its end: one confirmed, declined, timing out after the charge, killed midway, and cancelled",
    "mail": "a mail as it is received, a mail server that refuses, and an answer that was lost and found by a signed event",
    "alerts": "a source is down, and whoever is on call gets one mail; it is back, and one mail says so",
    "workflows": "a workflow in a file is tested, deployed and executed; one that fails is a dead letter, fixed and replayed",
    "events": "a webhook reaches a read model; a dead letter is edited and replayed",
    "webhooks": "the libraries of Standard Webhooks, Stripe and Slack sign and send (only by name: it installs them from PyPI)",
}
#: These run only if they are named: the whole demo needs no network.
BY_NAME = frozenset({"webhooks"})


def run_chapters(run: DemoRun, chosen: Sequence[str] = ()) -> None:
    """
    Run every step of the *chosen* chapters in turn and stop at the first that fails; if none is named, of all but `BY_NAME`.

    However it ends, the sandbox has no faults afterwards, and the systems that it started are stopped.
    """
    sandbox = SandboxControl(run.stack.sandbox_url)
    sandbox.heal()
    try:
        with (
            Store(run.stack.hub_dsn) as store,
            closing(OrderSteps(run, store)) as orders,
            closing(WebhookSteps(run, sandbox)) as webhooks,
        ):
            for name, act in _steps(run, store, sandbox, orders, webhooks, chapters_of(chosen)):
                if not run.take(name, act):
                    return
        run.take("Every page in Airflow's UI opens", PageSteps(run.stack.api()).every_page_opens)
    finally:
        sandbox.heal()


def chapters_of(chosen: Sequence[str]) -> Sequence[str]:
    """List the *chosen* chapters in their order; if none is named, all but `BY_NAME`."""
    return [name for name in CHAPTERS if name in (chosen or CHAPTERS.keys() - BY_NAME)]


def _steps(
    run: DemoRun,
    store: Store,
    sandbox: SandboxControl,
    orders: OrderSteps,
    webhooks: WebhookSteps,
    chapters: Sequence[str],
) -> Iterable[tuple[str, Act]]:
    syncs = SyncSteps(run, store, sandbox)
    integrations = IntegrationSteps(run, store)
    payments = PaymentSteps(run)
    mails = MailSteps(run)
    alerts = AlertSteps(run, syncs)
    workflows = WorkflowSteps(run)
    events = EventSteps(run.stack.api(), store, sandbox)
    steps: Mapping[str, Sequence[tuple[str, Act]]] = {
        "syncs": (
            ("every integration passes its connection test", syncs.registry_green),
            ("a bad record goes to quarantine", syncs.bad_row),
            ("it is fixed and replayed", syncs.correct_and_replay),
            ("a delta reads only what changed", syncs.delta),
            ("the source is down: the task fails", syncs.source_down),
            ("its circuit breaker is open: calls that would fail are not made", syncs.breaker_open),
            ("the source is back: the cleared task recovers", syncs.recovery),
            ("its circuit breaker has closed automatically", syncs.breaker_closed),
            ("second full syncs change nothing", syncs.nothing_changes),
        ),
        "customers": (("customers come from the shop and from a CRM, by one set of rules", integrations.two_sources),),
        "shops": (("two shops of one vendor are synced side by side", integrations.two_shops),),
        "payments": (
            ("a payment is authorised and captured, once", payments.charge),
            ("a declined payment is asked of no other gateway", payments.decline),
            ("a gateway is down: the other takes the payment", payments.fail_over),
            ("an answer is lost: the outcome is found out, and nobody is charged twice", payments.unknown),
        ),
        "orders": (
            ("a worker is killed while it charges: the order goes on, and is charged once", orders.killed),
            ("an order is confirmed: checked, held, paid, sold", orders.confirmed),
            ("an order that cannot be paid gives its stock back", orders.declined),
            ("the gateway charges and does not answer: one charge all the same", orders.timed_out),
            ("a confirmed order is cancelled: its money and its stock are given back", orders.cancelled),
            ("what was captured is what was confirmed, by the gateway's own ledger", orders.balanced),
        ),
        "mail": (
            ("a mail is sent, and received as it was written", mails.send),
            ("a mail server refuses the hub: the other mailer sends the mail", mails.fail_over),
            ("an answer is lost: the event says that the mail was sent, and nobody sends it twice", mails.unknown),
        ),
        "alerts": (
            ("a source is down: whoever is on call gets one mail", alerts.source_down),
            ("it is back: one mail says that it is over", alerts.recovery),
        ),
        "workflows": (
            ("a workflow in a file is tested, deployed and executed: COMPLETED", workflows.completed),
            ("a step that fails for good is a dead letter: fixed and replayed", workflows.failed_and_replayed),
        ),
        "events": (
            ("a stock change reaches the availability of its SKU", events.change_reaches_availability),
            ("a dead letter is edited and replayed", events.correct_an_event),
        ),
        "webhooks": (
            ("three senders' own libraries are there, beside the hub", webhooks.install),
            ("a shop signs with the library of Standard Webhooks: the stock level is fetched", webhooks.shop),
            (
                "Stripe's library signs: the hub knows of a capture that was made in Stripe's dashboard",
                webhooks.payment,
            ),
            ("Slack's library signs a command that somebody typed: the stock level is fetched", webhooks.command),
            ("each signs with a wrong secret: refused, and its developer reads why", webhooks.wrong_secret),
            ("each sends what means nothing here: accepted, and counted", webhooks.unused),
            ("each sends a delivery fifty times at once: one event, and one effect", webhooks.copies),
        ),
    }
    # Every chapter needs the shop's records; a full sync of records that are there changes nothing.
    yield "full syncs load every product, order and stock level", syncs.full_syncs
    for chapter in chapters:
        yield from steps[chapter]
