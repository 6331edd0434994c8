"""The settings of an installation: environment variables that begin with HUB_."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from crossdock.core.cron import is_cron
from crossdock.core.errors import Terminal
from crossdock.core.ids import delivery_dags, prefixed
from crossdock.core.limits import MAX_SHARDS
from crossdock.core.pydantic_words import plain

#: A setting's name of before → its name now.
RENAMED = {
    "HUB_EVENT_READERS": "HUB_DELIVERY_WORKERS",
    "HUB_EVENT_READER_MINUTES": "HUB_DELIVERY_WORKER_MINUTES",
    "HUB_PULL_DAYS": "HUB_FETCH_RUN_DAYS",
    "HUB_COMMERCETOOLS_CONNECTION": "the connection that has the integration's ID: add an integration for another one",
    **{
        f"HUB_SYNC_{old}_{was}": f'"{now}" of HUB_STREAMS: {{"commercetools.{dataset}": {{"{now}": …}}}}'
        for old, dataset in (("INVENTORY", "inventory"), ("PRODUCT", "products"), ("ORDER", "orders"))
        for was, now in (("SCHEDULE", "schedule"), ("SHARDS", "shards"), ("PARTS", "shards"))
    },
}


#: Airflow splits its list of users at commas and colons.
_LOGIN = re.compile(r"[A-Za-z0-9._@-]{1,100}:(viewer|user|op|admin)")
_STREAM_ID = re.compile(r"[a-z][a-z0-9_]{1,62}\.[a-z][a-z0-9_]*")

#: HUB_STREAMS for a hub in which nothing runs on its own.
UNSCHEDULED = '{"*": {"schedule": ""}}'


class StreamSettings(BaseModel):
    """What an installation changes of one stream."""

    model_config = ConfigDict(extra="forbid")

    #: When it is synced, as cron; empty disables the schedule; unset leaves the connector's.
    schedule: str | None = None
    #: Among how many workers a sync is shared, each with a shard of the ids; 1 for no sharing.
    shards: int | None = Field(default=None, ge=1, le=MAX_SHARDS)
    #: The level of each validation rule that is not to have its own: rule → reject, warn or off.
    rules: dict[str, Literal["reject", "warn", "off"]] = {}

    @field_validator("schedule")
    @classmethod
    def _refuse_no_cron(cls, schedule: str | None) -> str | None:
        if schedule and not is_cron(schedule):
            raise ValueError(f"{schedule!r} is not a cron expression (expected something like */15 * * * *)")
        return schedule


class PriceScope(BaseModel):
    """For whom the price is that products show; a price for all of a kind is for each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    #: ISO 4217; unset: the only one in which a product has a price for this scope.
    currency: str | None = Field(default=None, pattern="^[A-Z]{3}$")
    #: ISO 3166 alpha-2; unset: prices for all countries.
    country: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    #: IDs of the platform; unset: prices for all groups and channels.
    customer_group: str | None = None
    channel: str | None = None


_RULE = "(fewest_parcels|priority|distance|cost)"
_RULES = f"^{_RULE}(,{_RULE})*$"


class Settings(BaseSettings):
    """Every setting has a working default; secrets are in Airflow's connections."""

    model_config = SettingsConfigDict(env_prefix="HUB_", env_ignore_empty=True)

    #: Where pages land: `file:///…`, `s3://conn_id@bucket/…`, `gs://…`. All workers must reach it.
    landing_url: str = "file:///var/lib/crossdock/landing"
    #: Begins the id of every DAG, pool and connection of the hub, for an Airflow that has others of the same names.
    id_prefix: str = ""
    #: The Airflow connection of the hub's database.
    store_connection: str = Field(default_factory=partial(prefixed, "hub_db"))
    #: Where the hub writes which integrations exist, and DAG files read it: `file:///…`, `s3://conn_id@bucket/…`,
    #: `gs://…`. All of Airflow's processes must reach it.
    definitions_url: str = "file:///var/lib/crossdock/definitions"
    #: What differs from the connectors' own schedules, shards and levels of validation rules, as JSON by stream:
    #: `{"commercetools.orders": {"schedule": "*/5 * * * *", "shards": 4, "rules": {"lines_have_a_name": "warn"}}}`. An
    #: empty schedule disables it, and the name `*` is for every stream that has none of its own; its rules hold where they
    #: exist. A start refuses the name of a stream or a rule that does not exist.
    streams: dict[str, StreamSettings] = {}
    #: The kind of an order's lines that are not goods, by SKU or by the slug of a custom line, as JSON:
    #: `{"POST": "postage", "gift-wrapping": "service"}`.
    line_kinds: dict[str, str] = {}
    #: Which price a product shows (`price_minor`), as JSON by integration, and `*` for the others:
    #: `{"shop_us": {"currency": "USD", "country": "US"}}`. By default the one for everybody, in every country.
    shown_prices: dict[str, PriceScope] = {}
    #: How much longer than usual a run may take before an alert is raised.
    sync_deadline_minutes: float = 30
    #: How far before the watermark a delta begins, for changes that a source shows late.
    overlap_minutes: float = 5
    #: How many pages of a source are read at once. The client makes no more than 8 calls at once: with more, pages
    #: would only wait for each other.
    pages_in_flight: int = Field(default=8, ge=1, le=8)
    #: How long a run's lease lives without renewal: a dead worker blocks the next run of its stream for this long.
    lease_life_s: float = 60
    #: How often Airflow retries a sync task.
    task_retries: int = 3
    #: The first delay between two retries of a sync task.
    retry_delay_s: float = 10

    #: How many workers deliver events, each with a DAG and a slot of Airflow's.
    delivery_workers: int = 2
    #: Into how many key partitions the events of each subscriber are divided.
    event_partitions: int = 2
    #: How long a worker delivers before Airflow starts the next.
    delivery_worker_minutes: float = 15
    #: How long a worker may send no heartbeat before another one takes over its key partitions.
    event_lease_life_s: float = 5
    #: How long the store keeps an event; whole months are dropped.
    event_retention_days: int = 365
    #: How old the horizon of the event store may grow before an alert is raised.
    event_horizon_alarm_s: float = 30

    #: How many times more or fewer records a stream may read, or reject, within an hour than in the same hour of the last four
    #: weeks, before an alert is raised.
    volume_factor: float = Field(default=3, gt=1)
    #: By how many records it has to differ at least for that.
    volume_min_records: int = Field(default=100, ge=1)
    #: With how much less free space (in percent) of a volume that the hub writes to an alert is raised.
    disk_free_percent: float = Field(default=10, ge=0, lt=100)
    #: By how much the hub's database may grow within a day before an alert is raised.
    database_growth_gb_per_day: float = Field(default=20, gt=0)
    #: How many hours old the newest backup may be before an alert is raised; 0 for no alert.
    backup_max_age_h: float = Field(default=0, ge=0)
    #: How many days before its credentials end an alert about an integration is raised.
    secret_expires_days: float = Field(default=14, ge=0)

    #: How long pages and batches of a run are kept after its end.
    landing_days: int = Field(default=30, ge=1)
    #: How long the ledger keeps a run.
    ledger_days: int = Field(default=365, ge=1)
    #: How long the ledger keeps a run that fetched single records for webhooks.
    fetch_run_days: int = Field(default=7, ge=1)
    #: How long the IDs of external events are kept: an event that comes again after that counts as new. Senders repeat one for up to
    #: 30 days.
    event_identity_days: int = Field(default=400, ge=31)
    #: How long closed dead letters, ended replays and refused webhooks are kept, whom a mail went to and its text, and the tokens and
    #: customers of payments.
    closed_days: int = Field(default=90, ge=1)
    #: How long the position of a subscriber is kept that was removed from the code.
    removed_subscriber_days: int = Field(default=30, ge=1)
    #: How long a call that writes is kept in the attempt log, once its outcome is known.
    attempt_days: int = Field(default=400, ge=1)
    #: How long payments are kept after their last change, with all that gateways said of them.
    payment_days: int = Field(default=3_650, ge=1)

    #: Whether stock is held before money is authorised (`reserve_first`), or the other way round (`pay_first`). An order goes on as
    #: it began.
    order_sequence: Literal["reserve_first", "pay_first"] = "reserve_first"
    #: What drives an order whose caller does not say: `events`, each step as soon as the one before is done, or `dag`, in batches by
    #: the DAG `place_order`. An order goes on as it was placed.
    order_driver: Literal["events", "dag"] = "events"
    #: When the DAG `place_order` takes the orders that wait for it, as cron. Unset: every minute where HUB_ORDER_DRIVER is
    #: `dag`; otherwise when somebody starts a run.
    order_schedule: str = ""
    #: What decides which warehouses an order is sent from, in this order (separated by `,`): `fewest_parcels`, `priority`,
    #: `distance` (the customer's own country), `cost`. One that is left out decides nothing.
    sourcing_rules: str = Field(default="fewest_parcels,priority,distance,cost", pattern=_RULES)

    #: When Airflow's tables and the logs of tasks are cleaned, as cron; empty: never by itself.
    clean_up_schedule: str = "17 3 * * *"
    #: How long Airflow keeps runs, with their tasks and logs; never shorter than HUB_LANDING_DAYS, within which a failed run can
    #: be cleared.
    airflow_days: int = Field(default=30, ge=1)
    #: The logs of the hub's and Airflow's processes, files or folders of `*.log` (separated by `:`), which the alert sender keeps
    #: below 20 MB for each process. Empty where something else rotates them, as Docker does.
    process_logs: str = ""

    #: Who sends the hub's mails: `The Shop <orders@shop.example>`. Without it none is sent.
    mail_from: str = ""
    #: The integrations that send mails, in the order in which they are asked (IDs, separated by commas); empty for all that
    #: can, by their IDs.
    mailers: str = ""

    #: The name of this installation in its alerts.
    name: str = "Crossdock"
    #: The file or the folder of the declared routes of alerts; empty for the folder `alert_routes` beside the DAG files.
    alert_routes: str = ""
    #: Where the alert sender tells that the hub's database does not answer: `https://whsec_…@host/path` (a signed webhook)
    #: or `smtps://user:password@host:465?to=ops@shop.example`. It has a secret: set it for that process only. Without it
    #: only the log of the process tells.
    alert_last_resort: SecretStr = SecretStr("")

    #: Where the alert sender asks whether Airflow is there: the address of its api-server, such as `http://api-server:8080`.
    #: Without it no alert says that Airflow is down.
    airflow_url: str = ""

    #: Airflow's simple auth manager has no developer role: these users (names, separated by commas) have it.
    developers: str = ""

    #: People who may log in to a local stack beside `admin`, `otto` (op) and `vera` (viewer), with their roles: `ada:user,ben:op`. The
    #: roles are viewer, user, op and admin. The next start of Airflow makes the logins, and they stay until it is set anew; the
    #: passwords are in `.hub/airflow-passwords.json`.
    logins: str | None = None

    @field_validator("streams")
    @classmethod
    def _refuse_no_id(cls, streams: dict[str, StreamSettings]) -> dict[str, StreamSettings]:
        for name in streams:
            if name != "*" and not _STREAM_ID.fullmatch(name):
                near = name.strip().lower()
                suggested = f". Did you mean {near!r}?" if near == "*" or _STREAM_ID.fullmatch(near) else ""
                raise ValueError(
                    f"{name!r} is not the ID of a stream (expected something like shop_eu.orders){suggested}"
                )
        return streams

    @field_validator("logins")
    @classmethod
    def _refuse_no_login(cls, logins: str | None) -> str | None:
        names = {"admin", "otto", "vera"}
        for login in filter(None, map(str.strip, (logins or "").split(","))):
            if not _LOGIN.fullmatch(login):
                raise ValueError(
                    f"{login!r} is not a login (expected NAME:ROLE, such as ada:user; roles: viewer, user, op, admin)"
                )
            name = login.partition(":")[0]
            if name in names:
                raise ValueError(f"{name} is there already: name each login once, and none of admin, otto and vera")
            names.add(name)
        return logins

    @field_validator("clean_up_schedule", "order_schedule")
    @classmethod
    def _refuse_no_cron(cls, schedule: str) -> str:
        if schedule and not is_cron(schedule):
            raise ValueError(f"{schedule!r} is not a cron expression (expected something like 17 3 * * *)")
        return schedule

    @property
    def airflow_kept_days(self) -> int:
        """How long Airflow's runs are kept: as long as they can be cleared, at least."""
        return max(self.airflow_days, self.landing_days)

    @property
    def order_cron(self) -> str | None:
        """When the DAG takes waiting orders; None: not by itself."""
        return self.order_schedule or ("* * * * *" if self.order_driver == "dag" else None)

    @property
    def process_log_places(self) -> list[Path]:
        """Files and folders of logs that the hub rotates."""
        return [Path(place) for place in self.process_logs.split(os.pathsep) if place]

    @property
    def developer_names(self) -> frozenset[str]:
        return frozenset(name.strip() for name in self.developers.split(",") if name.strip())

    @property
    def roles_of_logins(self) -> dict[str, str] | None:
        """Map the name of each further person to the role at Airflow; None where nothing is said of them."""
        if self.logins is None:
            return None
        logins = (login.strip().partition(":") for login in self.logins.split(",") if login.strip())
        return {name: role for name, _, role in logins}

    @property
    def sourcing_rule_names(self) -> list[str]:
        return self.sourcing_rules.split(",")

    @property
    def mailer_ids(self) -> list[str]:
        """The integrations that send mails, in order; empty for all that can."""
        return [name.strip() for name in self.mailers.split(",") if name.strip()]

    def of_stream(self, stream: str) -> StreamSettings:
        """Find what the installation changes of *stream*."""
        return self.streams.get(stream) or self.streams.get("*") or StreamSettings()

    def price_scope(self, integration: str) -> PriceScope:
        """Find the scope of the price that the products of *integration* show."""
        return self.shown_prices.get(integration) or self.shown_prices.get("*") or PriceScope()

    @property
    def overlap(self) -> timedelta:
        return timedelta(minutes=self.overlap_minutes)

    @property
    def lease_life(self) -> timedelta:
        return timedelta(seconds=self.lease_life_s)

    @property
    def delivery_dags(self) -> list[str]:
        """The DAG of each delivery worker."""
        return delivery_dags(self.delivery_workers)

    @property
    def delivery_worker_lifetime(self) -> timedelta:
        return timedelta(minutes=self.delivery_worker_minutes)

    @property
    def event_lease_life(self) -> timedelta:
        return timedelta(seconds=self.event_lease_life_s)


@cache
def settings() -> Settings:
    """
    Read the settings, once for each process.

    Raises:
        Terminal: a setting has its old name, or a value that is not valid; the message names each.

    """
    return read_settings()


def read_settings() -> Settings:
    """
    Read the settings as they are now.

    Raises:
        Terminal: as `settings`.

    """
    refuse_renamed(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        raise Terminal("\n".join(map(_mistake, error.errors()))) from error
    except SettingsError as error:
        raise Terminal(f"A setting is not valid JSON: {error}") from error


def _mistake(error: Mapping[str, Any]) -> str:
    name, *inside = map(str, error["loc"])
    place = f"HUB_{name.upper()}" + (f" ({', '.join(inside)})" if inside else "")
    return f"{place}: {plain(str(error['msg']))}"


def refuse_renamed(environment: Mapping[str, str]) -> None:
    """
    Refuse a setting under its old name: if it were ignored, the default would apply and nobody would notice.

    Raises:
        Terminal: all of them, each with its new name.

    """
    # By upper case: pydantic reads names in either case.
    # An empty one is none: Compose hands on every name that it knows.
    names = {name.upper() for name, value in environment.items() if value}
    found = [f"{old} is now {new}" for old, new in RENAMED.items() if old in names]
    if found:
        raise Terminal("\n".join(found))
