"""The demo's chapter of alerts takes the mails that it waits for, whatever an earlier demo has left."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from crossdock.cli.console import Bar
from crossdock.cli.demo import alert_steps
from crossdock.cli.demo.alert_steps import AlertSteps
from crossdock.cli.demo.checks import DemoFailed
from crossdock.cli.demo.run import DemoRun
from crossdock.cli.demo.sync_steps import SyncSteps

BAR = cast("Bar", SimpleNamespace(update=lambda _: None))


class Mails:
    """A mail server that has one more of *subjects* at each look, and mails of others."""

    def __init__(self, *subjects: str) -> None:
        self.subjects, self.to, self._looks = subjects, "", 0

    def mails(self) -> list[dict[str, str]]:
        self._looks += 1
        others = {"to": "on-call-0@shop.example", "subject": "[warning] another", "text": "t"}
        return [others, *({"to": self.to, "subject": each, "text": "t"} for each in self.subjects[: self._looks])]


class Routes:
    """The routes that the hub has, by name."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.made: list[str] = []

    def get(self, _: str) -> Any:
        return SimpleNamespace(
            document={"routes": [{"name": name, "integration": "mail_server"} for name in self.names]}
        )

    def post(self, _: str, body: dict[str, Any]) -> None:
        self.names.append(body["name"])
        self.made.append(body["name"])

    def delete(self, path: str, *, if_match: str | None) -> None:
        assert if_match is None
        self.names.remove(path.rpartition("/")[2])


@pytest.fixture(autouse=True)
def no_time_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)


def steps(monkeypatch: pytest.MonkeyPatch, mails: Mails, routes: Routes, syncs: Any = None) -> AlertSteps:
    monkeypatch.setattr(alert_steps, "HubApi", lambda _: routes)
    monkeypatch.setattr(alert_steps, "SandboxControl", lambda _: mails)
    run = cast("DemoRun", SimpleNamespace(stack=SimpleNamespace(api=lambda: None, mail_server_url="http://mail")))
    works = SimpleNamespace(source_down=lambda _: "", recovery=lambda _: "")
    made = AlertSteps(run, cast("SyncSteps", syncs or works))
    mails.to = made._to
    return made


def test_what_an_earlier_outage_left_open_may_close_first(monkeypatch: pytest.MonkeyPatch) -> None:
    mails = Mails("[closed] earlier", "[warning] open again: m", "[closed] m")
    made = steps(monkeypatch, mails, Routes())

    assert "'[warning] open again: m'" in made.source_down(BAR)
    assert "'[closed] m'" in made.recovery(BAR)


def test_two_mails_for_one_cause_are_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    made = steps(monkeypatch, Mails("[warning] m", "[warning] m", "[closed] m"), Routes())
    made.source_down(BAR)

    with pytest.raises(DemoFailed, match="two mails came"):
        made.recovery(BAR)


def test_each_demo_has_a_route_of_its_own_and_leaves_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one that the hub has told of the last hour, an outage and its end may wait."""
    routes = Routes("demo-killed", "on-call")
    for _ in range(2):
        made = steps(monkeypatch, Mails("[warning] m", "[closed] m"), routes)
        made.source_down(BAR)
        made.recovery(BAR)

    assert routes.names == ["on-call"]
    assert len(set(routes.made)) == 2


def test_a_demo_that_fails_leaves_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Bar) -> str:
        raise DemoFailed("the tasks ended otherwise")

    routes = Routes()
    made = steps(monkeypatch, Mails(), routes, SimpleNamespace(source_down=fail))
    with pytest.raises(DemoFailed):
        made.source_down(BAR)

    assert routes.names == []
