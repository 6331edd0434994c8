"""Whatever happens in whatever order: one message for a cause and an hour, none forgotten, and one when it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdock.maintenance.alerting import kinds, plan
from crossdock.maintenance.alerting.kinds import AlertKind
from crossdock.maintenance.alerting.model import Occasion, Severity
from crossdock.maintenance.alerting.plan import Planned
from crossdock.maintenance.alerting.routes import Route
from crossdock.maintenance.alerting.rows import AlertRow, Mute, PlacedRoute, Said, Says

#: A Monday, ten in the morning in Berlin.
MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NIGHT = {"zone": "Europe/Berlin", "windows": [{"from": "22:00", "to": "07:00"}]}
EVENING = timedelta(hours=12, minutes=30)


@pytest.fixture(autouse=True)
def a_critical_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    grave = AlertKind(severity=Severity.CRITICAL, hub_does="", next_step="", command="./hub runs {subject}")
    monkeypatch.setattr(kinds, "KINDS", {**kinds.KINDS, "grave": grave})


def route(name: str = "ops", **changes: Any) -> PlacedRoute:
    declared = {"name": name, "integration": f"{name}_mail", "digest_over": None, **changes}
    return PlacedRoute(route=Route.model_validate(declared), created_at=MONDAY - HOUR)


@dataclass
class World:
    """Alerts and messages in memory, and a clock."""

    routes: list[PlacedRoute]
    now: datetime = MONDAY
    alerts: list[AlertRow] = field(default_factory=list)
    mutes: list[Mute] = field(default_factory=list)
    #: What was written, when, and whether it is sent (True), waits (None) or was refused (False).
    log: list[tuple[Planned, datetime, bool | None]] = field(default_factory=list)
    settled: set[int] = field(default_factory=set)

    def open(self, subject: str, kind: str = "k", **fields: Any) -> None:
        if not self._find(kind, subject):
            row = AlertRow(alert_id=len(self.alerts), kind=kind, subject=subject, message="m", at=self.now, **fields)
            self.alerts.append(row)

    def close(self, subject: str, kind: str = "k") -> None:
        self._change(kind, subject, closed_at=self.now)

    def acknowledge(self, subject: str, kind: str = "k") -> None:
        self._change(kind, subject, is_acknowledged=True)

    def _find(self, kind: str, subject: str) -> AlertRow | None:
        return next((row for row in self.alerts if row.cause == (kind, subject) and row.closed_at is None), None)

    def _change(self, kind: str, subject: str, **changes: Any) -> None:
        if found := self._find(kind, subject):
            self.alerts[self.alerts.index(found)] = replace(found, **changes)

    def plan(self, *, ends: bool | None = True) -> list[str]:
        """Write what is due; return `says subject` of each alert in it. *ends*: sent, refused, or still waiting."""
        told = list(self._told())
        planned = plan.plan(self.alerts, self.routes, self.mutes, told, hub="hub", now=self.now)
        self._leave_out_settled(planned, told)
        self.log += [(each, self.now, ends) for each in planned]
        return [f"{says} {self.alerts[number].subject}" for each in planned for number, says in each.says.items()]

    def _leave_out_settled(self, planned: list[Planned], told: list[Said]) -> None:
        """A plan without what is settled is the same plan, always: this is what it means."""
        rows = [row for row in self.alerts if row.alert_id not in self.settled]
        rest = [each for each in told if each.alert_id not in self.settled]
        assert plan.plan(rows, self.routes, self.mutes, rest, hub="hub", now=self.now) == planned
        self.settled.update(plan.settled(rows, self.routes, self.mutes, rest, now=self.now))

    def after(self, time: timedelta, *, ends: bool | None = True) -> list[str]:
        self.now += time
        return self.plan(ends=ends)

    def _told(self) -> Iterator[Said]:
        names = {placed.route.name for placed in self.routes}
        for name in names:
            for row in self.alerts:
                said = [
                    (each.says[row.alert_id], at, ended)
                    for each, at, ended in self.log
                    if each.route.name == name and row.alert_id in each.says
                ]
                telling = [(at, ended) for says, at, ended in said if says is not Says.CLOSED]
                if said:
                    yield Said(
                        route=name,
                        alert_id=row.alert_id,
                        cause=row.cause,
                        last_at=max((at for at, _ in telling), default=None),
                        is_waiting=any(ended is None for _, ended in telling),
                        is_opened=any(ended is not False for _, ended in telling),
                        is_closed=any(says in {Says.CLOSED, Says.PASSED} for says, _, _ in said),
                    )


def test_a_cause_is_told_once_an_hour_and_once_when_it_ends() -> None:
    world = World([route()])
    world.open("a")

    assert world.plan() == ["opened a"]
    assert [world.after(MINUTE * 30), world.after(MINUTE * 29), world.after(MINUTE)] == [[], [], ["continues a"]]
    world.close("a")
    assert [world.plan(), world.after(HOUR)] == [["closed a"], []]


def test_a_cause_that_comes_and_goes_is_told_once_an_hour_and_its_end_when_it_is_calm() -> None:
    """However many rows it opens."""
    world = World([route()])
    said = []
    for _ in range(90):
        world.open("a")
        said += world.after(MINUTE)
        world.close("a")
        said += world.after(MINUTE)
    assert said == ["opened a", "closed a", "opened a", "opened a", "opened a"]

    assert [world.after(MINUTE * 56), world.after(MINUTE * 3)] == [[], ["closed a", "closed a", "closed a"]]
    assert len(world.log) == 6, "its end is one message"
    assert world.log[-1][0].message.causes[0].until == MONDAY + HOUR * 3 - MINUTE, "and when it closed at last"
    assert world.after(HOUR * 5) == []


def test_that_a_cause_is_over_is_never_the_last_word_while_it_is_open() -> None:
    """Whoever is on call read that all is well: what opens then is told, whatever the hour."""
    world = World([route()])
    world.open("a")
    world.plan()
    world.close("a")
    assert world.after(MINUTE * 10) == ["closed a"]
    world.open("a")

    assert world.after(MINUTE * 7) == ["opened a"]
    assert world.log[-1][0].message.title == "[warning] open again: a: m"
    world.close("a")
    assert [world.after(MINUTE), world.after(MINUTE * 30)] == [[], []], "its end waits until it is calm"
    world.open("a")
    assert world.after(MINUTE) == [], "the last word is that it is open"
    world.close("a")
    assert [world.after(MINUTE * 20), world.after(MINUTE * 10)] == [[], ["closed a"]]


def test_a_cause_that_opens_again_hours_later_has_just_begun() -> None:
    world = World([route()])
    for wait in (MINUTE, HOUR * 3):
        world.now += wait
        world.open("a")
        assert world.plan() == ["opened a"]
        assert world.log[-1][0].message.title == "[warning] a: m"
        world.close("a")
        assert world.after(MINUTE) == ["closed a"]


def test_what_opens_again_while_it_is_said_to_be_over_makes_no_message() -> None:
    """The end would arrive after the beginning, and be the last word."""
    world = World([route(digest_over=3)])
    world.open("a")
    world.after(MINUTE)
    world.close("a")
    world.after(timedelta(seconds=10))
    world.open("a")

    assert world.after(MINUTE) == []


def test_a_new_route_hears_of_the_end_though_the_cause_came_and_went_before() -> None:
    world = World([])
    for _ in range(3):
        world.open("a")
        world.now += MINUTE
        world.close("a")
    world.routes.append(replace(route(), created_at=world.now))
    world.open("a")
    assert world.after(MINUTE) == ["opened a"]
    world.close("a")
    assert world.after(MINUTE) == ["closed a"]


def test_an_opening_again_that_a_channel_refused_is_told_an_hour_later() -> None:
    world = World([route()])
    world.open("a")
    world.plan()
    world.close("a")
    world.after(MINUTE)
    world.open("a")

    assert [world.after(MINUTE, ends=False), world.after(MINUTE), world.after(HOUR)] == [["opened a"], [], ["opened a"]]


def test_what_came_and_went_before_it_could_be_told_is_told_once() -> None:
    """The sender was down: somebody has to hear of it, and not of each time."""
    world = World([route()])
    for _ in range(3):
        world.open("a")
        world.now += MINUTE
        world.close("a")

    assert [world.plan(), world.after(HOUR * 5)] == [["passed a"], []]
    assert [each.message.occasion for each, _, _ in world.log] == [Occasion.CLOSED]


def test_what_had_passed_before_a_route_was_made_is_no_news_for_it() -> None:
    world = World([])
    world.open("a")
    world.open("b")
    world.close("a")
    world.now += MINUTE
    world.routes.append(replace(route(), created_at=world.now))

    assert world.plan() == ["opened b"]


def test_quiet_hours_hold_and_then_send() -> None:
    world = World([route(quiet=NIGHT)])
    world.now += EVENING
    world.open("a")
    world.open("b")
    world.open("c", kind="grave")
    assert world.plan() == ["opened c"], "critical passes"
    world.now += HOUR
    world.close("b")

    assert world.after(timedelta(hours=7)) == ["continues c"], "not yet seven in Berlin"
    assert world.after(MINUTE * 30) == ["opened a", "passed b"]


def test_quiet_hours_hold_critical_alerts_if_they_are_told_to() -> None:
    world = World([route(quiet={**NIGHT, "critical_passes": False})])
    world.now += EVENING
    world.open("c", kind="grave")

    assert world.plan() == []


@pytest.mark.parametrize(
    ("hours", "is_quiet"), [(12.9, False), (13, True), (22, False), (-11, False), (13 - 48, False), (13 + 24, True)]
)
def test_a_window_after_midnight_belongs_to_the_day_on_which_it_began(hours: float, is_quiet: bool) -> None:
    """Quiet from Monday to Wednesday, 23:00 to 08:00: not on Sunday morning, but on Thursday morning."""
    days = {"zone": "Europe/Berlin", "windows": [{"days": ["mon", "tue", "wed"], "from": "23:00", "to": "08:00"}]}
    world = World([route(quiet=days)])

    assert world.routes[0].route.holds(Severity.WARNING, MONDAY + HOUR * hours) is is_quiet


def test_an_acknowledged_cause_is_not_told_again_but_its_end_is() -> None:
    world = World([route()])
    world.open("a")
    world.plan()
    world.acknowledge("a")
    assert world.after(HOUR * 3) == []
    world.close("a")
    assert world.plan() == ["closed a"]
    world.open("a")
    assert world.plan() == ["opened a"], "another time is another alert"


def test_a_mute_is_silent_until_it_ends() -> None:
    world = World([route()])
    world.mutes = [Mute(kind="k", subject="shop.*", since=MONDAY, until=MONDAY + HOUR * 2)]
    world.open("shop.a")
    world.open("shop.b")
    world.open("other")
    assert world.plan() == ["opened other"]
    world.close("shop.b")

    assert "opened shop.a" not in world.after(HOUR)
    assert "opened shop.a" in world.after(HOUR)
    assert not [says for each, _, _ in world.log for number, says in each.says.items() if number == 1], "b was muted"


def test_a_route_takes_what_fits_its_patterns() -> None:
    def of(**changes: Any) -> list[str]:
        world = World([route(**changes)])
        world.open("late", kind="run_late", stream="shop.orders", integration="shop")
        world.open("down", kind="grave", integration="stripe")
        return [said.removeprefix("opened ") for said in world.plan()]

    assert of() == ["late", "down"]
    assert of(kinds=["run_*"]) == ["late"]
    assert of(severity="critical") == ["down"]
    assert of(streams=["shop.*"]) == ["late"]
    assert of(integrations=["str?pe"]) == ["down"]
    assert of(kinds=["run_*"], integrations=["stripe"]) == []
    assert of(streams=["[!x]*"]) == of(streams=["sho[p].orders"]) == [], "a bracket is a bracket"


def test_a_channel_does_not_tell_that_it_is_down_itself() -> None:
    world = World([route("ops"), route("boss")])
    world.open("ops_mail", kind="channel_down")
    world.plan()

    assert [each.route.name for each, _, _ in world.log] == ["boss"]


def test_a_message_that_waits_is_not_followed_by_reminders() -> None:
    """A channel that was down for a night would otherwise bring one for each hour of it."""
    world = World([route()])
    world.open("a")

    assert [world.plan(ends=None), world.after(HOUR * 9)] == [["opened a"], []]


def test_what_a_channel_refused_is_told_an_hour_later() -> None:
    world = World([route()])
    world.open("a")

    assert [world.plan(ends=False), world.after(MINUTE), world.after(HOUR)] == [["opened a"], [], ["opened a"]]


def test_a_digest_names_all_causes_and_waits_less_than_a_minute_for_them() -> None:
    world = World([route(digest_over=3)])
    for number in range(20):
        world.open(f"s{number}")
        assert world.after(timedelta(seconds=1)) == []
    said = world.after(timedelta(seconds=15))

    assert len(said) == 20
    ((digest, _, _),) = world.log
    assert digest.message.occasion is Occasion.DIGEST
    assert digest.message.title == "[warning] 20 alerts: 20 k"


def test_a_digest_has_the_gravest_cause_first() -> None:
    """A receiver shows some of many, and the first of them on a telephone."""
    world = World([route(digest_over=3)])
    for number in range(5):
        world.open(f"s{number}")
    world.open("p", kind="payment_doubled")
    world.after(timedelta(seconds=30))
    ((digest, _, _),) = world.log

    assert [cause.subject for cause in digest.message.causes] == ["p", "s0", "s1", "s2", "s3", "s4"]


def test_what_comes_right_after_a_digest_is_a_digest_too() -> None:
    """Else the last few of thirty causes are single mails again, while the phone still rings from the digest."""
    world = World([route(digest_over=3)])
    for number in range(5):
        world.open(f"early{number}")
    world.after(timedelta(seconds=30))
    for number in range(3):
        world.open(f"late{number}")
    said = world.after(timedelta(seconds=30))

    assert len(said) == 3
    assert [each.message.occasion for each, _, _ in world.log] == [Occasion.DIGEST] * 2


def test_one_cause_is_never_a_digest() -> None:
    world = World([route(digest_over=1)])
    world.open("a")
    world.after(timedelta(seconds=30))
    world.open("b")
    world.after(timedelta(seconds=30))

    assert [each.message.occasion for each, _, _ in world.log] == [Occasion.OPENED] * 2


def test_few_causes_are_no_digest() -> None:
    world = World([route(digest_over=3)])
    for number in range(3):
        world.open(f"s{number}")

    assert len(world.after(MINUTE)) == len(world.log) == 3


def test_the_command_of_a_cause_is_safe_to_copy_and_its_title_is_one_line() -> None:
    """A subject is anything that a source calls itself."""
    world = World([route()])
    world.open("x; rm -rf ~\n\x1b[31m", kind="grave")
    world.plan()
    message = world.log[0][0].message

    assert message.causes[0].command == r"./hub runs 'x; rm -rf ~\n\x1b[31m'"
    assert message.title.isprintable()


def test_a_title_names_the_subject_once() -> None:
    world = World([route()])
    world.open("shop.orders")
    world.open("shop.prices")
    world.alerts[1] = replace(world.alerts[1], message="3 records of shop.prices are in quarantine")
    world.plan()

    assert [each.message.title for each, _, _ in world.log] == [
        "[warning] shop.orders: m",
        "[warning] 3 records of shop.prices are in quarantine",
    ]


SUBJECTS = st.sampled_from(["a", "b", "shop.c"])
KINDS = st.sampled_from(["k", "grave"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "close", "acknowledge", "mute", "nothing"]),
        KINDS,
        SUBJECTS,
        st.integers(0, 200),
        st.sampled_from([True, True, True, False]),
    ),
    max_size=40,
)
ROUTES = st.lists(
    st.builds(
        lambda quiet, digest, remind, kinds, passes: {
            "quiet": {**NIGHT, "critical_passes": passes} if quiet else None,
            "digest_over": digest,
            "remind_every_hours": remind,
            "kinds": kinds,
        },
        st.booleans(),
        st.sampled_from([None, 1, 3]),
        st.sampled_from([None, 1, 5]),
        st.sampled_from([[], ["grave"]]),
        st.booleans(),
    ),
    min_size=1,
    max_size=2,
)


@given(steps=STEPS, routes=ROUTES)
def test_whatever_happens_no_cause_floods_and_none_is_forgotten_or_said_to_be_over_while_it_is_open(
    steps: Sequence[tuple[str, str, str, int, bool]], routes: Sequence[dict[str, Any]]
) -> None:
    world = World([route(f"r{number}", **declared) for number, declared in enumerate(routes)])
    for act, kind, subject, minutes, is_sent in steps:
        match act:
            case "open":
                world.open(subject, kind=kind)
            case "close":
                world.close(subject, kind=kind)
            case "acknowledge":
                world.acknowledge(subject, kind=kind)
            case "mute":
                world.mutes.append(Mute(kind=kind, subject=subject, since=world.now, until=world.now + HOUR * 2))
        world.after(MINUTE * minutes, ends=is_sent)
        for placed in world.routes:
            refuse_wrong_last_word(world, placed)
    # Until the next day at noon, when nothing is quiet or muted and no hour is running.
    world.now = (world.now + timedelta(days=2)).replace(hour=12)
    world.plan()
    world.after(MINUTE)
    world.after(HOUR)
    world.after(MINUTE)

    for placed in world.routes:
        refuse_broken(world, placed)


def refuse_wrong_last_word(world: World, placed: PlacedRoute) -> None:
    """What is said to be over is not open, unless nothing could be sent: it is quiet, muted, refused, or collected."""
    last: dict[tuple[str, str], tuple[Says, bool | None]] = {}
    for each, _, ended in world.log:
        if each.route.name == placed.route.name:
            last |= {world.alerts[number].cause: (what, ended) for number, what in each.says.items()}
    for row in world.alerts:
        word, was_sent = last.get(row.cause, (Says.OPENED, True))
        is_silent = placed.route.holds(row.severity, world.now) or any(
            mute.covers(row, world.now) for mute in world.mutes
        )
        is_collected = placed.route.digest_over is not None and row.at > world.now - plan.COLLECT
        if row.closed_at is None and not is_silent and not is_collected and was_sent:
            assert word not in {Says.CLOSED, Says.PASSED}, f"{row} is open, and said to be over"


def refuse_broken(world: World, placed: PlacedRoute) -> None:
    told: dict[tuple[str, str], list[datetime]] = {}
    said: dict[int, list[tuple[Says, bool | None]]] = {}
    for each, at, ended in world.log:
        if each.route.name == placed.route.name:
            assert not placed.route.holds(each.message.severity, at)
            for number, what in each.says.items():
                said.setdefault(number, []).append((what, ended))
                if what is not Says.CLOSED:
                    told.setdefault(world.alerts[number].cause, []).append(at)
    for times in told.values():
        assert all(later - earlier >= HOUR for earlier, later in zip(times, times[2:], strict=False)), "twice at most"
    for row in world.alerts:
        takes = placed.route.matches(row.kind, row.severity, row.stream, row.integration)
        says = said.get(row.alert_id, [])
        was_told = any(each is not Says.CLOSED and ended is not False for each, ended in says)
        assert takes or not says
        if row.closed_at is None and takes:
            assert was_told, f"{row} is open, and nobody was told"
        if row.closed_at is not None:
            ends = [each for each, _ in says if each in {Says.CLOSED, Says.PASSED}]
            assert len(ends) <= 1
            is_open_again = any(other.cause == row.cause and other.closed_at is None for other in world.alerts)
            assert len(ends) == 1 or not was_told or is_open_again, f"{row} was told, and not its end"
            muted = any(mute.covers(row, row.closed_at) for mute in world.mutes)
            if takes and not muted and not says:
                near = [at for at in told.get(row.cause, []) if at > row.closed_at - HOUR]
                assert near, f"{row} passed, and nobody was told of its cause"


def test_an_alert_is_settled_an_hour_after_its_end_and_not_while_quiet_hours_hold_it() -> None:
    """Each round would read the alerts of a week otherwise, and all that was said of them."""
    world = World([route(), route("night", quiet=NIGHT)], now=MONDAY + EVENING)
    world.open("a")
    world.plan()
    world.close("a")
    world.plan()
    world.after(2 * HOUR)
    assert world.settled == set()
    world.after(9 * HOUR)
    world.after(2 * HOUR)
    assert world.settled == {0}
