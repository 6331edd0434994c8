"""The growth of a stack: samples, goals and the report. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from crossdock.bench.growth.footprint import Area, Footprint
from crossdock.bench.report import Goal, Setup, Table, goals_table, markdown

_DAY_S = 86_400
_MIB = 1024**2
_LARGEST = 12
_NONE = Area(inodes=0, bytes=0)


class GrowthOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a load of webhooks left behind."""

    setup: Setup
    airflow: str
    minutes: float
    #: Webhooks a second, as asked for.
    rate: float
    webhooks: int
    #: From the first webhook to the last delivery.
    seconds: float
    #: From the last webhook to the last delivery.
    delivered_after_s: float
    before: Footprint
    after: Footprint

    @property
    def goals(self) -> list[Goal]:
        """Landing by webhook; logs by time, since most of their lines come without any webhook."""
        inodes = self._area("landing").inodes / self.webhooks * 1000
        of_tasks = self._area("logs of tasks").bytes / self.seconds * _DAY_S / _MIB
        of_processes = self.after.areas.get("logs of processes", _NONE).bytes / _MIB
        return [
            Goal(what="landing: inodes for each 1,000 webhooks", figure=inodes, limit=1, unit=""),
            Goal(what="logs of tasks: MiB a day", figure=of_tasks, limit=20, unit=" MiB"),
            Goal(what="logs of processes: MiB in all", figure=of_processes, limit=200, unit=" MiB"),
            Goal(what="memory of the stack: growth", figure=self._grown_mb(), limit=300, unit=" MiB"),
        ]

    @property
    def tables(self) -> list[Table]:
        per_day = ["grown", "a day at this rate", "for each webhook"]
        return [
            goals_table(self.goals),
            Table(
                "Files",
                ["area", "inodes", "inodes a day", "MiB", "MiB a day", "bytes for each webhook"],
                self._file_rows(),
            ),
            Table(
                "The hub's tables", ["table", *per_day], self._table_rows(self.before.hub_tables, self.after.hub_tables)
            ),
            Table(
                "Airflow's tables",
                ["table", *per_day],
                self._table_rows(self.before.airflow_tables, self.after.airflow_tables),
            ),
            Table("Memory", ["process", "PSS MiB before", "PSS MiB after"], self._memory_rows()),
        ]

    @property
    def page(self) -> str:
        made = self.setup
        intro = (
            f"Measured {made.measured_at} on {made.machine}; Airflow {self.airflow}, PostgreSQL {made.postgres}."
            f" {self.webhooks:,} webhooks in {self.minutes:g} minutes; all were delivered {self.delivered_after_s:.0f} s after the"
            " last. Made by:"
        )
        where = (
            "A day is this rate for 24 hours; for logs it is the time that was measured, until the last delivery. What retention deletes is not taken off: operate.md says when it goes."
            " Raw samples are in the JSON file beside this page."
        )
        return markdown("What webhooks leave behind", [intro], made.command, self.tables, [where])

    def _area(self, name: str) -> Area:
        before, after = self.before.areas.get(name, _NONE), self.after.areas.get(name, _NONE)
        return Area(inodes=after.inodes - before.inodes, bytes=after.bytes - before.bytes)

    def _file_rows(self) -> list[list[str]]:
        rows = []
        for name in self.after.areas:
            area = self._area(name)
            days = _DAY_S / self.seconds if name.startswith("logs") else self._days
            rows.append(
                [
                    name,
                    f"{area.inodes:,}",
                    f"{area.inodes * days:,.0f}",
                    f"{area.bytes / _MIB:,.1f}",
                    f"{area.bytes * days / _MIB:,.0f}",
                    f"{area.bytes / self.webhooks:,.0f}",
                ]
            )
        return rows

    def _table_rows(self, before: Mapping[str, int], after: Mapping[str, int]) -> list[list[str]]:
        grown = {name: size - before.get(name, 0) for name, size in after.items()}
        largest = sorted((name for name in grown if grown[name]), key=lambda name: -grown[name])[:_LARGEST]
        return [
            [
                name,
                f"{size / _MIB:,.1f} MiB",
                f"{size * self._days / _MIB:,.0f} MiB",
                f"{size / self.webhooks:,.0f} bytes",
            ]
            for name, size in [*((name, grown[name]) for name in largest), ("together", sum(grown.values()))]
        ]

    def _memory_rows(self) -> list[list[str]]:
        before, after = self.before.memory_mb, self.after.memory_mb
        names = [*after, "together"]
        sums = {"together": (sum(before.values()), sum(after.values()))}
        found = {**{name: (before.get(name, 0.0), after[name]) for name in after}, **sums}
        return [[name, f"{found[name][0]:.0f}", f"{found[name][1]:.0f}"] for name in names]

    def _grown_mb(self) -> float:
        return sum(self.after.memory_mb.values()) - sum(self.before.memory_mb.values())

    @property
    def _days(self) -> float:
        """How many times what was measured makes a day."""
        return _DAY_S / (self.minutes * 60)
