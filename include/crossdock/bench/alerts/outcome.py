"""How long it took from each cause to its message. Pure."""

from __future__ import annotations

import msgspec

from crossdock.bench.report import Goal, Setup, Table, goals_table, markdown

#: From the cause to whoever is on call.
GOAL_S = 60.0


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """One kind: how it was brought about, and after how many seconds the receiver of each route had its message; None for never."""

    kind: str
    how: str
    #: Each cause at once, over a signed webhook; for the database, over the last resort.
    at_once_s: float | None
    #: With the settings of a new route, over a mail server; None where the cause has no route.
    by_default_s: float | None
    has_route: bool = True

    @property
    def slowest_s(self) -> float | None:
        found = [self.at_once_s, *([self.by_default_s] if self.has_route else [])]
        return None if None in found else max(each for each in found if each is not None)

    @property
    def in_words(self) -> str:
        return f"at once {_shown(self.at_once_s)} s, by default {_shown(self.by_default_s)} s"


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """Very many failures within a minute: how many messages came of them."""

    what: str
    #: Over the route that sends each cause for itself, and over the one with the settings of a new route.
    at_once: int
    by_default: int
    #: How many there may be.
    at_once_most: int
    by_default_most: int


class AlertsOutcome(msgspec.Struct, frozen=True, kw_only=True):
    setup: Setup
    kinds: tuple[Timing, ...]
    storms: tuple[Storm, ...]
    #: What the stack did meanwhile.
    seconds: float
    syncs: int
    webhooks: int
    #: The busiest minute's load average, by cores.
    load_average: float

    @property
    def goals(self) -> list[Goal]:
        missing = float(sum(timing.slowest_s is None for timing in self.kinds))
        slowest = max((timing.slowest_s for timing in self.kinds if timing.slowest_s is not None), default=None)
        return [
            Goal(what="kinds of alerts that nobody was notified of", figure=missing, limit=0, unit=""),
            Goal(what="the slowest kind, from its cause to its message", figure=slowest, limit=GOAL_S, unit=" s"),
            *[
                Goal(what=f"{storm.what}: messages, {how}", figure=float(number), limit=most, unit="")
                for storm in self.storms
                for how, number, most in (
                    ("each cause at once", storm.at_once, storm.at_once_most),
                    ("as a new route has it", storm.by_default, storm.by_default_most),
                )
            ],
        ]

    @property
    def tables(self) -> list[Table]:
        columns = ["kind", "at once, s", "by default, s", "how it was brought about"]
        rows = [
            [timing.kind, _shown(timing.at_once_s), _shown(timing.by_default_s), timing.how] for timing in self.kinds
        ]
        return [goals_table(self.goals), Table("From cause to message", columns, rows)]

    @property
    def page(self) -> str:
        made = self.setup
        intro = [
            (
                f"A whole stack under load, for {self.seconds / 60:.0f} minutes: {self.syncs:,} full syncs and {self.webhooks:,} "
                f"webhooks, load average {self.load_average:.1f}. {made.machine}; PostgreSQL {made.postgres}; {made.measured_at}."
            ),
            (
                "*At once*: a signed webhook, whose route has no digests. *By default*: a mail, over a route with the settings "
                "that a new one has; it waits half a minute for more causes. Both count from the moment at which the cause is "
                "there, as the reference of alerts has it, to the moment at which the receiver has it."
            ),
        ]
        return markdown("Alerts", intro, made.command, self.tables)


def _shown(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f}"
