"""What an installation sets, by environment variables that begin with HUB_."""

from __future__ import annotations

from datetime import timedelta
from functools import cache

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from crossdock.core.limits import MAX_SHARDS


class Settings(BaseSettings):
    """Every setting has a default that works; secrets are not here but in Airflow's connections."""

    model_config = SettingsConfigDict(env_prefix="HUB_")

    #: Where pages land: `file:///…`, `s3://conn_id@bucket/…`, `gs://…`. All workers must reach it.
    landing_url: str = "file:///var/lib/crossdock/landing"
    #: Airflow connection ids.
    store_connection: str = "hub_db"
    commercetools_connection: str = "commercetools"
    #: When each entity is synced, as cron; empty for never by itself.
    sync_inventory_schedule: str = "*/15 * * * *"
    sync_product_schedule: str = "5 * * * *"
    sync_order_schedule: str = "*/10 * * * *"
    #: Among how many workers a sync is shared, each with a part of the ids (at most 16); 1 for no sharing.
    sync_inventory_parts: int = Field(default=1, ge=1, le=MAX_SHARDS)
    sync_product_parts: int = Field(default=1, ge=1, le=MAX_SHARDS)
    sync_order_parts: int = Field(default=1, ge=1, le=MAX_SHARDS)
    #: How much longer than usual a run may take before somebody is told.
    sync_deadline_minutes: float = 30
    #: How far a delta reads back behind the watermark, for changes that a source shows late.
    overlap_minutes: float = 5
    #: How many pages of a source are read at once. The client makes no more than 8 calls at once: with more, pages
    #: would only wait for each other.
    pages_in_flight: int = Field(default=8, ge=1, le=8)
    #: How long a run's lease lives without renewal: so long a dead worker keeps its entity from the next run.
    lease_life_s: float = 60
    #: Airflow's retries of a sync task, and the first wait between them.
    task_retries: int = 3
    retry_delay_s: float = 10

    #: Workers that deliver events, each a DAG and a slot of Airflow's, and the key partitions of each subscriber that they share.
    event_readers: int = 2
    event_partitions: int = 2
    #: How long a worker delivers before Airflow starts the next, and how long it may be silent before another takes over.
    event_reader_minutes: float = 15
    event_lease_life_s: float = 5
    #: How long the store keeps an event, by whole months; and how old its horizon may grow before somebody is told.
    event_retention_days: int = 365
    event_horizon_alarm_s: float = 30

    #: For how many days after its end each is kept: pages and batches of a run; its row in the ledger; runs of single
    #: records that webhooks asked for; what others call their events; closed letters, ended replays and refused
    #: webhooks; the place of a subscriber that no code knows any more.
    landing_days: int = Field(default=30, ge=1)
    ledger_days: int = Field(default=365, ge=1)
    pull_days: int = Field(default=7, ge=1)
    event_identity_days: int = Field(default=400, ge=1)
    closed_days: int = Field(default=90, ge=1)
    removed_subscriber_days: int = Field(default=30, ge=1)

    #: Airflow's simple auth manager has no developers: these of its people (names, comma between) are some of ours.
    developers: str = ""

    @property
    def developer_names(self) -> frozenset[str]:
        return frozenset(name.strip() for name in self.developers.split(",") if name.strip())

    def schedule_of(self, entity: str) -> str:
        schedule: str = getattr(self, f"sync_{entity}_schedule")
        return schedule

    def parts_of(self, entity: str) -> int:
        parts: int = getattr(self, f"sync_{entity}_parts")
        return parts

    @property
    def overlap(self) -> timedelta:
        return timedelta(minutes=self.overlap_minutes)

    @property
    def lease_life(self) -> timedelta:
        return timedelta(seconds=self.lease_life_s)

    @property
    def delivery_dags(self) -> list[str]:
        """The DAG of each worker of the delivery: `deliver_events`, `deliver_events_2` and so on."""
        return ["deliver_events", *(f"deliver_events_{number}" for number in range(2, self.event_readers + 1))]

    @property
    def event_reader_lifetime(self) -> timedelta:
        return timedelta(minutes=self.event_reader_minutes)

    @property
    def event_lease_life(self) -> timedelta:
        return timedelta(seconds=self.event_lease_life_s)


@cache
def settings() -> Settings:
    return Settings()
