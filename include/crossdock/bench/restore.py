"""How long a backup, a restore and what follows it take, with the shop of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import msgspec

from crossdock.bench.report import Goal, Say, Setup, Table, goals_table, markdown, setup
from crossdock.bench.stack.steps import destroy, own_home
from crossdock.bench.sync.database import server_version
from crossdock.bench.sync.processes import ProgramFailed
from crossdock.client.dag_runs import wait_for_end
from crossdock.core.ids import sync_dag
from crossdock.db.database import Store
from crossdock.stack import lifecycle
from crossdock.stack.backup import create
from crossdock.stack.backup import restore as restoring
from crossdock.stack.home import home
from crossdock.stack.lifecycle import Stack

_STREAMS = ("commercetools.products", "commercetools.orders", "commercetools.inventory")
_SYNC_TIMEOUT_S = 3_600.0
#: From an empty home to all streams synced.
WANTED_S = 900.0

_HELD = b"""
SELECT (SELECT count(*) FROM product), (SELECT count(*) FROM sales_order), (SELECT coalesce(sum(line_count), 0)::bigint FROM sales_order),
       (SELECT count(*) FROM inventory), (SELECT count(*) FROM event), (SELECT count(*) FROM quarantine_item WHERE state = 'open')
"""


class Held(msgspec.Struct, frozen=True):
    """What a hub holds."""

    products: int
    orders: int
    order_lines: int
    stock_levels: int
    events: int
    in_quarantine: int


class RestoreOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The result: seconds of each step, in order."""

    setup: Setup
    airflow: str
    held: Held
    held_after: Held
    backup_bytes: int
    fill_s: float
    backup_s: float
    restore_s: float
    start_s: float
    sync_s: float

    @property
    def recovery_s(self) -> float:
        return self.restore_s + self.start_s + self.sync_s

    @property
    def goals(self) -> list[Goal]:
        lost = sum(
            max(was - now, 0)
            for was, now in zip(*map(msgspec.structs.astuple, (self.held, self.held_after)), strict=True)
        )
        return [
            Goal(
                what="restore, start and syncs, together", figure=round(self.recovery_s, 1), limit=WANTED_S, unit=" s"
            ),
            Goal(
                what="records, lines, events and open items that are missing afterwards",
                figure=float(lost),
                limit=0,
                unit="",
            ),
        ]

    @property
    def tables(self) -> list[Table]:
        names = [field.replace("_", " ") for field in Held.__struct_fields__]
        steps = [
            ("full syncs of an empty hub", self.fill_s),
            ("./hub backup, while the stack runs", self.backup_s),
            ("./hub restore", self.restore_s),
            ("./hub up", self.start_s),
            ("a sync of each stream", self.sync_s),
        ]
        return [
            goals_table(self.goals),
            Table("Steps", ["step", "seconds"], [[name, f"{seconds:.1f}"] for name, seconds in steps]),
            Table(
                "What the hub holds",
                ["", "before the backup", "after the restore and the syncs"],
                [
                    [name, f"{was:,}", f"{now:,}"]
                    for name, was, now in zip(
                        names, msgspec.structs.astuple(self.held), msgspec.structs.astuple(self.held_after), strict=True
                    )
                ],
            ),
        ]

    @property
    def page(self) -> str:
        made = self.setup
        intro = [
            f"Measured {made.measured_at} on {made.machine}; PostgreSQL {made.postgres}, Airflow {self.airflow}.",
            (
                f"A stack loads the shop of a file and is backed up while it runs ({self.backup_bytes / 1e6:,.0f} MB). Then it is "
                "stopped, its home is deleted, and the backup is restored into an empty one and started. A sync of each stream "
                "reads what the source has changed since the backup."
            ),
        ]
        return markdown("Restore", intro, made.command, self.tables, [])


def measure(dataset: Path, command: str, say: Say) -> RestoreOutcome:
    """Load the shop of *dataset* into a stack of its own, back it up, restore it and start it again."""
    seconds: dict[str, float] = {}
    with own_home() as folder:
        running = lifecycle.up(progress=say, shop=lifecycle.shop_of(dataset))
        with _timed("fill", seconds, say):
            _sync(running, say, full=True)
        held = _held(running)
        with _timed("backup", seconds, say):
            written = create.back_up(folder / "backups", progress=_steps(say))
        lifecycle.down()
        destroy(home())
        with _timed("restore", seconds, say):
            restoring.restore(written.folder, progress=_steps(say))
        with _timed("start", seconds, say):
            running = lifecycle.up(progress=say)
        with _timed("sync", seconds, say):
            _sync(running, say, full=False)
        return RestoreOutcome(
            setup=setup(command, server_version(running.hub_dsn)),
            airflow=metadata.version("apache-airflow"),
            held=held,
            held_after=_held(running),
            backup_bytes=written.manifest.size_bytes,
            **{f"{name}_s": took for name, took in seconds.items()},
        )


@contextmanager
def _timed(name: str, into: dict[str, float], say: Say) -> Iterator[None]:
    began = time.monotonic()
    yield
    into[name] = time.monotonic() - began
    say(f"{name}: {into[name]:.1f} s")


def _steps(say: Say) -> Callable[..., None]:
    """Say each step once; how far it has come is for a bar."""
    last: list[str] = []

    def tell(step: str, **_: object) -> None:
        if last != [step]:
            last[:] = [step]
            say(step)

    return tell


def _sync(running: Stack, say: Say, *, full: bool) -> None:
    api = running.api()
    for stream in _STREAMS:
        say(f"Syncing {stream}")
        dag = sync_dag(stream)
        api.wait_for_dag(dag)
        state = wait_for_end(api, dag, api.trigger(dag, {"full": True} if full else {}), timeout_s=_SYNC_TIMEOUT_S)
        if state != "success":
            raise ProgramFailed(f"The sync of {stream} ended as {state}")


def _held(running: Stack) -> Held:
    with Store(running.hub_dsn) as store, store.transaction() as work:
        row = work.execute(_HELD).fetchone()
    return Held(*(row or ()))
