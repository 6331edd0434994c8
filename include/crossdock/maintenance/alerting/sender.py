"""
Send the messages of alerts: plan, write, hand to a channel, write down what came of it.

A message is written before it is sent, and keeps its ID however often it is sent. So a sender that is killed anywhere
loses none, and a receiver that knows IDs has none twice. The order per channel stays while it is down.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from crossdock.core.errors import HubError, LeaseHeld, LeaseLost, Terminal, Transient
from crossdock.core.failpoints import failpoint
from crossdock.core.instants import utc_text
from crossdock.core.log import logger
from crossdock.core.printable import printable
from crossdock.db import leases
from crossdock.db.database import SharedStore, Store, StoreUnavailable, Work
from crossdock.db.leases import LeaseKey
from crossdock.maintenance.alerting import repository
from crossdock.maintenance.alerting.channels import OpenChannel
from crossdock.maintenance.alerting.deeds import LinksOf, no_links
from crossdock.maintenance.alerting.model import Severity
from crossdock.maintenance.alerting.plan import plan, settled
from crossdock.maintenance.alerting.repository import MessageState, StoredMessage, StoredRoute
from crossdock.observability import alerts
from crossdock.observability.alerts import Found, Kind

log = logger(__name__)

#: One sender at a time.
LEASE = LeaseKey("hub", "alerts")
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5.0, 60.0
#: As long as a channel may ask for.
_LONGEST_ASKED_S = 900.0
#: From so many attempts on a channel counts as down: one alone may be a moment's trouble.
_DOWN_FROM_ATTEMPT = 3
_LONGEST_ERROR = 500
_CHANNELS_AT_ONCE = 8
#: A restart takes less, and another sender takes over sooner.
_LONG_ABSENCE = timedelta(minutes=5)
_ITSELF = "the alert sender"


@dataclass(frozen=True)
class SenderConfig:
    #: The name of the installation in its messages.
    hub: str
    #: Where Airflow's pages are, for links; empty if nobody said so.
    airflow_url: str = ""
    #: Writes the links by which an alert is acknowledged or muted from a message.
    deeds_of: LinksOf = no_links
    lease_life: timedelta = timedelta(seconds=20)
    look_every_s: float = 1.0
    #: How often the alarms' conditions and the declared routes are checked.
    check_every_s: float = 10.0
    #: How long a round waits for the checks. They go on: Airflow's database may hang, and what is known must be sent.
    check_patience_s: float = 5.0


class AlertSender:
    """
    The loop of the process that sends alerts.

    Args:
        store: The hub's database, for the thread that runs the loop.
        open_channel: Opens a channel, with a store that threads share.
        check: What else is done at each check: the alarms, the declared routes. Its failure stops nothing.
        is_over: True when the process has to end.
        on_answer: Called whenever the database has answered.

    """

    def __init__(
        self,
        store: Store,
        open_channel: Callable[[Store], OpenChannel],
        config: SenderConfig,
        *,
        check: Sequence[Callable[[Store], None]] = (),
        is_over: Callable[[], bool] = lambda: False,
        on_answer: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._config, self._check, self._is_over, self._on_answer = (
            store,
            config,
            check,
            is_over,
            on_answer,
        )
        self._shared = SharedStore(store.dsn, schema=store.schema)
        self._open_channel = open_channel(self._shared)
        self._holder = f"alert-sender-{uuid.uuid4().hex[:12]}"
        self._token: int | None = None
        self._routes: Sequence[StoredRoute] = ()
        self._check_at = 0.0
        self._checked = store.another()
        self._checking: Future[None] | None = None
        self._sending: dict[str, Future[None]] = {}

    def run(self) -> None:
        """Send until it is over. Nothing but that ends it."""
        with ThreadPoolExecutor(_CHANNELS_AT_ONCE + 1, "channel") as pool:  # and one for the checks
            while not self._is_over():
                try:
                    self.work(pool)
                except LeaseHeld as error:
                    self._on_answer()
                    log.info("%s", error)
                    self._rest(self._config.lease_life.total_seconds() / 4)
                except LeaseLost as error:
                    self._token = None
                    log.warning("%s", error)
                except Transient as error:
                    log.warning("Sending of alerts waits: %s", error)
                except Exception:  # A defect here must not end the process that would tell of it.
                    log.exception("A round of sending alerts failed")
                self._rest(self._config.look_every_s)
        self.close()

    def work(self, pool: ThreadPoolExecutor) -> None:
        """
        Do one round: check, plan, and hand each channel's messages to a thread.

        Raises:
            LeaseHeld: another sender is at work.
            LeaseLost: another sender has taken over.
            StoreUnavailable: the hub's database failed.

        """
        self._hold_lease()
        self._check_in_time(pool)
        for integration in self._write_planned():
            running = self._sending.get(integration)
            if running is None or running.done():
                self._sending[integration] = pool.submit(self._drain, integration)
        self._on_answer()

    def wait(self) -> None:
        """Wait until each channel has sent what was due."""
        for running in self._sending.values():
            running.result()

    def close(self) -> None:
        """Free the lease for the next sender, and close the connections."""
        with suppress(HubError), self._store.transaction() as work:
            leases.release(work, LEASE, self._holder)
        for store in (self._store, self._checked, self._shared):
            store.close()

    def _rest(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._is_over() and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _hold_lease(self) -> None:
        with self._store.transaction() as work:
            if self._token is None:
                free_since = leases.free_since(work, LEASE)
                token = leases.take(work, LEASE, self._holder, self._config.lease_life)
                _tell_absence(work, free_since)
            else:
                token = self._token
                leases.renew(work, LEASE, self._holder, token, self._config.lease_life)
        self._token = token

    def _check_lease(self, work: Work) -> None:
        leases.check(work, LEASE, self._holder, self._token or 0)

    def _check_in_time(self, pool: ThreadPoolExecutor) -> None:
        """Start the checks, if it is time, and wait for them for a moment."""
        if time.monotonic() < self._check_at or (self._checking and not self._checking.done()):
            return
        self._check_at = time.monotonic() + self._config.check_every_s
        self._checking = pool.submit(self._check_all)
        futures.wait([self._checking], self._config.check_patience_s)

    def _check_all(self) -> None:
        for check in self._check:
            try:
                check(self._checked)
            except StoreUnavailable as error:
                log.warning("A check of the alert sender waits: %s", error)
            except Exception:  # A condition that cannot be checked must not keep the other alerts from being sent.
                log.exception("A check of the alert sender failed")

    def _write_planned(self) -> list[str]:
        """Write what is to be sent now, and name the channels with messages."""
        with self._store.transaction() as work:
            self._check_lease(work)
            now = repository.now(work)
            self._routes = repository.routes(work)
            self._close_unused(work)
            known, said = repository.alerts(work, now), repository.said(work, now)
            mutes = repository.mutes(work, now, ended=True)
            planned = plan(
                known,
                self._routes,
                mutes,
                said,
                hub=self._config.hub,
                now=now,
                airflow_url=self._config.airflow_url,
                deeds_of=self._config.deeds_of,
            )
            # A route that this version cannot read may have something to say of them later.
            if not repository.unreadable_routes(work):
                repository.mark_settled(work, settled(known, self._routes, mutes, said, now=now))
            for each in planned:
                repository.write(work, each)
            failpoint("alert.before_commit")
            channels = repository.open_channels(work)
        if planned:
            failpoint("alert.planned")
        return channels

    def _close_unused(self, work: Work) -> None:
        """Close the alerts of channels that no route uses any more: nothing is sent over them that could close one."""
        used = {each.route.integration for each in self._routes}
        for integration in alerts.open_of(work, Kind.CHANNEL_DOWN).keys() - used:
            alerts.close(work, Kind.CHANNEL_DOWN, subject=integration)

    def _drain(self, integration: str) -> None:
        """Send what is due over one channel, in order."""
        try:
            while not self._is_over() and (message := self._claim(integration)):
                self._send(message)
        except (Transient, LeaseLost) as error:
            log.warning("Sending over %s waits: %s", integration, error)
        except Exception:  # As in the loop.
            log.exception("Sending over %s failed", integration)

    def _claim(self, integration: str) -> StoredMessage | None:
        with self._shared.transaction() as work:
            self._check_lease(work)
            now = repository.now(work)
            return repository.claim(
                work,
                integration,
                held=[each.route.name for each in self._routes if each.route.holds(Severity.WARNING, now)],
                held_critical=[each.route.name for each in self._routes if each.route.holds(Severity.CRITICAL, now)],
            )

    def _send(self, message: StoredMessage) -> None:
        failpoint("alert.claimed")
        is_open = False
        try:
            channel = self._open_channel(message.integration)
            is_open = True
            channel.send(message.message, message.recipients)
        except HubError as error:
            # Paused, removed, without a connection: the message is not to blame, so it waits for a person.
            if is_open and isinstance(error, Terminal):
                return self._refused(message, error)
            return self._wait(message, error)
        except Exception as error:  # noqa: BLE001  a defect of a channel must not lose the message
            log.error("%s cannot send alerts: %s", message.integration, type(error).__name__)  # noqa: TRY400  it may name a secret
            return self._wait(message, Transient(f"{type(error).__name__} in the channel"))
        failpoint("alert.sent")
        with self._shared.transaction() as work:
            repository.end(work, message.message_no, MessageState.SENT)
            alerts.close(work, Kind.CHANNEL_DOWN, subject=message.integration)
        failpoint("alert.recorded")
        log.info("Sent %s to the route %s: %s", message.message_id, message.route, message.message.title)
        return None

    def _wait(self, message: StoredMessage, error: HubError) -> None:
        """Leave the channel alone for a while, and then send the same message first."""
        why, wait = _why(error), _wait_of(message.attempts, error)
        with self._shared.transaction() as work:
            repository.end(work, message.message_no, MessageState.WAITING, error=why, wait=wait)
            if message.attempts >= _DOWN_FROM_ATTEMPT:
                text = f"Alerts wait, because {message.integration} does not take them: {why}"
                _open_down(work, message, text)
        log.warning("%s waits for %.0f s: %s", message.message_id, wait.total_seconds(), why)

    def _refused(self, message: StoredMessage, error: Terminal) -> None:
        why = _why(error)
        with self._shared.transaction() as work:
            repository.end(work, message.message_no, MessageState.REFUSED, error=why)
            _open_down(work, message, f"{message.integration} refused an alert to the route {message.route}: {why}")
        log.warning("%s was refused: %s", message.message_id, why)


def _tell_absence(work: Work, free_since: datetime | None) -> None:
    """Say that nothing was sent for a while, if it was long: nobody else could."""
    now = repository.now(work)
    if free_since is None or now - free_since <= _LONG_ABSENCE:
        return
    minutes = (now - free_since).total_seconds() / 60
    text = (
        f"No alert was sent from {utc_text(free_since)} on, for {minutes:,.0f} minutes: {_ITSELF} did not run, or could "
        "not reach the hub's database. What began meanwhile is sent now"
    )
    alerts.add_past(work, Kind.SENDER_AWAY, _ITSELF, Found(text), since=free_since)
    log.warning("%s", text)


def _open_down(work: Work, message: StoredMessage, text: str) -> None:
    found = Found(text, integration=message.integration)
    alerts.add(work, kind=Kind.CHANNEL_DOWN, subject=message.integration, found=found)


def _why(error: HubError) -> str:
    # A mail server repeats the address that it refuses.
    return alerts.without_addresses(printable(str(error)))[:_LONGEST_ERROR]


def _wait_of(attempts: int, error: HubError) -> timedelta:
    """Double the wait with each attempt; wait longer where the channel asks for it."""
    asked = error.retry_in_s if isinstance(error, Transient) else None
    own = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** min(attempts - 1, 10))
    return timedelta(seconds=max(own, min(asked or 0.0, _LONGEST_ASKED_S)))
